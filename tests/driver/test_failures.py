"""A service that does not come up: exit code 3 with cause, exit code and last lines, and what was created is gone."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

from .conftest import Ephemera


def test_image_that_does_not_exist(ephemera: Ephemera) -> None:
    done = ephemera("up", "lost")
    assert done.code == 3, done.err
    assert "ephemera.invalid/nobody/nothing:1" in done.err
    assert ephemera.left() == []


def test_service_that_exits_is_reported_within_a_second_of_its_death(ephemera: Ephemera) -> None:
    process = ephemera.start("up", "web", "-c", "behaviour=exit")
    assert process.stdout is not None
    told = 0.0
    lines = []
    for line in process.stdout:
        lines.append(line)
        if not told and "web exited before it was ready (exit code 7)" in line:
            told = time.time()
    output = "".join(lines)
    assert process.wait() == 3, output
    assert "ephemera: service 'web' exited before it was ready (exit code 7)" in output
    assert "cannot find the config" in output
    assert ephemera.left() == []
    folder = _evidence(ephemera)
    state = json.loads((folder / "web.inspect.json").read_text())["State"]
    died = datetime.fromisoformat(state["FinishedAt"][:26]).replace(tzinfo=UTC).timestamp()
    assert 0 < told - died < 1.0
    assert "cannot find the config" in (folder / "web.log").read_text()


def test_service_that_never_becomes_ready(ephemera: Ephemera) -> None:
    done = ephemera("up", "web", "-c", "behaviour=deaf", "-c", "ready_seconds=2", "--output", "json")
    assert done.code == 3, done.err
    error = done.json["error"]
    assert error["kind"] == "service_failed"
    assert error["service"] == "web"
    assert error["cause"] == "was not ready within 2 s (Http)"
    assert error["log_tail"] == ["thinking"]
    assert ephemera.left() == []


def test_kept_on_failure(ephemera: Ephemera) -> None:
    done = ephemera("up", "web", "-c", "behaviour=deaf", "-c", "ready_seconds=2", "--keep-on-failure")
    assert done.code == 3
    status = ephemera("status", "--output", "json")
    assert [service["state"] for service in status.json["services"]] == ["running"]
    assert ephemera("exec", "web", "--", "id", "-u").out == "65534\n"
    assert "thinking" in ephemera("logs", "--stack", ephemera.stack("web")).out
    assert ephemera("down", ephemera.stack("web")).code == 0
    assert ephemera.left() == []


def test_a_living_environment_survives_a_failed_update(ephemera: Ephemera) -> None:
    assert ephemera("up", "web", "--profile", "extra").code == 0
    done = ephemera("up", "web", "-c", "behaviour=exit")
    assert done.code == 3
    assert [item["stack"] for item in ephemera("ls", "--output", "json").json] == [ephemera.stack("web")]
    # Mended, it comes up again: no lock was left.
    assert ephemera("up", "web", "-c", "behaviour=serve").code == 0
    assert ephemera("down").code == 0
    assert ephemera.left() == []


def _evidence(ephemera: Ephemera) -> Path:
    (folder,) = (ephemera.project / ".ephemera" / "artifacts").iterdir()
    return folder
