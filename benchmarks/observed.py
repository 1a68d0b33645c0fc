"""What is really there: a tool that says "ready" or "gone" is believed when the engine and the services agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.tools import Environment, Tool
from ephemera.host.probes import Target, from_description

if TYPE_CHECKING:
    from docker import DockerClient

_PATIENCE_SECONDS = 20.0
_INTERVAL_SECONDS = 0.005


class NotSoError(Exception):
    """A tool said that something was so, and it was not, nor soon after."""


class Observer:
    """Looks at the engine."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client

    def until_ready(self, tool: Tool, environments: Sequence[Environment]) -> float:
        """Seconds until every service of every environment answers; 0 when all do at once."""
        return _waited(lambda: self._not_ready(tool, environments))

    def until_gone(self, tool: Tool, environments: Sequence[Environment]) -> float:
        """Seconds until nothing of them is there; 0 when nothing is."""
        return _waited(lambda: [each for environment in environments for each in self.there(tool.label(environment))])

    def there(self, label: str) -> list[str]:
        """All objects with the label, ``key`` or ``key=value``."""
        filters, api = {"label": label}, self._client.api
        return [
            *(f"container {item['Names'][0].lstrip('/')}" for item in api.containers(all=True, filters=filters)),
            *(f"volume {item['Name']}" for item in api.volumes(filters=filters)["Volumes"] or ()),
            *(f"network {item['Name']}" for item in api.networks(filters=filters)),
        ]

    def sweep(self, label: str) -> None:
        """Remove all objects with the label."""
        filters, api = {"label": label}, self._client.api
        for item in api.containers(all=True, filters=filters):
            api.remove_container(item["Id"], force=True, v=True)
        for item in api.volumes(filters=filters)["Volumes"] or ():
            api.remove_volume(item["Name"], force=True)
        for item in api.networks(filters=filters):
            api.remove_network(item["Id"])

    def _not_ready(self, tool: Tool, environments: Sequence[Environment]) -> list[str]:
        missing = []
        for environment in environments:
            listed = self._client.api.containers(filters={"label": tool.label(environment)})
            running = {item["Labels"].get(tool.service_label): item for item in listed}
            for service in environment.services:
                if not _answers(service.readiness, service.ports, running.get(service.name)):
                    missing.append(f"{service.name} of {environment.name}")
        return missing


def _answers(readiness: Any, ports: Sequence[int], container: Any) -> bool:
    if container is None:
        return False
    published = {port["PrivatePort"]: port for port in container["Ports"] if port.get("PublicPort")}
    binding = published.get(ports[0])
    if binding is None:
        return False
    target = Target(host=binding["IP"], port=binding["PublicPort"], execute=lambda _: 1, exit_code=None)
    return from_description(readiness).ready(target)


def _waited(problems: Callable[[], Sequence[str]]) -> float:
    started = time.monotonic()
    waited = 0.0
    while found := problems():
        if waited > _PATIENCE_SECONDS:
            raise NotSoError(f"it said that it was done, and after {_PATIENCE_SECONDS:g} s more: {', '.join(found)}")
        time.sleep(_INTERVAL_SECONDS)
        waited = time.monotonic() - started
    return waited
