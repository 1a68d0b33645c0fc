"""Generated credentials: the same on every run, different in every stack, never written in the clear."""

from __future__ import annotations

import base64
import hashlib
import hmac

from ephemera.home.identity import key

_derived: set[tuple[str, str, str]] = set()


def credential(stack: str, service: str, purpose: str) -> str:
    """Return HMAC-SHA-256 of the user's key over stack, service and purpose: 32 characters, safe in a URL."""
    _derived.add((stack, service, purpose))
    message = "\0".join((stack, service, purpose)).encode()
    digest = hmac.new(key(), message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest[:24]).decode()


def derived() -> frozenset[tuple[str, str, str]]:
    """Return stack, service and purpose of every credential that this process has derived."""
    return frozenset(_derived)
