"""The doctor runs where nothing is ready, and says of everything what it is and what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from ephemera.home.paths import state_dir
from ephemera.setup import dockerd, doctor, go, steps, toolchain
from tests.unit.users import belongs_to

NAMES = [
    "python", "architecture", "access", "docker", "disk", "engine disk", "limits", "package index", "go", "toolchain",
    "virtual environment", "base images", "loopback publish",
]  # fmt: skip


class Part:
    def __init__(self, name: str, done: bool) -> None:
        self.name = name
        self._done = done

    def check(self) -> bool:
        return self._done

    def run(self, work: Any) -> None:
        raise AssertionError("the doctor makes nothing")


def run(monkeypatch: pytest.MonkeyPatch, done: bool, *arguments: str) -> int:
    """The doctor's exit code, where the toolchain and the virtual environment are done or not."""
    monkeypatch.setattr(doctor, "BuiltToolchain", lambda: Part("toolchain", done))
    return doctor.main(arguments, Part("virtual environment", done))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One with a package index, and with a Docker engine that a test may take away."""
    monkeypatch.setattr(doctor, "pip_command", lambda: (["true"], {}))
    monkeypatch.setattr(dockerd, "answers", lambda: None)
    monkeypatch.setattr(dockerd, "request", lambda _, path, *__, **___: (200, answers(path)))
    monkeypatch.setenv("EPHEMERA_IMAGES", "registry")


def answers(path: str) -> Any:
    return {"Version": "28.0.1", "ApiVersion": "1.48"} if path == "/version" else []


Report = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Report:
    """Runs the doctor; its exit code and its report."""

    def reported(done: bool = True) -> tuple[int, dict[str, Any]]:
        code = run(monkeypatch, done, "--output", "json")
        return code, json.loads(capsys.readouterr().out)

    return reported


def state(document: dict[str, Any], name: str) -> dict[str, str]:
    return next(check for check in document["checks"] if check["name"] == name)


def test_a_machine_that_has_everything_is_ok(report: Report) -> None:
    code, document = report()
    assert code == 0
    assert document["ok"] is True
    assert [check["name"] for check in document["checks"]] == NAMES
    assert {check["state"] for check in document["checks"]} == {"ok"}
    assert all(set(check) == {"name", "state", "detail", "remedy"} for check in document["checks"])


def test_what_is_not_made_yet_is_missing_with_a_remedy(report: Report) -> None:
    code, document = report(done=False)
    assert (code, document["ok"]) == (0, True), "`up` makes it"
    toolchain = state(document, "toolchain")
    assert toolchain["state"] == "missing"
    assert toolchain["remedy"]


def test_no_docker_without_root_failed(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("no socket")

    monkeypatch.setattr(dockerd, "request", refused)
    monkeypatch.setattr(dockerd, "answers", lambda: FileNotFoundError("no socket"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    code, document = report()
    assert code == 5
    assert state(document, "access")["state"] == "failed"
    assert "docker" in state(document, "access")["remedy"]
    assert state(document, "docker")["state"] == "failed"
    assert state(document, "loopback publish")["state"] == "ok"


def test_an_engine_that_is_too_old_failed(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "request", lambda *_, **__: (200, {"Version": "19.03", "ApiVersion": "1.40"}))
    monkeypatch.setattr(doctor, "base_image", lambda: None)
    assert state(report()[1], "docker")["remedy"] == "upgrade to Docker 20.10 or newer"


def test_a_full_disk_fails_where_something_has_to_be_made(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    code, document = report(done=False)
    assert (code, state(document, "disk")["state"]) == (5, "failed")
    assert "1.0 GB free" in state(document, "disk")["detail"]
    code, document = report(done=True)
    assert (code, state(document, "disk")["state"]) == (0, "ok")


def test_a_silent_package_index_failed(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "pip_command", lambda: (["bash", "-c", "echo no route to it >&2; exit 1"], {}))
    index = state(report(done=False)[1], "package index")
    assert (index["state"], index["detail"]) == ("failed", "no route to it")


def test_a_package_index_is_not_missed_where_nothing_has_to_be_downloaded(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "pip_command", lambda: (["bash", "-c", "echo no route to it >&2; exit 1"], {}))
    code, document = report()
    assert code == 0
    assert state(document, "package index")["detail"] == "nothing has to be downloaded (no route to it)"


def test_a_package_index_that_hangs_failed(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, **__: Any) -> None:
        raise subprocess.TimeoutExpired("pip", 20)

    monkeypatch.setattr(subprocess, "run", hang)
    monkeypatch.setattr(go, "executable", lambda: None)
    assert state(report(done=False)[1], "package index")["detail"] == "no answer"


def test_go_is_not_missed_where_nothing_has_to_be_built(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go, "executable", lambda: None)
    assert state(report(done=True)[1], "go")["state"] == "ok"
    assert state(report(done=False)[1], "go")["state"] == "missing"


def test_a_loopback_address_that_cannot_be_published_failed(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []

    def request(method: str, path: str, *_: Any, **__: Any) -> tuple[int, Any]:
        if path.startswith("/images/json"):
            return 200, [{"Id": "sha256:1"}]
        if path.endswith("/start"):
            return 500, {"message": "cannot assign requested address"}
        if method == "DELETE":
            removed.append(path)
        return (201, {"Id": "c1"}) if path.endswith("/create") else (200, answers(path))

    monkeypatch.setattr(dockerd, "request", request)
    loopback = state(report()[1], "loopback publish")
    assert loopback["state"] == "failed"
    assert "cannot assign requested address" in loopback["detail"]
    assert "EPHEMERA_EXPOSE=dynamic" in loopback["remedy"]
    assert removed == ["/containers/c1?force=true"]


def test_folders_of_another_user_are_a_check(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    belongs_to(monkeypatch, {state_dir(): 4711})
    monkeypatch.setattr(os, "getpid", lambda: 4711)  # one that has not looked yet
    code, document = report()
    assert code == 5
    assert "belongs to user 4711" in state(document, "folders")["detail"]
    assert "set XDG_STATE_HOME" in state(document, "folders")["remedy"]


def test_a_program_of_another_user_is_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    for program in toolchain.PROGRAMS:
        (toolchain.toolchain_dir() / program).parent.mkdir(parents=True, exist_ok=True)
        (toolchain.toolchain_dir() / program).touch()
    pulumi = toolchain.toolchain_dir() / toolchain.PROGRAMS[0]
    belongs_to(monkeypatch, {pulumi: 4711})
    (row,) = [check for check in doctor.examine() if check.name == "toolchain"]
    assert row.state == "failed"
    assert "pulumi belongs to user 4711" in row.detail
    assert row.remedy == f"remove {pulumi.parent}: it is made again"


def test_the_launchers_report_has_a_row_for_its_virtual_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, True) == 0
    assert "virtual environment  ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "known", "there", "state_", "detail"),
    [
        ("", None, False, "missing", "has not been found out yet"),
        ("auto", {"images": "registry"}, False, "ok", "pulled from their registries"),
        ("", {"images": "local"}, True, "ok", "the local one is there"),
        ("local", {"images": "registry"}, False, "missing", "not made yet"),
    ],
)
def test_base_images_are_as_the_machine_is_known_to_get_them(
    report: Report,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    known: dict[str, str] | None,
    there: bool,
    state_: str,
    detail: str,
) -> None:
    monkeypatch.setenv("EPHEMERA_IMAGES", asked)
    if known is not None:
        (state_dir() / "machine.json").write_text(json.dumps(known))
    monkeypatch.setattr(steps, "base_image", lambda: "sha256:1" if there else None)
    row = state(report()[1], "base images")
    assert (row["state"], detail in row["detail"]) == (state_, True)


def test_the_table_has_a_remedy_below_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, False) == 0
    lines = capsys.readouterr().out.splitlines()
    toolchain = next(number for number, line in enumerate(lines) if line.startswith("toolchain  "))
    assert lines[toolchain + 1].strip().startswith("→ run `ephemera setup`")
