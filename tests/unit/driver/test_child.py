from __future__ import annotations

from importlib.metadata import version
from types import SimpleNamespace

import pulumi
import pytest
from pulumi.runtime import settings

from ephemera.driver import child
from ephemera.machine.toolchain import PLUGIN_VERSION


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


def test_plugin_that_is_woken_is_the_one_that_the_programs_resources_ask_for() -> None:
    assert version("pulumi-docker") == PLUGIN_VERSION
