"""What workers of xdist are answered: one environment for all, or why there is none."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ephemera.model.errors import InterruptedByUserError, NotReadyError, ServiceFailedError
from ephemera.pytest_plugin.broker import Broker, ask
from ephemera.pytest_plugin.systems import Wanted
from tests.plugin.doubles import FakeDriver, Project


@pytest.fixture
def told() -> list[str]:
    """What the user is told."""
    return []


@pytest.fixture
def broker(driver: FakeDriver, told: list[str]) -> Iterator[Broker]:
    """The controller's broker."""
    made = Broker(None, told.append)
    yield made
    made.close(keep=False)


@pytest.fixture
def shop(project: Project) -> Wanted:
    """What a test of the shop's suite gets."""
    return Wanted(project=project.folder, system="shop")


@pytest.fixture
def bank(project: Project) -> Wanted:
    """What a test of the bank's suite gets."""
    return Wanted(project=project.folder, system="bank")


def test_all_workers_are_given_the_same(
    broker: Broker, driver: FakeDriver, told: list[str], shop: Wanted, bank: Wanted
) -> None:
    path = broker.listen()
    together = threading.Barrier(8)

    def worker() -> str:
        together.wait(10)
        return ask(path, shop).stack

    with ThreadPoolExecutor(8) as pool:
        stacks = {future.result(10) for future in [pool.submit(worker) for _ in range(8)]}
    assert len(stacks) == 1
    assert driver.calls == ["end: up shop"]
    assert told == [f"ephemera: {stacks.pop()} is ready after 1.5 s"]
    assert ask(path, bank).stack.startswith("bank-main-")


def test_all_workers_hear_why_there_is_none(broker: Broker, driver: FakeDriver, shop: Wanted) -> None:
    driver.failure = ServiceFailedError("web", "exited", container_exit_code=7, log_tail=["no config"])
    for _ in range(2):
        with pytest.raises(ServiceFailedError, match="service 'web' exited") as caught:
            ask(broker.listen(), shop)
        assert caught.value.log_tail == ("no config",)
    assert driver.calls == ["end: up shop"]


def test_worker_that_asks_when_the_run_has_ended(
    project: Project, driver: FakeDriver, shop: Wanted, bank: Wanted
) -> None:
    broker = Broker(None, print)
    path = broker.listen()
    stack = ask(path, shop).stack
    lines, status = broker.close(keep=False)
    assert lines == [f"ephemera: {stack} is gone after 0.5 s, nothing left"]
    assert status == pytest.ExitCode.OK
    with pytest.raises(InterruptedByUserError, match="the run is ending"):
        broker.environment(bank)
    with pytest.raises(NotReadyError, match="the run's controller brought up no 'bank'"):
        ask(path, bank)
    assert driver.calls == ["end: up shop", "end: down shop"]


def test_controller_that_breaks(
    broker: Broker, driver: FakeDriver, shop: Wanted, capsys: pytest.CaptureFixture[str]
) -> None:
    driver.failure = ZeroDivisionError("a defect")
    with pytest.raises(NotReadyError, match="the run's controller brought up no 'shop': its own output says why"):
        ask(broker.listen(), shop)
    assert "a defect" in capsys.readouterr().err


def test_other_users_are_not_answered(
    broker: Broker, driver: FakeDriver, shop: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(f"\0{broker.listen()}")
        assert connection.recv(1) == b""
    with pytest.raises(NotReadyError):
        ask(broker.listen(), shop)
    assert driver.calls == []
