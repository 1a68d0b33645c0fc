"""The definition of an environment: all that decides what a run of the engine would make of its program.

The files of the project, and what else its program reads (:mod:`ephemera.driver.reads`), by their fingerprint; the
stack's settings and config, the process environment, the machine's engine, plugin and packages, and the images that the
system's containers use. It is recorded after a run, and compared before the next one; what cannot be told counts as a
difference.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ephemera import images
from ephemera.contract.catalog import Manifest
from ephemera.contract.errors import InputError
from ephemera.contract.settings import NAMESPACE, Settings
from ephemera.driver import variables
from ephemera.driver.reads import site_folders
from ephemera.driver.workspace import Workspace, read_yaml
from ephemera.host.configured import configured
from ephemera.host.fingerprint import Fingerprint, TooManyFilesError, fingerprint, same

_BY_BRANCH = ("branch", "owner")
_INSTALLED_SUFFIXES = (".dist-info", ".egg-info", ".egg-link", ".pth")
# The kernel's clock for files ticks every few milliseconds: one that changed just before may be stamped a bit later.
_TICK_NANOSECONDS = 20_000_000

Stamp = list[int]
"""Times of change of content and of entry in nanoseconds, size, inode: equal ones mean that nobody wrote to it."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """Plain values, so that it can be kept. ``settings``: as config; ``config``: digest of what else the stack's config
    holds; ``variables``: digest of the process environment, ``shared_variables``: of what of it differs by no branch.
    ``images``: id by reference. ``files``: fingerprint of ``paths``."""

    settings: Mapping[str, str]
    config: str
    variables: str
    shared_variables: str
    machine: str
    images: Mapping[str, str]
    paths: Sequence[str]
    files: Fingerprint


def define(workspace: Workspace, stack: str, settings: Settings, paths: Iterable[str], started: int) -> Definition:
    """Return the current definition of a program that reads ``paths``, still without the images' ids.

    ``started``: when the run began, nanoseconds since the epoch. Raises :class:`UnknownFilesError` when a file was
    written since, or when there are too many: then nobody knows what was read.
    """
    paths = sorted({*paths} - {str(workspace.config_file(stack))})
    try:
        files = fingerprint(paths)
    except TooManyFilesError as error:
        raise UnknownFilesError(str(error)) from error
    if files.changed_at >= started - _TICK_NANOSECONDS:
        raise UnknownFilesError("a file of the project was written meanwhile")
    return Definition(
        settings=settings.to_config(),
        config=config_digest(workspace, stack),
        variables=variables.digest(),
        shared_variables=variables.digest(any_branch=True),
        machine=_machine(workspace),
        images={},
        paths=paths,
        files=files,
    )


class UnknownFilesError(Exception):
    """It cannot be told which files the program has read."""


def difference(
    known: Definition, workspace: Workspace, stack: str, settings: Settings, *, any_branch: bool = False
) -> str:
    """Return what differs, in a few words, or an empty text; the images' ids are not compared.

    ``any_branch``: ignore what differs by branch alone.
    """
    if not _same_settings(known, settings, any_branch):
        return "the settings differ"
    if known.machine != _machine(workspace):
        return "engine, plugin or packages differ"
    if known.config != config_digest(workspace, stack):
        return "the stack's config differs"
    return "" if _same_files(known) else "the project's files differ"


def same_variables(known: Definition) -> bool:
    """Return whether the process environment is the same, as far as it counts."""
    return known.variables == variables.digest()


def same_request(known: Definition, settings: Settings) -> bool:
    """Return whether it is of these settings and this process environment, but for what differs by branch."""
    return known.shared_variables == variables.digest(any_branch=True) and _same_settings(
        known, settings, any_branch=True
    )


def references(system: Manifest, settings: Settings) -> list[str]:
    """Return the references of the system's images, by what they are made from now."""
    mode = settings.images if settings.images != "auto" else images.mode()
    return sorted({images.resolve(image, mode) for image in system.images})


def config_digest(workspace: Workspace, stack: str) -> str:
    """Return a digest of the stack's config without ephemera's own settings and the salt of its secrets."""
    try:
        document = read_yaml(workspace.config_file(stack))
    except InputError:
        return "unreadable"
    if not document:
        return _digest({})
    config = document.get("config") or {}
    others = {key: value for key, value in config.items() if not str(key).startswith(f"{NAMESPACE}:")}
    rest = {key: value for key, value in document.items() if key not in ("config", "encryptionsalt")}
    return _digest([others, rest])


def stamp(path: str | Path) -> Stamp | None:
    """Return the file's stamp, or None when there is no such file."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino]


def _same_settings(known: Definition, settings: Settings, any_branch: bool) -> bool:
    left_out = dict.fromkeys(_BY_BRANCH if any_branch else (), "")
    return {**known.settings, **left_out} == {**settings.to_config(), **left_out}


def _same_files(known: Definition) -> bool:
    try:
        return same(known.files, known.paths)
    except TooManyFilesError:
        return False


def _machine(workspace: Workspace) -> str:
    variables = workspace.exported()
    plugins = sorted(Path(variables["PULUMI_HOME"], "plugins").glob("*/pulumi-resource-*"))
    engines = [Path(folder, "pulumi") for folder in variables["PATH"].split(os.pathsep)]
    programs = [*engines, *plugins, Path(sys.executable)]
    return _digest(
        [
            variables,
            configured().handed_on(),
            sys.version,
            {str(program): stamp(program) for program in programs},
            {folder: _installed(folder) for folder in site_folders()},
        ]
    )


def _installed(folder: str) -> list[Any]:
    """Return packages with their versions, each with the time at which it was installed."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name.endswith(_INSTALLED_SUFFIXES)]
        return sorted((entry.name, entry.stat().st_mtime_ns) for entry in found)
    except OSError as error:
        return [error.__class__.__name__]


def _digest(document: Any) -> str:
    return hashlib.sha256(_bytes(document)).hexdigest()


def _bytes(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
