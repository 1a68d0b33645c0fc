"""Go as the product builds the toolchain with it, so that all share what is compiled."""

from __future__ import annotations

from pathlib import Path

from ephemera.setup import go

TOOLCHAIN = Path(__file__).resolve().parents[2] / "toolchain"
VARIABLES = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"}
DEADLINE_SECONDS = 15 * 60
"""The first build compiles Pulumi or the provider; with a warm cache each takes seconds."""


def compiler() -> Path:
    """The Go that the product found, or made ready."""
    found = go.executable()
    assert found is not None, "no Go that builds the toolchain: `./ephemera doctor` says what is missing"
    return found
