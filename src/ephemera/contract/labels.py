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
DEVELOPMENT = "ephemera.development"
"""On containers only, of those with a mounted source folder."""
RUNNER = "ephemera.runner"
"""On containers that run a suite in the network, and their volumes: they come and go beside the environment."""
ONE_SHOT = "ephemera.one-shot"
"""On containers only, of those that are to end."""
SECRETS = "ephemera.secrets"
"""On containers only: which variables hold what the program marked as secret, their names as a JSON list."""
IMAGE = "ephemera.image"
"""On images only, with :data:`BACKEND`: the name of the recipe or service it was built for. Containers inherit both
from their image, so an environment's object is told by :data:`STACK`."""
LACKS = "ephemera.lacks"
"""On images of local recipes only: what the official image's engine has and this one has not, with spaces between."""


def of_image(name: str, backend: str) -> dict[str, str]:
    """Return the labels of whatever ``backend`` makes for the image of that name: layers, steps' containers, result."""
    return {IMAGE: name, BACKEND: backend}


def filters(backend: str, stack: str | None = None, *further: str) -> dict[str, list[str]]:
    """Return what the engine's lists are asked with for objects of ``stack`` (of all) that are recorded in ``backend``.

    ``further``: labels that they must have besides.
    """
    # Any stack, but one: what runs an image of ours by hand has its backend's label from it.
    return {"label": [f"{BACKEND}={backend}", STACK if stack is None else f"{STACK}={stack}", *further]}


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

    def owns(self, labels: Mapping[str, str]) -> bool:
        """Return whether the object with these labels belongs to this stack, recorded in the same backend."""
        return labels.get(STACK) == self.stack and labels.get(BACKEND) == self.backend

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
