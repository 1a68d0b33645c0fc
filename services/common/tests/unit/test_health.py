"""The health document: what is down, what that means, and that slow answers do not pile up."""

import asyncio
import itertools
from typing import Any

import pytest
from chassis.health import Ask, DownError, Health, Prober

_NUMBERS = itertools.count()


async def up() -> None:
    await asyncio.sleep(0)


async def down() -> None:
    raise ConnectionRefusedError("postgresql://shop:hunter2@db refused")


async def told() -> None:
    raise DownError("no heartbeat")


def prober(checks: dict[str, Ask], **more: Any) -> Prober[Health]:
    given = {"service": "shop", "version": "1", "environment": "production", "prefix": f"health_{next(_NUMBERS)}"}
    return Prober(Health, checks=checks, optional={"llm"}, **{**given, **more})


async def test_everything_is_up() -> None:
    health = await prober({"postgres": up, "redis": up}).health()
    assert (health.status, health.environment, health.service) == ("healthy", "production", "shop")
    assert list(health.checks) == ["postgres", "redis"]
    for check in health.checks.values():
        assert (check.status, check.required, check.error) == ("up", True, None)
        assert check.latency_ms is not None


async def test_before_it_has_started() -> None:
    assert (await prober({"postgres": down}).health(started=False)).status == "starting"


@pytest.mark.parametrize("name", ["postgres", "redis", "opensearch"])
async def test_one_that_is_required_is_down(name: str) -> None:
    health = await prober({"postgres": up, "redis": up, "llm": up, name: down}).health()
    assert health.status == "unhealthy"
    assert health.checks[name].latency_ms is None
    assert [name for name, check in health.checks.items() if check.status == "down"] == [name]


async def test_one_that_is_optional_is_down() -> None:
    health = await prober({"postgres": up, "llm": down}).health()
    assert health.status == "degraded"
    assert not health.checks["llm"].required


@pytest.mark.parametrize(("check", "shown"), [(down, "ConnectionRefusedError"), (told, "no heartbeat")])
async def test_what_is_shown_to_anybody_is_the_kind_of_error_or_what_was_meant_to_be(check: Ask, shown: str) -> None:
    health = await prober({"postgres": check}).health()
    assert health.checks["postgres"].error == shown


async def test_one_that_is_silent_is_asked_once_however_many_ask() -> None:
    asked = 0
    answer = asyncio.Event()

    async def silent() -> None:
        nonlocal asked
        asked += 1
        await answer.wait()

    one = prober({"llm": silent})
    for health in await asyncio.gather(*(one.health() for _ in range(5))):
        assert health.checks["llm"].error == "no answer in 0.5 s"
    assert (await one.health()).status == "degraded"
    assert asked == 1
    answer.set()
    assert (await one.health()).status == "healthy"
    assert (await one.health()).status == "healthy"
    assert asked == 2
