"""Labels of every object of an environment. They never change in a stack's life: a change would replace the object."""

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
"""On containers with a mounted source folder."""
RUNNER = "ephemera.runner"
"""On containers that run a suite in the network, and on their volumes: they are no part of the environment."""
ONE_SHOT = "ephemera.one-shot"
"""On containers that are one-shots."""
SECRETS = "ephemera.secrets"
"""On containers: names of the variables that hold secrets, as a JSON list (ADR 0037)."""
IMAGE = "ephemera.image"
"""On images, with :data:`BACKEND`: name of the recipe or service. Containers inherit both from their image, so
:data:`STACK` alone tells an environment's object."""
LACKS = "ephemera.lacks"
"""On images of local recipes: features of the official image that this one lacks, separated by spaces."""


def of_image(name: str, backend: str) -> dict[str, str]:
    """Return the labels of all that ``backend`` makes for the image of that name: layers, containers, result."""
    return {IMAGE: name, BACKEND: backend}


def filters(backend: str, stack: str | None = None, *further: str) -> dict[str, list[str]]:
    """Return a filter for Docker's lists: objects of ``stack``, by default of any, that are recorded in ``backend``.

    ``further``: labels that they must also have.
    """
    # The label of a stack is required: a container run by hand inherits the backend's label from an image of ours.
    return {"label": [f"{BACKEND}={backend}", STACK if stack is None else f"{STACK}={stack}", *further]}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The owner of an object. ``owner``: ``user@host``. ``backend``: id of the state that it is recorded in."""

    project: str
    stack: str
    system: str
    branch: str
    owner: str
    backend: str

    def labels(self) -> dict[str, str]:
        """Return the six labels of every object."""
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
        """Return the identity in an object's labels; fields without one are empty."""
        return Identity(
            project=labels.get(PROJECT, ""),
            stack=labels.get(STACK, ""),
            system=labels.get(SYSTEM, ""),
            branch=labels.get(BRANCH, ""),
            owner=labels.get(OWNER, ""),
            backend=labels.get(BACKEND, ""),
        )
