"""The steps that build, against a stand-in for Go."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from ephemera.contract.errors import MachineError
from ephemera.machine import builds, go, toolchain
from ephemera.machine.data import data_dir
from ephemera.machine.work import Children, Work
from tests.unit.users import belongs_to

# Stands in for Go: "builds" a script that says the version which the linker was given.
FAKE_GO = """#!/bin/bash
echo "$*" >> {log}
[[ -z $FAIL || $1 != build ]] || {{ echo "x.go:1: cannot use this"; exit 1; }}
case $1 in
  env) [[ $2 == GOVERSION ]] && echo go1.26.0 || echo "${{!2}}" ;;
  list) echo {module} ;;
  build)
    version=$(grep -o 'Version=[^ ]*' <<< "$*" | cut -d= -f2)
    while [[ $1 != -o ]]; do shift; done
    printf '#!/bin/sh\\necho %s\\n' "${{VERSION:-$version}}" > "$2"; chmod +x "$2" ;;
esac
"""


def work() -> Work:
    return Work("build", lambda _: None, Children())


def go_stand_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts one on PATH; the log of what it is asked."""
    log = home / "go.log"
    for patch in _patches():
        for name, edits in patch.edits.items():
            file = home / "module" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(edits))
    (home / "pulumi-language-python-exec").write_text("#!/usr/bin/env python3\n")
    folder = home / "bin"
    folder.mkdir()
    (folder / "go").write_text(FAKE_GO.format(log=log, module=home / "module"))
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAIL", "")
    return log


def _patches() -> list[Any]:
    """What changes of the modules that something is built with."""
    return list(runpy.run_path(str(data_dir("toolchain") / "patched.py"))["_PATCHES"])


@pytest.fixture
def calls(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return go_stand_in(home, monkeypatch)


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("step", [builds.BuiltEngine(), builds.BuiltLanguageHost(), builds.BuiltPlugin()])
def test_a_build_is_there_afterwards(step: builds.BuiltEngine) -> None:
    assert not step.check()
    assert step.needs() == (go.NAME,)
    step.run(work())
    assert step.check()


@pytest.mark.usefixtures("calls")
def test_the_toolchain_is_found_once_everything_is_built() -> None:
    for step in (builds.BuiltEngine(), builds.BuiltLanguageHost(), builds.BuiltPlugin()):
        step.run(work())
    found = toolchain.located()
    assert {path.name for path in found.bin_dir.iterdir()} == {"pulumi", *toolchain.LANGUAGE_HOST}
    assert os.access(found.bin_dir / "pulumi-language-python-exec", os.X_OK)


def test_a_build_that_is_there_is_not_repeated(calls: Path) -> None:
    builds.BuiltPlugin().run(work())
    before = calls.read_text()
    builds.BuiltPlugin().run(work())
    assert calls.read_text() == before


@pytest.mark.usefixtures("calls")
def test_a_build_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(go, "version", lambda _: (1, 26))
    monkeypatch.setenv("FAIL", "yes")
    with pytest.raises(MachineError, match=r"the engine cannot be built \(x\.go:1: cannot use this\): .*full log"):
        builds.BuiltEngine().run(work())
    assert list(toolchain.built_engine_dir().iterdir()) == []


def test_an_engine_whose_source_is_not_what_it_was_is_not_built(home: Path, calls: Path) -> None:
    (home / "module" / "secrets" / "passphrase" / "manager.go").write_text("key := scrypt.Key()")
    with pytest.raises(
        MachineError, match=r"the engine cannot be built \(manager\.go .* is not what it was: .*Passphrase"
    ):
        builds.BuiltEngine().run(work())
    assert "build" not in calls.read_text()
    assert not toolchain.built_engine_dir().parent.joinpath("source").exists()


@pytest.mark.usefixtures("calls")
def test_an_engine_of_another_version_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERSION", "v0.0.1")
    with pytest.raises(MachineError, match=r"says \['v0.0.1'\], not v3\."):
        builds.BuiltEngine().run(work())
    assert not builds.BuiltEngine().check()


@pytest.mark.usefixtures("calls")
def test_settings_of_the_users_go_do_not_change_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setenv("GOFLAGS", "-race")
    real = Work.run

    def run(self: Work, argv: list[str], **options: dict[str, str]) -> list[str]:
        seen.append((options.get("env") or {}).get("GOFLAGS", ""))
        return real(self, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Work, "run", run)
    builds.BuiltPlugin().run(work())
    assert seen == ["-buildvcs=false"]


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("variable", ["GOMODCACHE", "GOCACHE"])
def test_sources_that_others_can_change_are_not_built(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    kept = home / "kept"
    kept.mkdir()
    monkeypatch.setenv(variable, str(kept))
    builds.BuiltPlugin().run(work())
    kept.chmod(0o777)
    with pytest.raises(MachineError, match=rf"kept is open to other users .*or set {variable} to a folder"):
        builds.BuiltLanguageHost().run(work())
    belongs_to(monkeypatch, {home: 4711})
    monkeypatch.setenv(variable, str(home / "none" / "yet"))
    with pytest.raises(MachineError, match=rf"{home} belongs to user 4711, .*set {variable} to"):
        builds.BuiltLanguageHost().run(work())


@pytest.mark.parametrize(("said", "expected"), [("go1.27.1", True), ("go1.26rc1", True), ("go1.25.9", False)])
def test_only_a_go_that_is_new_enough_counts(
    calls: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: bool
) -> None:
    script = Path(os.environ["PATH"].split(":")[0]) / "go"
    script.write_text(script.read_text().replace("go1.26.0", said))
    assert go.GoCompiler().check() is expected


@pytest.mark.usefixtures("calls")
def test_the_users_pulumi_variables_do_not_reach_the_engine_that_was_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_OPTION_VERBOSE", "of no number")
    seen: list[list[str]] = []
    real = Work.run

    def run(self: Work, argv: list[str], **options: dict[str, str]) -> list[str]:
        if argv[1:] == ["version"]:
            seen.append([name for name in options["env"] if name.startswith("PULUMI_")])
        return real(self, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Work, "run", run)
    builds.BuiltEngine().run(work())
    assert seen == [["PULUMI_SKIP_UPDATE_CHECK"]]
