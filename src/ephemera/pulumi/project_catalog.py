"""Manifests of a project's systems: each is rehearsed once, and remembered as long as no file of theirs has changed.

The memory is a document in the cache, one for each project. It can go at any time.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import ephemera
from ephemera.home import documents
from ephemera.home.paths import own_cache_dir
from ephemera.host.fingerprint import Files, Fingerprint, apart
from ephemera.model.catalog import Manifest
from ephemera.model.errors import EphemeraError
from ephemera.model.system import load_systems
from ephemera.pulumi import process_variables
from ephemera.pulumi.reads import libraries
from ephemera.resources.manifests import Manifests

_SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """``files``: fingerprint of ``paths``, the sources; ``variables``: digest of the process environment."""

    systems: tuple[str, ...]
    manifests: dict[str, Manifest]
    paths: tuple[str, ...]
    files: Fingerprint
    variables: str

    def holds(self, files: Files) -> bool:
        """Return whether sources and variables are the same; False in doubt."""
        try:
            return self.variables == process_variables.digest() and files.same(self.files, self.paths)
        except (EphemeraError, KeyError):
            return False


_MEMORY = TypeAdapter(_Memory)


class ProjectCatalog(Mapping[str, Manifest]):
    """Manifest by system of a project. Raises errors of the project's modules and programs when they are asked.

    ``config``: returns Pulumi config that programs read, full key → text. ``files``: the project's, as they are.
    """

    def __init__(self, project: Path, config: Callable[[], Mapping[str, str]], files: Files) -> None:
        self._project = project
        self._config = config
        self._files = files

    def __getitem__(self, name: str) -> Manifest:
        known = self._memory.manifests
        if name not in known:
            known[name] = self._systems[name]
            # A file that changed since may not be the one that was imported.
            if self._memory.holds(Files()):
                self._write()
        return known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._memory.systems)

    def __len__(self) -> int:
        return len(self._memory.systems)

    @cached_property
    def _memory(self) -> _Memory:
        known = documents.read(self._file, _parsed)
        if known is not None and known.holds(self._files):
            return known
        elsewhere = (path for path in sys.path if path and not f"{path}{os.sep}".startswith(libraries()))
        paths = tuple(apart([str(self._project), str(Path(ephemera.__file__).parent), *elsewhere]))
        try:
            files, environment = self._files.fingerprint(paths), process_variables.digest()
        except EphemeraError:  # too many files, which are never remembered; a damaged key is for commands that need it
            files, environment = {}, ""
        return _Memory(systems=tuple(self._systems), manifests={}, paths=paths, files=files, variables=environment)

    @cached_property
    def _systems(self) -> Manifests:
        return Manifests(load_systems(self._project).values(), self._config())

    def _write(self) -> None:
        try:
            documents.write(self._file, _MEMORY.dump_python(self._memory, mode="json"), schema=_SCHEMA)
        except EphemeraError:
            return  # it is rehearsed again

    @property
    def _file(self) -> Path:
        return own_cache_dir("manifests") / f"{hashlib.sha256(os.fsencode(self._project)).hexdigest()[:16]}.json"


def _parsed(document: dict[str, Any]) -> _Memory | None:
    return _MEMORY.validate_python(document) if document.get(documents.SCHEMA) == _SCHEMA else None
