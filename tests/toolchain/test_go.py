"""The toolchain's Go modules: vetted and tested with the compiler that the product itself builds them with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ephemera.machine import go

_TOOLCHAIN = Path(__file__).resolve().parents[2] / "toolchain"
# `./...` leaves out the modules of ours that replace somebody's.
_PACKAGES = {
    "engine": ("./...", "github.com/ccojocar/zxcvbn-go", "github.com/nbutton23/zxcvbn-go"),
    "docker-plugin": ("./...", "github.com/terraform-providers/terraform-provider-docker/shim"),
}
# The first run compiles Pulumi and the provider; with a warm cache each takes seconds.
_DEADLINE_SECONDS = 15 * 60
# As the product builds them, so that both share what is compiled.
_VARIABLES = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"}

pytestmark = pytest.mark.timeout(_DEADLINE_SECONDS + 10)


@pytest.mark.parametrize("command", ["vet", "test"])
@pytest.mark.parametrize("module", _PACKAGES)
def test_module(module: str, command: str) -> None:
    compiler = go.executable()
    assert compiler is not None, "no Go that builds the toolchain: `./ephemera doctor` says what is missing"
    _passes([str(compiler), command, "-trimpath", *_PACKAGES[module]], _TOOLCHAIN / module)


def test_schema_is_that_of_the_published_sdk() -> None:
    _passes([sys.executable, "compare_sdk.py"], _TOOLCHAIN / "docker-plugin")


def _passes(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **_VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} in {folder} exited with {done.returncode}:\n{done.stdout}", pytrace=False)
