"""How to get into an environment that was kept to be looked at: its endpoints, and the commands that reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ephemera.contract import labels
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.driver import lifecycle, services
from ephemera.driver.workspace import Workspace
from ephemera.host.engine import connected

_NOTHING_PUBLISHED = "nothing published"


def way_into(workspace: Workspace, stack: str) -> list[str]:
    """Lines to print of a stack, by its name: what it is, its endpoints, then the commands, each ready to be copied."""
    outputs = lifecycle.outputs_or_containers(workspace, stack)
    return way_in(outputs, {} if _became_ready(outputs) else _published(stack))


def way_in(outputs: EnvironmentOutputs, published: Mapping[str, Sequence[str]] = MappingProxyType({})) -> list[str]:
    """The same of what is known already. An environment that never became ready is given as its containers without
    endpoints, and with the addresses that the engine published, by service; commands that need outputs are left out.
    """
    stack = outputs.stack
    width = max((len(name) for name in outputs.services), default=0)
    lines = [f"{stack} is kept, to be looked at:"]
    for name, service in sorted(outputs.services.items()):
        urls = [endpoint.url for endpoint in service.endpoints.values() if endpoint.url]
        lines.append(f"  {name:<{width}}  {'  '.join(urls or published.get(name, ())) or _NOTHING_PUBLISHED}")
    commands = [
        (f"ephemera status {stack}", "state and health of every service"),
        (f"ephemera logs --stack {stack}", "all logs by time; name a service for its own"),
        *(
            (f"ephemera shell --stack {stack} {name}", "a shell in its container")
            for name in sorted(outputs.services)[:1]
        ),
    ]
    if _became_ready(outputs):
        commands.append(
            (f"ephemera outputs {stack} --format env --show-secrets", "endpoints and credentials, for `eval`")
        )
    commands.append((f"ephemera down {stack}", "when you are done"))
    width = max(len(command) for command, _ in commands)
    return [*lines, *(f"  {command:<{width}}  {purpose}" for command, purpose in commands)]


def _became_ready(outputs: EnvironmentOutputs) -> bool:
    """Whether these are outputs: of mere containers no probe is known."""
    return any(service.readiness for service in outputs.services.values())


def _published(stack: str) -> dict[str, list[str]]:
    with connected() as client:
        return {
            item["Labels"].get(labels.SERVICE, ""): [
                f"{port['IP']}:{port['PublicPort']}" for port in item["Ports"] if port.get("PublicPort")
            ]
            for item in services.containers(client, stack)
        }
