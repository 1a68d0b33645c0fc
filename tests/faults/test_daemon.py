"""SIGKILL of dockerd, at each step: the command ends with one error, and when Docker is back, nothing is left."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from ephemera import images
from ephemera.model.images import EngineImage
from tests.engine_daemon import PrivateEngine, private_engine
from tests.faults.box import Box, Moment
from tests.faults.test_named import run_until
from tests.surroundings import follow

_ENDS_SECONDS = 120


@pytest.fixture(scope="module")
def dockerd() -> Iterator[PrivateEngine]:
    """An engine that may be killed."""
    python = EngineImage(name="python")
    with private_engine(images.ensure([python], images.mode())[python]) as engine:
        yield engine


@pytest.fixture
def daemon(dockerd: PrivateEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateEngine]:
    """The same, as the engine of the test and of the commands that it runs; up again afterwards, whatever failed."""
    follow(monkeypatch)
    for name, value in dockerd.variables.items():
        monkeypatch.setenv(name, value)
    yield dockerd
    if not psutil.pid_exists(dockerd.pid):
        dockerd.restart()


@pytest.mark.parametrize("moment", ["build", "network", "container", "gate", "tests", "destroy"])
def test_dockerd(box: Box, daemon: PrivateEngine, moment: Moment) -> None:
    box.command.variables.update(daemon.variables)
    process = run_until(box, moment, BOX_TEST_SECONDS="3")
    daemon.kill()
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode in (3, 5), output
    assert "Traceback" not in output
    assert output.count("ephemera: ") >= 1
    daemon.restart()
    box.is_clean("dockerd", moment)


def test_dockerd_while_plain_pytest_runs(box: Box, daemon: PrivateEngine) -> None:
    box.command.variables.update(daemon.variables)
    with box.at("tests") as wait:
        process = box.command.start_pytest("tests", BOX_TEST_SECONDS="3")
        wait()
    daemon.kill()
    output, _ = process.communicate(timeout=_ENDS_SECONDS)
    assert process.returncode == 1, output
    assert "is LEFT BEHIND" in output
    assert "Traceback" not in output
    daemon.restart()
    box.is_clean("dockerd", "tests of plain pytest")
