from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from pulumi.runtime import settings

from ephemera.model import progress
from ephemera.model.catalog import Manifest
from ephemera.pulumi import child
from ephemera.setup.toolchain import PLUGIN_VERSION
from tests.unit import programs


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the engine is told from here on."""
    told: list[object] = []
    monkeypatch.setattr(settings.SETTINGS, "engine", SimpleNamespace(Log=told.append))
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)  # put back afterwards
    pulumi.log.debug("before")
    assert len(told) == 1
    told.clear()
    child._disable_debug_notes()
    return told


def test_notes_of_the_sdk_are_no_calls_of_the_engine(told: list[object]) -> None:
    pulumi.log.debug("step")
    assert told == []


def test_what_the_program_says_is_told(told: list[object]) -> None:
    for say in (pulumi.log.info, pulumi.log.warn, pulumi.log.error):
        say("something")
    assert len(told) == 3


def test_program_is_run_once_and_not_rehearsed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__main__.py").write_text(f"""
from ephemera import System, run
shop = System("shop")
@shop.program
def program(environment):
    with open("{tmp_path}/log", "a") as log:
        log.write("declared ")
run(shop)
""")
    monkeypatch.setattr(child, "_wake_plugin", lambda _: None)
    monkeypatch.setattr(progress, "_subscribers", [])
    manifests = {"shop": Manifest(suite="tests", services={})}
    channel: Any = SimpleNamespace(timed=False, send=lambda _: None)
    reads: Any = SimpleNamespace(watch_monitor=lambda _: None)
    programs.run(lambda: child._program(tmp_path, channel, reads, manifests))
    assert (tmp_path / "log").read_text() == "declared "


def test_plugin_that_is_woken_is_the_one_that_the_programs_resources_ask_for() -> None:
    assert version("pulumi-docker") == PLUGIN_VERSION
