"""Names of Docker objects: an environment takes none that another object has.

Docker's create is idempotent for volumes and lets networks share a name, so a foreign object would be adopted, and
destroyed with the environment. Names are gathered while the program declares its resources, and checked when it has
ended, before anything is registered (ADR 0049).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from docker import DockerClient

from ephemera.model import labels
from ephemera.model.errors import NameTakenError
from ephemera.model.labels import Identity

_KINDS = {
    "docker:index/container:Container": "container",
    "docker:index/network:Network": "network",
    "docker:index/volume:Volume": "volume",
}
_COMPOSE = "com.docker.compose.project"


class Names:
    """The names that an environment's program wants. ``client``: of its Docker host."""

    def __init__(self, client: DockerClient, identity: Identity) -> None:
        self._client = client
        self._identity = identity
        self._wanted: dict[tuple[str, str], None] = {}
        self._checked = False

    def want(self, token: str, given: Mapping[str, Any], options: pulumi.ResourceOptions) -> None:
        """Record the name of a resource that is about to be declared; after :meth:`check`, check it at once.

        A resource that Pulumi imports or only reads is meant to exist.
        """
        kind, name = _KINDS.get(token), given.get("name")
        if kind is None or not isinstance(name, str) or options.import_ or options.id:
            return
        self._wanted[kind, name] = None
        if self._checked:
            self._refuse([(kind, name)])

    def check(self) -> None:
        """Raise :class:`NameTakenError` for all names that objects of others have."""
        self._checked = True
        self._refuse(list(self._wanted))

    def _refuse(self, wanted: list[tuple[str, str]]) -> None:
        kinds = {kind for kind, _ in wanted}
        # Networks may share a name: a foreign one makes it ambiguous for containers attached by name.
        existing = [(kind, name, marks) for kind in kinds for name, marks in self._existing(kind)]
        taken = [found for found in existing if found[:2] in wanted and self._is_foreign(found[2])]
        if taken:
            raise NameTakenError(
                [f"{kind} {name!r} exists already and {_owner(marks)}" for kind, name, marks in taken],
                [f"docker {kind} rm {name}" for kind, name, _ in taken],
            )

    def _existing(self, kind: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        api = self._client.api
        if kind == "container":
            for item in api.containers(all=True):
                yield from ((name.lstrip("/"), item["Labels"] or {}) for name in item["Names"] or ())
        elif kind == "network":
            yield from ((item["Name"], item["Labels"] or {}) for item in api.networks())
        else:
            yield from ((item["Name"], item["Labels"] or {}) for item in api.volumes()["Volumes"] or ())

    def _is_foreign(self, marks: Mapping[str, str]) -> bool:
        backend = marks.get(labels.BACKEND, self._identity.backend)
        return marks.get(labels.STACK) != self._identity.stack or backend != self._identity.backend


def _owner(marks: Mapping[str, str]) -> str:
    if labels.STACK in marks:
        owner = Identity.of(marks)
        return f"belongs to environment {owner.stack!r} of {owner.owner or 'an unknown owner'}"
    if _COMPOSE in marks:
        return f"belongs to Compose project {marks[_COMPOSE]!r}"
    return "has no label of ephemera"
