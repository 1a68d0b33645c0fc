from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephemera.model.text import coloured, lines, printable

_HOSTILE = (
    "\x1b]0;title\x07",
    "\x1b]52;c;ZXZpbA==\x1b\\",
    "\x1b]52;c;ZXZpbA==\x9c",
    "\x9d0;title\x9c",
    "\x1b[2J",
    "\x9b2J",
    "\x1bP1$r0m\x1b\\",
    "\x1b_Gi=1;AAAA\x1b\\",
    "\x1bc",
    "\x1b(0",
    "\b",
    "\r",
    "\x7f",
    "\u202e",
    "\u2066",
    "\x00",
)


@pytest.mark.parametrize("end", ["\r", "\f", "\v", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r\r"])
def test_only_a_line_feed_ends_a_line(end: str) -> None:
    assert lines(f"10%{end}100%\nnext\n") == [f"10%{end}100%", "next"]
    assert lines(f"10%{end}100%\nnext".encode()) == [f"10%{end}100%", "next"]


@pytest.mark.parametrize(("text", "found"), [("", []), ("\n", [""]), ("a", ["a"]), ("a\n\n", ["a", ""])])
def test_lines_are_counted_by_their_ends(text: str, found: list[str]) -> None:
    assert lines(text) == found


def test_bytes_that_are_no_text_spoil_nothing_around_them() -> None:
    assert lines(b"a\xff\nb") == ["a\ufffd", "b"]


@pytest.mark.parametrize("hostile", _HOSTILE)
def test_what_steers_a_terminal_is_left_out(hostile: str) -> None:
    assert printable(f"a{hostile}b") == "ab"
    assert coloured(f"a{hostile}b") == "ab"


def test_colours_stay_and_end_with_their_line() -> None:
    assert printable("\x1b[1;31mred\x1b[0m") == "red"
    assert coloured("\x1b[1;31mred") == "\x1b[1;31mred\x1b[0m"
    assert coloured("\x1b[38:2::1:2:3mtrue") == "\x1b[38:2::1:2:3mtrue\x1b[0m"
    assert coloured("\x1b[?1049hplain\x1b[31") == "plain31"


def test_tabs_and_lines_stay() -> None:
    assert printable("a\tb\nc") == "a\tb\nc"


@given(st.text(alphabet=st.sampled_from("\x1b\x9b\x9d[];0m\x07\\\x9cPa\n\r\t \u202e"), max_size=30))
def test_no_text_steers_a_terminal(text: str) -> None:
    allowed = set("\n\t")
    assert all(ord(each) >= 32 or each in allowed for each in printable(text))
    shown = coloured(text)
    for sequence in shown.split("\x1b")[1:]:
        assert sequence.startswith("[")
        assert sequence[1:].lstrip("0123456789;:").startswith("m")
