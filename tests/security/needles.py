"""Secrets in every form that they may be written in, and the search for them."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote


def forms(secret: bytes) -> set[bytes]:
    """As it is, URL-encoded, in hex, and as it looks inside of what is encoded as base64, wherever it begins there."""
    found = {secret, quote(secret, safe="").encode(), secret.hex().encode(), secret.hex().upper().encode()}
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + secret)
        # The first and last characters are made of neighbours too.
        core = encoded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Needles:
    """Secrets to look for, by name."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._forms = [(name, form) for name, secret in secrets.items() for form in forms(secret)]

    def __len__(self) -> int:
        return len(self._forms)

    def found_in(self, haystack: bytes) -> list[str]:
        """Names of the secrets that are in there."""
        return sorted({name for name, form in self._forms if form in haystack})

    def search(self, haystacks: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, int, list[str]]]:
        """``(place, bytes, names found)`` of each."""
        for place, content in haystacks:
            yield place, len(content), self.found_in(content)
