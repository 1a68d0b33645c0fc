"""Waiting for what a program needs."""

import asyncio

import pytest
from chassis.waiting import StartError, pause, unless, wait_for


class Service:
    """Comes up after `failures` questions."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def ask(self) -> str:
        self.failures -= 1
        if self.failures >= 0:
            raise ConnectionError("still\n  starting")
        return "ready"


async def test_it_asks_until_it_is_answered() -> None:
    said = await wait_for("it", Service(3).ask, (ConnectionError,), patience_seconds=5, poll_seconds=0)
    assert said == "ready"


async def test_it_gives_up_with_one_line_that_names_the_service() -> None:
    with pytest.raises(StartError, match=r"^it \(URL\) could not be used within 0 s: still starting$"):
        await wait_for("it (URL)", Service(9).ask, (ConnectionError,), patience_seconds=0, poll_seconds=0)


async def test_another_error_is_not_waited_out() -> None:
    with pytest.raises(ConnectionError):
        await wait_for("it", Service(1).ask, (TimeoutError,), patience_seconds=5)


async def test_a_stop_ends_a_pause_and_what_is_under_way() -> None:
    stop = asyncio.Event()
    assert not await pause(stop, 0)
    assert await unless(stop, Service(0).ask()) == "ready"
    with pytest.raises(ConnectionError):
        await unless(stop, Service(1).ask())
    asyncio.get_running_loop().call_soon(stop.set)
    assert await unless(stop, asyncio.sleep(60, "slept")) is None
    assert await pause(stop, 60)
