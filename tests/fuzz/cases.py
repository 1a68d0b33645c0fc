"""What people, files and scripts may hand in: texts, JSON documents, catalogs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ephemera.model.errors import EphemeraError

thousand = settings(
    max_examples=1000,
    derandomize=True,
    deadline=20_000,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""A thousand cases, the same in every run."""

_NASTY = [
    "",
    " ",
    "-",
    "--help",
    "-rf",
    "..",
    "../../etc/passwd",
    "/",
    "a/b/c",
    "a.b",
    "\0",
    "\x1b[2J",
    "a\nb",
    "\ud800",
    "🚀",
    "ﬁ",
    "İ",
    "ß",
    "日本語",
    "\u202egnp",
    "null",
    "true",
    "[]",
    "{}",
    "[" * 1500,
    "9" * 5000,
    "1e999",
    "NaN",
    "٣",
    "a" * 300,
    "$(reboot)",
    "'; drop table users; --",
    "%00",
    "{0}",
    "[red]x[/]",
]

texts = st.text(max_size=80) | st.sampled_from(_NASTY) | st.text(alphabet="aAüß/.-_0 \n[]{}\"'", max_size=80)
"""Any text, the awkward ones often."""

plain = st.none() | st.booleans() | st.integers() | st.floats() | texts
documents = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
"""Any JSON document, and some Python values that are none."""


def result_or_error(call: Callable[[], Any]) -> Any:
    """What the call returns, or the one clear error that it raises; anything else comes through."""
    try:
        return call()
    except EphemeraError as error:
        return _clear(error)


def _clear(error: EphemeraError) -> EphemeraError:
    assert error.message.strip()
    shown = str(error)
    assert shown.encode(), "it can be printed"
    assert "Traceback" not in shown
    assert error.kind != EphemeraError.kind
    return error


def mutated(document: Any) -> st.SearchStrategy[Any]:
    """``document`` with one part of it, however deep, replaced, removed or added to."""

    @st.composite
    def changed(draw: st.DrawFn) -> Any:
        return _changed(draw, document)

    return changed()


def _changed(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _changed(draw, value[key])}
    if isinstance(value, dict) and value and draw(st.booleans()):
        gone = draw(st.sampled_from(sorted(value)))
        return {key: part for key, part in value.items() if key != gone}
    if isinstance(value, dict) and draw(st.booleans()):
        return {**value, draw(texts): draw(documents)}
    return draw(documents)
