"""Embeddings without a model: words and their trigrams are hashed into buckets, so texts that share them are close."""

import base64
import hashlib
import math
import struct
from collections import Counter
from functools import lru_cache

from llm.text import words

_WORD_WEIGHT = 1.0
_TRIGRAM_WEIGHT = 0.35  # below a word's, since a word has several: a kindred word counts, an equal one more


def embed(text: str, dimensions: int) -> list[float]:
    """A vector of length 1, of float32 values, so that both encodings say the same."""
    vector = [0.0] * dimensions
    # A text of signs alone has no words; it is one itself.
    for word, count in Counter(words(text) or [text]).items():
        often = 1.0 + math.log(count)
        for feature, weight in _features(word):
            place = _hash(feature)
            vector[place // 2 % dimensions] += often * weight * (1 if place % 2 else -1)
    length = math.hypot(*vector)
    if length < 1e-9:
        # Features cancelled each other out, as they may in very few dimensions.
        vector[0] = length = 1.0
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(value / length for value in vector))))


def base64_of(vector: list[float]) -> str:
    """Little-endian float32, as OpenAI encodes it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _features(word: str) -> list[tuple[str, float]]:
    framed = f"^{word}$"
    trigrams = {framed[start : start + 3]: _TRIGRAM_WEIGHT for start in range(len(framed) - 2)}
    return [(word, _WORD_WEIGHT), *((f"{trigram}#", weight) for trigram, weight in trigrams.items())]


@lru_cache(maxsize=1 << 16)
def _hash(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
