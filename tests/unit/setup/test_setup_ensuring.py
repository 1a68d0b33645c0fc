"""The command makes a machine ready: what is missing is made once, with one error where that cannot be."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import dockerd, steps, toolchain
from ephemera.setup.scheduler import Step
from ephemera.setup.work import Work
from tests.unit.setup.test_setup_steps import go_stand_in

DEADLINE_SECONDS = 20


@pytest.fixture
def go(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without engine and plugin, and a stand-in for Go that makes them; the log of what it was asked."""
    log = go_stand_in(home, monkeypatch)
    monkeypatch.setattr(dockerd, "answers", lambda: None)
    return log


def test_what_is_missing_is_told_and_made_once(go: Path) -> None:
    told: list[Sequence[str]] = []
    steps.ensure(steps.FOR_ENVIRONMENTS, told.append)
    assert told == [["toolchain"]]
    assert toolchain.located().pulumi.exists()
    asked = go.read_text()
    steps.ensure(steps.FOR_ENVIRONMENTS, told.append)
    assert (len(told), go.read_text()) == (1, asked)


def test_a_wrong_architecture_is_refused_before_anything_is_made(go: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*real[:4], "riscv64")))
    with pytest.raises(MachineError, match="architecture riscv64 is not supported"):
        steps.ensure(steps.EVERYTHING, lambda _: None)
    assert not go.exists()


def test_two_at_once_make_it_once(go: Path) -> None:
    gate = go.with_name("gate")
    os.mkfifo(gate)
    compiler = go.with_name("bin") / "go"
    compiler.write_text(compiler.read_text().replace("  build)\n", f"  build)\n    read -r < {gate}\n"))
    script = "from ephemera.setup import steps; steps.ensure((steps.TOOLCHAIN,), print)"
    with ExitStack() as running:
        both = [
            running.enter_context(subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        try:
            for process in both:  # each has found that it is not there
                assert process.stderr is not None
                assert process.stderr.readline() == "toolchain: started\n"
            gate.write_text("\n")
            assert [process.wait(DEADLINE_SECONDS) for process in both] == [0, 0]
        finally:
            for process in both:
                process.kill()
    assert go.read_text().count(" build ") == 1


def test_looking_loads_no_heavy_module() -> None:
    script = "import sys; from ephemera.setup import steps; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pulumi", "docker", "requests", "pydantic", "rich", "grpc", "typer"} & set(loaded)


@pytest.fixture
def python(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Makes the interpreter a script that says a line, and ends with a code."""

    def make(line: str, code: int) -> None:
        script = home / "python"
        script.write_text(f"#!/bin/sh\necho {shlex.quote(line)}\nexit {code}\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return make


def _run(step: Step) -> None:
    step.run(Work(step.name, lambda _: None))


def test_base_images_that_cannot_be_made_say_why(python: Callable[[str, int], None]) -> None:
    python("the local base image can only be made by root", 1)
    with pytest.raises(MachineError, match=r"cannot be made \(the local base image can only be made by root\)"):
        _run(steps.BaseImage())


def test_base_images_that_are_made_are_there(
    python: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    python("made", 0)
    step = steps.BaseImage()
    assert not step.check()
    _run(step)
    monkeypatch.setenv("EPHEMERA_IMAGES", "local")
    monkeypatch.setattr(steps, "base_image", lambda: "sha256:1")
    assert step.check()


@pytest.mark.usefixtures("go")
def test_images_of_a_system_are_made_beside_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Sequence[str]] = []
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(steps, "_make_images", lambda _work, _folder, *arguments: asked.append(arguments))
    for _ in range(2):
        steps.ensure((steps.TOOLCHAIN,), told.append, "shop")
        assert told == [["toolchain", "images"]]
        assert asked == [("-m", "ephemera", "images", "build", "shop")]


def test_images_that_cannot_be_made_say_why(python: Callable[[str, int], None]) -> None:
    python("ephemera: image 'api' cannot be built\n  Step 2/2 : RUN false", 3)
    with pytest.raises(MachineError, match=r"cannot be made \(ephemera: image 'api' cannot be built\): .*full log"):
        _run(steps.SystemImages("shop"))
