"""Manifests of declared systems; each is rehearsed when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar

from ephemera.model.catalog import Manifest
from ephemera.model.system import System, refusing

KNOWN: ContextVar[Mapping[str, Manifest]] = ContextVar("known manifests", default={})  # noqa: B039 - never written to
"""Manifests that this process was told: these systems need no rehearsal."""


class Manifests(Mapping[str, Manifest]):
    """Manifest by system. ``config``: Pulumi config that programs read, full key → text."""

    def __init__(self, systems: Iterable[System], config: Mapping[str, str] | None = None) -> None:
        self._systems = {system.name: system for system in systems}
        self._config = config or {}
        self._found: dict[str, Manifest] = {}

    def system(self, name: str) -> System:
        """Return the declared system."""
        return self._systems[name]

    def __getitem__(self, name: str) -> Manifest:
        if name not in self._found:
            self._found[name] = KNOWN.get().get(name) or self._rehearsed(self._systems[name])
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._systems)

    def __len__(self) -> int:
        return len(self._systems)

    def _rehearsed(self, system: System) -> Manifest:
        from ephemera.resources.rehearsal import manifest_of  # which imports Pulumi

        with refusing(f"the program of system {system.name!r} cannot be rehearsed"):
            return manifest_of(system, config=self._config)
