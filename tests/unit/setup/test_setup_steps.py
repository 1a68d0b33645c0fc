"""The step that builds the toolchain, against a stand-in for Go."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import go, toolchain
from ephemera.setup.artifacts import data_dir
from ephemera.setup.steps import BuiltToolchain
from ephemera.setup.work import Work
from tests.unit.users import belongs_to

# Stands in for Go: downloads a module that has all the files that are patched, and "builds" scripts.
FAKE_GO = """#!/bin/bash
echo "$GOFLAGS $*" >> {log}
[[ -z $FAIL || $1 != build ]] || {{ echo "x.go:1: cannot use this"; exit 1; }}
case $1 in
  env) [[ $2 == GOVERSION ]] && echo go1.26.0 || echo "${{!2}}" ;;
  mod) [[ $2 != download ]] || echo '{{"Dir": "{module}"}}' ;;
  build)
    while [[ $1 != -o ]]; do shift; done
    mkdir -p "$2"
    for name in pulumi pulumi-language-python pulumi-resource-docker; do
      printf '#!/bin/sh\\n' > "$2$name"; chmod +x "$2$name"
    done ;;
esac
"""


def work() -> Work:
    return Work("build", lambda _: None)


def go_stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts one on PATH; the log of what it is asked."""
    log, module = home / "go.log", home / "module"
    script = module / "python" / "cmd" / "pulumi-language-python-exec"
    script.parent.mkdir(parents=True)
    script.write_text("#!/usr/bin/env python3\n")
    for patch in _patches():
        for name, edits in patch.edits.items():
            file = module / patch.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(edits))
    folder = home / "bin"
    folder.mkdir()
    (folder / "go").write_text(FAKE_GO.format(log=log, module=module))
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAIL", "")
    return log


def _patches() -> list[Any]:
    """What changes of the modules that something is built with."""
    return list(runpy.run_path(str(data_dir("toolchain") / "build.py"))["_PATCHES"])


@pytest.fixture
def calls(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return go_stand_in(home, monkeypatch)


def test_a_toolchain_that_was_built_is_found_and_not_built_again(calls: Path) -> None:
    step = BuiltToolchain()
    assert not step.check()
    step.run(work())
    assert step.check()
    found = toolchain.located()
    assert {path.name for path in found.bin_dir.iterdir()} == {
        "pulumi", "pulumi-language-python", "pulumi-language-python-exec",
    }  # fmt: skip
    assert all(os.access(path, os.X_OK) for path in found.bin_dir.iterdir())
    before = calls.read_text()
    step.run(work())
    assert calls.read_text() == before


@pytest.mark.usefixtures("calls")
def test_a_build_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "yes")
    with pytest.raises(MachineError, match=r"the toolchain cannot be built \(x\.go:1: cannot use this\): .*full log"):
        BuiltToolchain().run(work())
    assert list(toolchain.toolchain_dir().parent.iterdir()) == []


def test_a_toolchain_whose_source_is_not_what_it_was_is_not_built(home: Path, calls: Path) -> None:
    (home / "module" / "secrets" / "passphrase" / "manager.go").write_text("key := scrypt.Key()")
    with pytest.raises(
        MachineError, match=r"the toolchain cannot be built \(manager\.go .* is not what it was: .*Passphrase"
    ):
        BuiltToolchain().run(work())
    assert " build " not in calls.read_text()


def test_settings_of_the_users_go_do_not_change_the_build(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-race")
    BuiltToolchain().run(work())
    assert [line.split()[0] for line in calls.read_text().splitlines() if " build " in line] == ["-buildvcs=false"]


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("variable", ["GOMODCACHE", "GOCACHE"])
def test_sources_that_others_can_change_are_not_built(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    kept = home / "kept"
    kept.mkdir(mode=0o777)
    kept.chmod(0o777)
    monkeypatch.setenv(variable, str(kept))
    with pytest.raises(MachineError, match=rf"kept is open to other users .*or set {variable} to a folder"):
        go.ensured(work())
    belongs_to(monkeypatch, {home: 4711})
    monkeypatch.setenv(variable, str(home / "none" / "yet"))
    with pytest.raises(MachineError, match=rf"{home} belongs to user 4711, .*set {variable} to"):
        go.ensured(work())


@pytest.mark.parametrize(("said", "expected"), [("go1.27.1", True), ("go1.26rc1", True), ("go1.25.9", False)])
@pytest.mark.usefixtures("calls")
def test_only_a_go_that_is_new_enough_counts(said: str, expected: bool) -> None:
    script = Path(os.environ["PATH"].split(":")[0]) / "go"
    script.write_text(script.read_text().replace("go1.26.0", said))
    assert (go.executable() is not None) is expected
