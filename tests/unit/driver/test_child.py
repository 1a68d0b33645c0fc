from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from pulumi.runtime import resource, settings

from ephemera.driver import child


@pytest.fixture
def spared(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the engine is told from here on."""
    told: list[object] = []
    monkeypatch.setattr(settings.SETTINGS, "engine", SimpleNamespace(Log=told.append))
    for module, name in ((pulumi.log, "debug"), (resource, "_get_stack_trace")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back afterwards
    pulumi.log.debug("before")
    assert len(told) == 1
    told.clear()
    child._spare_what_nobody_reads()
    return told


def test_notes_of_the_sdk_are_no_calls_of_the_engine(spared: list[object]) -> None:
    pulumi.log.debug("step")
    assert spared == []


def test_what_the_program_says_is_told(spared: list[object]) -> None:
    for say in (pulumi.log.info, pulumi.log.warn, pulumi.log.error):
        say("something")
    assert len(spared) == 3


def test_where_a_resource_was_made_is_not_found_out(spared: list[object]) -> None:
    class Resource:
        def __init__(self, depth: int = 3) -> None:
            self.trace: Any = Resource(depth - 1).trace if depth else resource._get_stack_trace()

    trace = Resource().trace
    assert len(trace.frames) == 0
    assert resource._get_source_position(trace) is None
