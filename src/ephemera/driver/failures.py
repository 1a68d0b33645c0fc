"""Errors that crossed a process boundary: from document back to exception."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ephemera.contract.errors import (
    EngineError,
    EphemeraError,
    ImageError,
    InputError,
    MachineError,
    ServiceFailedError,
)


def error_from_document(document: Mapping[str, Any]) -> EphemeraError:
    """The error that ``document`` (the inside of ``{"error": …}``) was made from, as the nearest class of the tree."""
    message, remedy, kind = str(document["message"]), str(document.get("remedy", "")), document.get("kind")
    if kind == ServiceFailedError.kind:
        return ServiceFailedError(
            document["service"],
            document["cause"],
            container_exit_code=document["container_exit_code"],
            log_tail=document["log_tail"],
        )
    if kind == ImageError.kind:
        return ImageError(message, remedy=remedy, output=document.get("log_tail", ()))
    if kind == MachineError.kind:
        return MachineError(message, remedy=remedy)
    for known in _subclasses(InputError):
        if kind == known.kind:
            error = InputError(message, remedy=remedy)
            error.kind = known.kind  # type: ignore[misc]
            return error
    return EngineError(message, remedy=remedy)


def _subclasses(root: type[EphemeraError]) -> list[type[EphemeraError]]:
    return [root, *(below for child in root.__subclasses__() for below in _subclasses(child))]
