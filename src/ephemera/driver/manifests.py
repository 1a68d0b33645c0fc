"""What is known of a project's systems: rehearsed once, and remembered as long as no file of theirs has changed.

The memory is a document in the cache, one for each project. It can go at any time.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import ephemera
from ephemera.contract.catalog import Manifest, from_document
from ephemera.contract.errors import EphemeraError
from ephemera.contract.system import load_systems
from ephemera.driver import variables
from ephemera.driver.reads import libraries
from ephemera.home import documents
from ephemera.home.paths import own_cache_dir
from ephemera.host.fingerprint import Fingerprint, TooManyFilesError, fingerprint, same
from ephemera.resources.manifests import Manifests

_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """``made_from``: paths and fingerprint of the sources, and a digest of the process environment."""

    systems: tuple[str, ...]
    made_from: Mapping[str, Any]
    manifests: dict[str, Manifest] = field(default_factory=dict)


class ProjectCatalog(Mapping[str, Manifest]):
    """Manifest by system of a project. Raises what the project's modules and programs raise when they are asked.

    ``config``: gives what programs read from Pulumi's config, full key → text.
    """

    def __init__(self, project: Path, config: Callable[[], Mapping[str, str]]) -> None:
        self._project = project
        self._config = config

    def __getitem__(self, name: str) -> Manifest:
        if name not in self._memory.manifests:
            manifest = self._systems[name]
            self._memory.manifests[name] = manifest
            self._write()
        return self._memory.manifests[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.systems)

    def __len__(self) -> int:
        return len(self._memory.systems)

    @cached_property
    def _memory(self) -> _Memory:
        known = documents.read(_file(self._project), _parsed)
        if known is not None and _holds(known.made_from):
            return known
        made_from = _made_from(self._project)
        return _Memory(systems=tuple(self._systems), made_from=made_from)

    @cached_property
    def _systems(self) -> Manifests:
        return Manifests(load_systems(self._project).values(), self._config())

    def _write(self) -> None:
        # What changed since it was looked at may not be what was imported.
        if not self._memory.made_from or not _holds(self._memory.made_from):
            return
        document = {
            "systems": list(self._memory.systems),
            "made_from": self._memory.made_from,
            "manifests": {name: each.document() for name, each in self._memory.manifests.items()},
        }
        try:
            documents.write(_file(self._project), document, schema=_SCHEMA)
        except (documents.DiskError, EphemeraError):
            return  # it is rehearsed again


def _file(project: Path) -> Path:
    name = hashlib.sha256(os.fsencode(project)).hexdigest()[:16]
    return own_cache_dir("manifests") / f"{name}.json"


def _parsed(document: dict[str, Any]) -> _Memory | None:
    if document.get(documents.SCHEMA) != _SCHEMA:
        return None  # of another version: it is made anew
    return _Memory(
        systems=tuple(document["systems"]),
        made_from=document["made_from"],
        manifests={name: from_document(each) for name, each in document["manifests"].items()},
    )


def _made_from(project: Path) -> Mapping[str, Any]:
    """Paths of the sources with their fingerprint; empty for more files than can be looked at before every command."""
    elsewhere = (path for path in sys.path if path and not f"{path}{os.sep}".startswith(libraries()))
    paths = sorted({str(project), str(Path(ephemera.__file__).parent), *elsewhere})
    try:
        return {"paths": paths, "files": asdict(fingerprint(paths)), "variables": variables.digest()}
    except (TooManyFilesError, EphemeraError):  # a damaged key is for commands that need it
        return {}


def _holds(made_from: Mapping[str, Any]) -> bool:
    try:
        return variables.digest() == made_from["variables"] and same(
            Fingerprint(**made_from["files"]), made_from["paths"]
        )
    except (TooManyFilesError, EphemeraError, KeyError, TypeError):
        return False
