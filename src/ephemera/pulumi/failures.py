"""Errors that crossed a process boundary: from document back to exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ephemera.images.build_errors  # noqa: F401 - its classes belong to the tree
from ephemera.model.errors import EngineError, EphemeraError


def error_from_document(document: Mapping[str, Any]) -> EphemeraError:
    """Return the error that ``document`` (the inside of ``{"error": …}``) was made from, with the fields that it holds;
    an :class:`EngineError` for an unknown kind."""
    known = {each.kind: each for each in _tree(EphemeraError)}
    family = known.get(str(document.get("kind")), EngineError)
    # Constructors take what the message was made of.
    error = family.__new__(family)
    EphemeraError.__init__(error, str(document["message"]), remedy=str(document.get("remedy", "")))
    fields = {key: value for key, value in document.items() if key not in ("kind", "message", "remedy")}
    vars(error).update(fields, output=tuple(document.get("log_tail", ())))
    return error


def _tree(root: type[EphemeraError]) -> Iterator[type[EphemeraError]]:
    """Yield subclasses before their parents, whose kind they may share."""
    for child in root.__subclasses__():
        yield from _tree(child)
    yield root
