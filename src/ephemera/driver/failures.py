"""Errors that crossed a process boundary: from document back to exception."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ephemera.images.errors  # noqa: F401 - its classes belong to the tree
from ephemera.contract.errors import (
    EngineError,
    EphemeraError,
    ImageError,
    InputError,
    InterruptedByUserError,
    LeftoversError,
    MachineError,
    NotReadyError,
    ServiceFailedError,
    UnexpectedError,
)

_WITH_OUTPUT = (ImageError, EngineError)
_PLAIN = (InputError, MachineError, UnexpectedError, InterruptedByUserError, NotReadyError, EphemeraError)


def error_from_document(document: Mapping[str, Any]) -> EphemeraError:
    """The error that ``document`` (the inside of ``{"error": …}``) was made from: the same document and exit code, as
    the nearest class of the tree that is made of no more than the document holds."""
    message, remedy, kind = str(document["message"]), str(document.get("remedy", "")), document.get("kind")
    output = document.get("log_tail", ())
    if kind == ServiceFailedError.kind:
        return ServiceFailedError(
            document["service"],
            document["cause"],
            container_exit_code=document["container_exit_code"],
            log_tail=output,
            remedy=remedy,
        )
    if kind == LeftoversError.kind:
        return LeftoversError(document["stack"], document["leftovers"])
    for family in _WITH_OUTPUT:
        if kind in _kinds(family):
            return _of_kind(kind, family(message, remedy=remedy, output=output))
    for plain in _PLAIN:
        if kind in _kinds(plain):
            return _of_kind(kind, plain(message, remedy=remedy))
    return EngineError(message, remedy=remedy, output=output)


def _kinds(root: type[EphemeraError]) -> set[str]:
    return {root.kind}.union(*(_kinds(child) for child in root.__subclasses__()))


def _of_kind(kind: str, error: EphemeraError) -> EphemeraError:
    error.kind = kind  # type: ignore[misc]
    return error
