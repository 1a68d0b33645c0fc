"""Our plugin and upstream's provider as it is make the same of the same program, and go on where the other ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.toolchain.plugin_stack import PluginStack, Variant

pytestmark = pytest.mark.timeout(20 * 60)  # the first build of the plugins compiles for minutes

_Life = dict[str, dict[str, Any]]


def _live(stack: PluginStack, variant: Variant) -> _Life:
    """One stack's life with one plugin: the state after each step."""
    life = {"created": stack.up(variant)}
    stack.unchanged(variant)
    life["updated without a change"] = stack.up(variant)
    life["refreshed"] = stack.refresh(variant)
    life["changed"] = stack.up(variant, changed=True)
    life["refreshed again"] = stack.refresh(variant)
    stack.destroy(variant)
    assert stack.on_the_engine() == []
    return life


@pytest.fixture
def stack(new_stack: Callable[[str], PluginStack]) -> PluginStack:
    """A stack of the program that has everything."""
    made = new_stack("everything")
    made.tag()
    return made


def test_states_are_the_same(stack: PluginStack) -> None:
    upstream = _live(stack, "upstream")
    stack.tag()
    ours = _live(stack, "ours")

    assert len(upstream["created"]) > 20
    if found := [line for step in upstream for line in _differences(upstream[step], ours[step], step)]:
        pytest.fail("\n".join(found), pytrace=False)


@pytest.mark.parametrize(("first", "then"), [("ours", "upstream"), ("upstream", "ours")])
def test_stack_changes_hands(stack: PluginStack, first: Variant, then: Variant) -> None:
    created = stack.up(first)
    stack.unchanged(then)
    assert stack.refresh(then, "--expect-no-changes") == stack.refresh(first, "--expect-no-changes")
    assert len(stack.up(then, changed=True)) > len(created)
    stack.unchanged(first)
    stack.destroy(first)
    assert stack.on_the_engine() == []


def _differences(theirs: Any, ours: Any, where: str) -> Iterator[str]:
    """Each value that is not the same, with its place."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            yield from _differences(theirs.get(key), ours.get(key), f"{where}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(*pair, f"{where}[{number}]")
    elif theirs != ours:
        yield f"{where}: upstream {theirs!r}, ours {ours!r}"
