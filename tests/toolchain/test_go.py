"""The toolchain's Go module: vetted and tested with the compiler that the product itself builds them with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolchain.building import DEADLINE_SECONDS, TOOLCHAIN, VARIABLES, compiler

# `./...` leaves out the modules of ours that replace others.
_PACKAGES = (
    "./...",
    "github.com/ccojocar/zxcvbn-go",
    "github.com/nbutton23/zxcvbn-go",
    "github.com/terraform-providers/terraform-provider-docker/shim",
)

pytestmark = pytest.mark.timeout(DEADLINE_SECONDS + 10)


@pytest.mark.parametrize("command", ["vet", "test"])
def test_module(command: str) -> None:
    _passes([str(compiler()), command, "-trimpath", "-tags", "no_compose", *_PACKAGES], TOOLCHAIN)


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
