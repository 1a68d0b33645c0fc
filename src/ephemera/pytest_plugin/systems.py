"""Find the system whose environment a test gets: the one that its marker names, or whose suite it is in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ephemera.pulumi.workspace import Workspace

MARKER = "environment"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One system of one project."""

    project: Path
    system: str


class Systems:
    """Finds a test's system; each folder's project is looked up once."""

    def __init__(self, rootpath: Path) -> None:
        self._rootpath = rootpath
        self._workspaces: dict[Path, Workspace] = {}

    def wanted(self, node: pytest.Item | pytest.Collector) -> Wanted:
        """Return the test's system; fail the test if it names no system and is in no suite.

        Raises :class:`~ephemera.model.errors.InputError` without a project.
        """
        workspace = self.workspace(node)
        marker = node.get_closest_marker(MARKER)
        if marker is not None:
            if len(marker.args) != 1 or not isinstance(marker.args[0], str):
                pytest.fail(f"{node.nodeid}: the marker takes a system: @pytest.mark.{MARKER}(NAME)", pytrace=False)
            return Wanted(project=workspace.project, system=marker.args[0])
        suites = {name: workspace.project / system.suite for name, system in workspace.catalog.items()}
        inside = [name for name, folder in suites.items() if node.path.is_relative_to(folder)]
        if not inside:
            pytest.fail(
                f"no system for this test: put it into a system's suite, or mark it @pytest.mark.{MARKER}(NAME); "
                f"known: {', '.join(suites)}",
                pytrace=False,
            )
        return Wanted(project=workspace.project, system=max(inside, key=lambda name: len(suites[name].parts)))

    def key(self, node: pytest.Item | pytest.Collector) -> Wanted | None:
        """Return the test's system, or None without one."""
        from ephemera.model.errors import EphemeraError

        try:
            return self.wanted(node)
        except (EphemeraError, pytest.fail.Exception):
            return None

    def workspace(self, node: pytest.Item | pytest.Collector) -> Workspace:
        """Return the project around the test, else the one around pytest's root folder."""
        from ephemera.model.errors import InputError
        from ephemera.pulumi.workspace import Workspace

        folder = node.path.parent
        if folder not in self._workspaces:
            try:
                self._workspaces[folder] = Workspace.find(folder)
            except InputError:
                self._workspaces[folder] = Workspace.find(self._rootpath)
        return self._workspaces[folder]
