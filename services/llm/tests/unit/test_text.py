"""Tokens, words, stems, quotes."""

import pytest
from llm.text import quote, stems, tokens, words


@pytest.mark.parametrize("text", ["", " ", "Hello, world!  \n", "a_b²c  1.5%\t…", "žluťoučký 🐎 kůň", "_" * 9])
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_a_token_has_the_space_before_it() -> None:
    assert tokens("How do I, on 10 ports?") == ["How", " do", " I", ",", " on", " 10", " ports", "?"]


def test_words_that_carry_no_meaning_are_left_out_unless_there_are_no_others() -> None:
    assert words("What is the MTU of an Interface?") == ["mtu", "interface"]
    assert words("What is it?") == ["what", "is", "it"]
    assert words("?!") == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("router", "routing"), ("switches", "switch"), ("processes", "process"), ("Interfaces", "interface")],
)
def test_kindred_words_have_one_stem(one: str, other: str) -> None:
    assert stems(one) == stems(other)


def test_other_words_have_other_stems() -> None:
    assert len(stems("bgp ospf router switch confirm configure")) == 6


def test_a_quote_is_one_line_and_bounded() -> None:
    assert quote(" a\n b\t c ") == "a b c"
    assert quote("x" * 301) == "x" * 299 + "…"
    assert quote("x" * 300) == "x" * 300
