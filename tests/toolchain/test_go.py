"""The toolchain's Go modules: vetted and tested with the compiler that the product itself builds them with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolchain.building import DEADLINE_SECONDS, TOOLCHAIN, VARIABLES, compiler

# `./...` leaves out the modules of ours that replace somebody's.
_PACKAGES = {
    "engine": ("./...", "github.com/ccojocar/zxcvbn-go", "github.com/nbutton23/zxcvbn-go"),
    "docker-plugin": (
        "./...",
        "github.com/terraform-providers/terraform-provider-docker/shim",
        "github.com/fsnotify/fsevents",
    ),
}

pytestmark = pytest.mark.timeout(DEADLINE_SECONDS + 10)


@pytest.mark.parametrize("command", ["vet", "test"])
@pytest.mark.parametrize("module", _PACKAGES)
def test_module(module: str, command: str) -> None:
    _passes([str(compiler()), command, "-trimpath", *_PACKAGES[module]], TOOLCHAIN / module)


def test_schema_is_that_of_the_published_sdk() -> None:
    _passes([sys.executable, "compare_sdk.py"], TOOLCHAIN / "docker-plugin")


def _passes(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} in {folder} exited with {done.returncode}:\n{done.stdout}", pytrace=False)
    return done.stdout
