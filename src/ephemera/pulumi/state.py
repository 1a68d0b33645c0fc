"""The resources in a stack's state, read from the file backend without the engine. Secrets in it stay encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ephemera.host.files import text_of
from ephemera.model.errors import EngineError
from ephemera.model.outputs import EXPORT
from ephemera.pulumi.workspace import Workspace

Resource = dict[str, Any]

CONTAINER = "docker:index/container:Container"
IMAGE = "docker:index/remoteImage:RemoteImage"
NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"
PROVIDER = "pulumi:providers:docker"
ENVIRONMENT = "ephemera:index:Environment"
"""Types of resources, as the state names them."""
_STACK = "pulumi:pulumi:Stack"
_LABELLED = ("pulumi:", "docker:")
# How Pulumi marks an encrypted value (sdk/go/common/resource/sig).
_MARK, _SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
_KINDS = {"inputs": dict, "outputs": dict, "dependencies": list, "parent": str, "provider": str, "id": str}


class StateError(EngineError):
    """A stack's state cannot be read; its objects on the Docker engine are found by their labels."""

    kind = "state"


def resources(workspace: Workspace, stack: str) -> list[Resource]:
    """Return every resource of the stack, as the engine wrote it; an empty list without state.

    Raises :class:`StateError` unless the file holds a state.
    """
    path = workspace.state_file(stack)
    with reading(workspace, stack):
        try:
            return _resources(json.loads(text_of(path)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ValueError(error.strerror) from error


def has_foreign_resources(workspace: Workspace, stack: str) -> bool:
    """Return whether the stack's state names resources that carry no label of ours."""
    found = resources(workspace, stack)
    return any(resource.get("custom") and not resource["type"].startswith(_LABELLED) for resource in found)


@contextmanager
def reading(workspace: Workspace, stack: str) -> Iterator[None]:
    """Raise :class:`StateError` for errors of a block that takes the state for well-formed."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StateError(
            f"the state of {stack} cannot be read ({type(error).__name__} in {workspace.state_file(stack)})",
            remedy=f"put the file back from a copy; or run `ephemera down {stack}`, which finds its objects by label",
        ) from error


def _resources(document: Any) -> list[Resource]:
    # An engine that was killed early has written no more than an empty object.
    checkpoint = document.get("checkpoint") or {}
    found: list[Resource] = (checkpoint.get("latest") or {}).get("resources") or []
    for resource in found:
        if not isinstance(resource["type"], str) or not isinstance(resource.get("urn", ""), str):
            raise TypeError("a resource has no type")
        for name, kind in _KINDS.items():
            if not isinstance(resource.get(name) or kind(), kind):
                raise TypeError(f"{name} of a resource is not a {kind.__name__}")
    return found


def engine(found: list[Resource]) -> str:
    """Return the id of the Docker engine that the environment is on; empty where the state does not tell."""
    for resource in found:
        if resource["type"] == ENVIRONMENT:
            identifier = (resource.get("outputs") or {}).get("docker")
            return identifier if isinstance(identifier, str) else ""
    return ""


def outputs(found: list[Resource]) -> Any:
    """Return the stack's outputs document, with its secrets encrypted; None where there is none."""
    return next((resource.get("outputs") or {} for resource in found if resource["type"] == _STACK), {}).get(EXPORT)


def is_encrypted(value: Any) -> bool:
    """Return whether that value is encrypted."""
    return isinstance(value, dict) and value.get(_MARK) == _SECRET


def dependencies(found: list[Resource]) -> dict[str, list[str]]:
    """Return, by URN, the URNs of the resources that are made before it: dependencies, parent, provider."""
    return {
        resource["urn"]: [
            *resource.get("dependencies", ()),
            *([resource["parent"]] if "parent" in resource else ()),
            # A provider is referred to by its URN and its id.
            *([resource["provider"].rpartition("::")[0]] if resource.get("provider") else ()),
        ]
        for resource in found
    }


def one_shots(found: list[Resource]) -> set[str]:
    """Return the ids of containers that end by themselves."""
    return {
        resource["id"]
        for resource in found
        if resource["type"] == CONTAINER and resource.get("inputs", {}).get("mustRun") is False and "id" in resource
    }
