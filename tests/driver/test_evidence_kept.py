"""What a person finds after a failure of each kind: a folder whose page says what happened, without a credential."""

from __future__ import annotations

import base64
import itertools
import json
import re
from pathlib import Path
from typing import Any

from tests.driver_command import Done, Ephemera

_KILLS = """
import httpx, os, pathlib, pytest, time

def test_passes(environment):
    assert environment.http("web").get("/").status_code == 200
    recordings = pathlib.Path(os.environ["XDG_STATE_HOME"], "ephemera", "recordings")
    deadline = time.monotonic() + 20
    while '"usage"' not in (recordings / f"{environment.stack}.jsonl").read_text():
        assert time.monotonic() < deadline, "the engine takes its time for the first figures, not that long"
        time.sleep(0.05)

def test_kills(environment):
    environment.http("web").get("/<script>alert(1)</script>")
    environment.service("web").kill()
    with pytest.raises(httpx.HTTPError):
        environment.http("web").get("/")
    assert 0, "orders are gone"
"""
_TELLS = """
import base64, pytest

@pytest.mark.environment("data")
def test_tells(environment):
    password = environment.outputs.service("postgres").credentials["password"].get_secret_value()
    basic = base64.b64encode(f"shop:{password}".encode()).decode()
    environment.service("postgres").exec(["psql", "-U", "shop", "-c", f"select '{password}', '{basic}' from nothing"])
    raise ValueError(f"postgresql://shop:{password}@db {basic}")
"""
_BOTH_FAIL = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_many(environment, number):
    assert number % 2, "even"
"""


def test_gate_that_fails(ephemera: Ephemera) -> None:
    done = ephemera("up", "web", "-c", "behaviour=exit")
    assert done.code == 3, done.err
    folder = _folder(ephemera, done)
    assert _kept(folder, "error")["error"]["container_exit_code"] == 7
    assert [gate["state"] for gate in _kept(folder, "gates")][-1] == "failed"
    assert [event["action"] for event in _kept(folder, "events")] == ["create", "start", "die"]
    assert _kept(folder, "definition")["config"]["behaviour"] == "exit"
    head = _page(folder).partition("What happened when")[0]
    assert "service &#x27;web&#x27; exited before it was ready (exit code 7)" in head
    assert "cannot find the config" in head
    assert ephemera.left() == []


def test_service_that_is_killed_in_a_test(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_web.py").write_text(_KILLS)
    done = ephemera("run", "web")
    assert done.code == 1, done.err
    assert "web was killed with signal 9 during this test (exit code 137):" in done.out
    folder = _folder(ephemera, done)
    tests = {test["nodeid"].partition("::")[2]: test for test in _kept(folder, "tests")}
    assert {name: test["outcome"] for name, test in tests.items()} == {"test_passes": "passed", "test_kills": "failed"}
    assert "orders are gone" in tests["test_kills"]["text"]
    died = next(event for event in _kept(folder, "events") if event["action"] == "die")
    assert tests["test_kills"]["start"] < died["time"] < tests["test_kills"]["stop"]
    states = [gate["state"] for gate in _kept(folder, "gates")]
    # On a machine that others keep busy, it says once more that it waits.
    assert [state for state, _ in itertools.groupby(states)] == ["waiting", "ready"]
    assert _kept(folder, "usage")[0]["services"]["web"][0] > 0
    page = _page(folder)
    assert "<b>web</b> was killed with signal 9 during this test (exit code 137)" in page
    assert "<script>alert" not in page
    assert ephemera.left() == []


def test_credentials_are_in_no_file(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_web.py").write_text(_TELLS)
    assert ephemera("up", "data").code == 0
    secret = ephemera("outputs", "data", "--format", "json", "--show-secrets").json["services"]["postgres"]
    password = secret["credentials"]["password"]
    done = ephemera("test", "data")
    assert done.code == 1, done.err
    folder = _folder(ephemera, done)
    basic = base64.b64encode(f"shop:{password}".encode()).decode()
    texts = {path.name: path.read_text() for path in [*folder.iterdir(), *_recordings(ephemera)]}
    assert [name for name, text in texts.items() if password in text or basic[12:44] in text] == []
    assert "postgresql://shop:***@db" in texts["index.html"]
    assert "select '***', '" in texts["postgres.log"], "the server wrote the statement that it refused"
    assert ephemera("down", "data").code == 0
    assert ephemera.left() == []


def test_destroy_that_fails(ephemera: Ephemera) -> None:
    assert ephemera("up", "web").code == 0
    [state] = (ephemera.state / "ephemera" / "pulumi" / ".pulumi" / "stacks").rglob(f"{ephemera.stack('web')}.json")
    state.write_text(state.read_text().replace("docker:index/container:Container", "docker:index/no:No"))
    done = ephemera("down", "web")
    folder = _folder(ephemera, done)
    assert "web could not be destroyed" in _page(folder)
    assert "unrecognized resource type" in _kept(folder, "error")["error"]["remedy"]
    assert '"GET / HTTP/1.1" 200' in (folder / "web.log").read_text(), "taken before it was removed"
    assert ephemera.left() == []


def test_failures_of_several_workers_are_on_one_page(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_many.py").write_text(_BOTH_FAIL)
    done = ephemera.pytest("-n", "2", "tests/test_many.py")
    assert done.code == 1, done.out
    folder = _folder(ephemera, done)
    failed = [test["nodeid"] for test in _kept(folder, "tests") if test["outcome"] == "failed"]
    assert sorted(failed) == ["tests/test_many.py::test_many[0]", "tests/test_many.py::test_many[2]"]
    assert _page(folder).count('<details class="failure"') == 2
    assert ephemera.left() == []


def _folder(ephemera: Ephemera, done: Done) -> Path:
    """The one folder that there is; the page in it is named by what was printed."""
    [folder] = (ephemera.project / ".ephemera" / "artifacts").iterdir()
    assert f"evidence: {folder}/index.html" in re.sub(r"\s+", " ", done.out + done.err)
    return folder


def _kept(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def _page(folder: Path) -> str:
    return (folder / "index.html").read_text()


def _recordings(ephemera: Ephemera) -> list[Path]:
    return list((ephemera.state / "ephemera" / "recordings").iterdir())
