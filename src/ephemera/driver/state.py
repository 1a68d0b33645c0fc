"""What a stack's state says, read from the file backend without the engine. Secrets in it stay encrypted."""

from __future__ import annotations

import json
from typing import Any

from ephemera.contract.errors import EngineError
from ephemera.driver.workspace import Workspace

Resource = dict[str, Any]

CONTAINER = "docker:index/container:Container"
IMAGE = "docker:index/remoteImage:RemoteImage"
NETWORK = "docker:index/network:Network"
VOLUME = "docker:index/volume:Volume"
PROVIDER = "pulumi:providers:docker"
"""Types of resources, as the state names them."""


def resources(workspace: Workspace, stack: str) -> list[Resource]:
    """Every resource of the stack, as the engine wrote it down; none of one that has no state."""
    try:
        state: dict[str, Any] = json.loads(workspace.state_file(stack).read_text())
    except FileNotFoundError:
        return []
    except json.JSONDecodeError as error:
        raise EngineError(f"the state of {stack} cannot be read", remedy=str(error)) from error
    return (state.get("checkpoint", {}).get("latest") or {}).get("resources") or []


def dependencies(found: list[Resource]) -> dict[str, list[str]]:
    """URN → those of what it is made after: what it depends on, its parent, its provider."""
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
    """Ids of the containers that are to end."""
    return {
        resource["id"]
        for resource in found
        if resource["type"] == CONTAINER and resource.get("inputs", {}).get("mustRun") is False and "id" in resource
    }
