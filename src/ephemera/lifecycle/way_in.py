"""How to get into an environment that was kept for inspection: its endpoints, and the commands that reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ephemera.docker import services
from ephemera.docker.connection import connected
from ephemera.lifecycle import finding
from ephemera.model import labels
from ephemera.model.errors import EngineError
from ephemera.pulumi.workspace import Workspace


def way_into(workspace: Workspace, stack: str) -> list[str]:
    """Return lines to print of a stack: its endpoints, then commands, each ready to be copied."""
    try:
        outputs = finding.outputs(workspace, stack)
    except EngineError:  # it never became ready
        with connected() as client:
            published = {
                item["Labels"].get(labels.SERVICE, ""): [
                    f"{port['IP']}:{port['PublicPort']}" for port in item["Ports"] if port.get("PublicPort")
                ]
                for item in services.containers(client, stack)
            }
        return way_in(stack, published, ready=False)
    urls = {
        name: [endpoint.url for endpoint in service.endpoints.values() if endpoint.url]
        for name, service in outputs.services.items()
    }
    return way_in(stack, urls, ready=True)


def way_in(stack: str, addresses: Mapping[str, Sequence[str]], *, ready: bool) -> list[str]:
    """Return the same of what is known already: the addresses of each service. ``ready``: whether it has outputs."""
    width = max(map(len, addresses), default=0)
    lines = [f"{stack} is kept for inspection:"]
    for name, urls in sorted(addresses.items()):
        lines.append(f"  {name:<{width}}  {'  '.join(urls) or 'nothing published'}")
    commands = [
        (f"ephemera status {stack}", "state and health of every service"),
        (f"ephemera logs --stack {stack}", "all logs by time; name a service for its own"),
        *((f"ephemera shell --stack {stack} {name}", "a shell in its container") for name in sorted(addresses)[:1]),
        *(
            [(f"ephemera outputs {stack} --format env --show-secrets", "endpoints and credentials, for `eval`")]
            if ready
            else []
        ),
        (f"ephemera down {stack}", "when you are done"),
    ]
    width = max(len(command) for command, _ in commands)
    return [*lines, *(f"  {command:<{width}}  {purpose}" for command, purpose in commands)]
