"""Embeddings: the same for the same text, of length 1, close for texts that share words."""

import base64
import math
import struct

import pytest
from llm.vectors import base64_of, embed

BGP = "BGP routers exchange routes between autonomous systems"


def _cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one, 64), embed(other, 64), strict=True))


@pytest.mark.parametrize("dimensions", [1, 2, 64, 1536])
@pytest.mark.parametrize("text", ["?", "a", "is", BGP, "word " * 500])
def test_length_is_one(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-6)


def test_no_change_of_code_moves_vectors_unnoticed() -> None:
    # Stored vectors and new ones must come from the same function.
    assert [round(value, 4) for value in embed("hello", 4)] == [0.2993, 0.2993, 0.8551, -0.2993]


def test_kindred_texts_are_closer_than_others() -> None:
    close, kindred, far = (
        _cosine(BGP, text)
        for text in ("How do BGP routers exchange routes?", "routing of a router", "Cake needs flour, sugar and eggs")
    )
    assert close > 0.7
    assert kindred > far + 0.1
    assert abs(far) < 0.35


def test_case_order_and_stop_words_do_not_matter() -> None:
    assert _cosine("The BGP router", "router, bgp!") == pytest.approx(1.0, abs=1e-6)


def test_base64_is_the_same_vector_in_little_endian_float32() -> None:
    vector = embed(BGP, 64)
    assert list(struct.unpack("<64f", base64.b64decode(base64_of(vector)))) == vector
