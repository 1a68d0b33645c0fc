"""Labels of every object of an environment. They never change in a stack's life: the provider replaces what does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PROJECT = "ephemera.project"
STACK = "ephemera.stack"
SYSTEM = "ephemera.system"
BRANCH = "ephemera.branch"
OWNER = "ephemera.owner"
BACKEND = "ephemera.backend"
SERVICE = "ephemera.service"
"""On containers only: the service's name in its system."""
IMAGE = "ephemera.image"
"""On images only: the name of the recipe or service it was built for."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose an object is. ``owner``: ``user@host``; ``backend``: id of the state it is recorded in."""

    project: str
    stack: str
    system: str
    branch: str
    owner: str
    backend: str

    def labels(self) -> dict[str, str]:
        """The six labels of every object."""
        return {
            PROJECT: self.project,
            STACK: self.stack,
            SYSTEM: self.system,
            BRANCH: self.branch,
            OWNER: self.owner,
            BACKEND: self.backend,
        }

    @staticmethod
    def of(labels: Mapping[str, str]) -> Identity:
        """Read it back from an object's labels; absent ones are empty."""
        return Identity(
            project=labels.get(PROJECT, ""),
            stack=labels.get(STACK, ""),
            system=labels.get(SYSTEM, ""),
            branch=labels.get(BRANCH, ""),
            owner=labels.get(OWNER, ""),
            backend=labels.get(BACKEND, ""),
        )
