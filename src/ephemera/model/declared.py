"""Checks of plain values in a project's Python, which no type checker may have seen. Pure, no I/O.

``what`` is what an error calls the value: ``memory_mb of service 'api'``. All raise :class:`InputError` with the value,
and the rule that it breaks.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ephemera.model.errors import InputError, UnknownNameError

_OPTION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SHOWN = 80
# Docker's own limits.
MIN_MEMORY_MB = 6
MIN_CPUS = 0.01
MAX_PIDS = 4_194_304
_MAX_WHOLE = 2**31 - 1  # what every interface between a program and the kernel can hold


def require(fits: bool, what: str, value: Any, rule: str) -> None:
    """Raise unless ``fits``. ``rule``: what the value must be."""
    if not fits:
        raise InputError(f"{what} is {shown(value)}", remedy=f"it must be {rule}")


def expect(what: str, value: Any, kind: type | tuple[type, ...], rule: str) -> None:
    """Raise unless ``value`` is of that type; a boolean is not a number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    require(isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds), what, value, rule)


def shown(value: Any) -> str:
    """Return ``value`` as one short line: its type alone if it has no text of its own."""
    text = repr(value)
    if text.startswith("<"):
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def in_project(folder: str | Path, *, depth: int) -> Path:
    """Return ``folder`` as an absolute path; a relative one is relative to the project of the calling module.

    ``depth``: how many calls up that module is.
    """
    if Path(folder).is_absolute():
        return Path(folder)
    return (project_of(Path(sys._getframe(depth).f_code.co_filename)) / folder).resolve()


def nearest_project(start: Path) -> Path | None:
    """Return the nearest folder from ``start`` upwards that has a ``Pulumi.yaml``, or None."""
    return next((folder for folder in (start, *start.parents) if (folder / "Pulumi.yaml").is_file()), None)


def project_of(module: Path) -> Path:
    """Return the nearest folder above ``module`` that has a ``Pulumi.yaml``, or else the folder of the module."""
    return nearest_project(module.parent) or module.parent


def check_mapping(what: str, value: Any, kind: type | tuple[type, ...], rule: str) -> None:
    """Raise unless ``value`` maps names to values of that type."""
    expect(what, value, Mapping, "a mapping")
    for name, part in value.items():
        expect(f"a key of {what}", name, str, "a name")
        expect(f"{what}[{shown(name)}]", part, kind, rule)


def check_texts(what: str, value: Any) -> None:
    """Raise unless ``value`` is a tuple of texts."""
    require(isinstance(value, tuple) and all(isinstance(part, str) for part in value), what, value, "a tuple of texts")


def check_sequence(what: str, value: Any, rule: str) -> None:
    """Raise unless ``value`` is a list or tuple; a text is one value, not a list of characters."""
    require(isinstance(value, Sequence) and not isinstance(value, (str, bytes)), what, value, rule)


def check_positive(what: str, value: Any) -> None:
    """Raise unless ``value`` is a finite number above 0."""
    rule = "a number above 0"
    expect(what, value, (int, float), rule)
    require(0 < value < math.inf, what, value, rule)  # NaN fails this too


def check_number(what: str, value: Any, least: float) -> None:
    """Raise unless ``value`` is a finite number, ``least`` or more."""
    rule = f"a number, {least:g} or more"
    expect(what, value, (int, float), rule)
    require(least <= value < math.inf, what, value, rule)


def check_whole(what: str, value: Any, least: int, most: int = _MAX_WHOLE) -> None:
    """Raise unless ``value`` is a whole number from ``least`` to ``most``."""
    rule = f"a whole number from {least} to {most}"
    expect(what, value, int, rule)
    require(least <= value <= most, what, value, rule)


def check_limits(owner: str, *, memory_mb: Any, cpus: Any, pids: Any) -> None:
    """Raise unless Docker accepts these limits of a container; its host's CPUs are not known here."""
    check_whole(f"memory_mb of {owner}", memory_mb, MIN_MEMORY_MB)
    check_number(f"cpus of {owner}", cpus, MIN_CPUS)
    check_whole(f"pids of {owner}", pids, 1, MAX_PIDS)


def check_cpus(owner: str, cpus: float, there: int) -> None:
    """Raise if ``cpus`` is more than ``there``, the CPUs of the Docker host."""
    if cpus > there:
        raise InputError(
            f"cpus of {owner} is {cpus:g}, and the Docker host has {there}", remedy=f"give at most {there}"
        )


def check_option_names(names: Iterable[str], reserved: Iterable[str]) -> None:
    """Raise for names that are no config keys, or that are ``reserved``."""
    for name in names:
        if not _OPTION_NAME.fullmatch(name) or name in reserved:
            raise InputError(
                f"option name {name!r} is not valid",
                remedy=f"use lower-case letters, digits and _, and none of {', '.join(reserved)}",
            )


def check_tables(tables: Any, services: Iterable[str]) -> None:
    """Raise for tables of fixed ports with services that are not declared, or ports that cannot all be bound."""
    expect("fixed_ports", tables, Mapping, "a mapping")
    for name, table in tables.items():
        what = f"fixed_ports[{name!r}]"
        expect(f"the name of {what}", name, str, "a name")
        check_mapping(what, table, int, "a port")
        for endpoint, port in table.items():
            service, dot, rest = endpoint.partition(".")
            if service not in services or not dot or not rest:
                known = [f"{known}.<endpoint>" for known in services]
                raise UnknownNameError(f"endpoint in {what}", endpoint, known)
            check_whole(f"{what}[{endpoint!r}]", port, 1, 65535)
        bound = [(port, endpoint.endswith("/udp")) for endpoint, port in table.items()]
        for port, udp in bound:
            if bound.count((port, udp)) > 1:
                raise InputError(
                    f"{what} has port {port} twice",
                    remedy='give each endpoint a port of its own; one of UDP is listed as "<service>.<endpoint>/udp"',
                )
