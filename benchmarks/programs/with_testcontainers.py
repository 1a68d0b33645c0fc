"""``python with_testcontainers.py FILE``: brings up what FILE describes, says ``ready``, takes it down when input ends.

Runs where testcontainers is installed, and nothing of ours.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import ExecWaitStrategy, HttpWaitStrategy


def main(file: str) -> None:
    """One after the other, as its users do, each waited for with the strategy that its modules use."""
    wanted = json.loads(Path(file).read_text())
    mark = {wanted["environment_label"]: wanted["name"]}
    with ExitStack() as held:
        network = held.enter_context(Network(docker_network_kw={"labels": mark}))
        for service in wanted["services"]:
            marks = {**mark, wanted["service_label"]: service["name"]}
            held.enter_context(_container(service, network, marks))
        print("ready", flush=True)
        sys.stdin.read()


def _container(service: dict[str, Any], network: Network, marks: dict[str, str]) -> DockerContainer:
    container = DockerContainer(
        service["image"],
        env=dict(service["variables"]),
        ports=service["ports"],
        network=network,
        network_aliases=[service["name"]],
        _wait_strategy=_strategy(service),
        labels=marks,
        hostname=service["name"],
        user=service["user"],
        init=True,
        read_only=service["read_only"],
        cap_drop=["ALL"],
        cap_add=service["capabilities"],
        security_opt=["no-new-privileges"],
        mem_limit=service["memory"],
        memswap_limit=service["memory"],
        nano_cpus=service["nano_cpus"],
        pids_limit=service["pids"],
        healthcheck=_healthcheck(service["health"]),
    )
    container.with_command(service["command"])
    container.tmpfs = dict(service["tmpfs"])
    # The image's own volume stands for the named one; it goes with the container.
    return container


def _strategy(service: dict[str, Any]) -> ExecWaitStrategy | HttpWaitStrategy:
    readiness = service["readiness"]
    if readiness["type"] == "http":
        return HttpWaitStrategy(service["ports"][0], readiness["path"]).for_status_code(readiness["status"])
    return ExecWaitStrategy(service["health"]["command"])


def _healthcheck(health: dict[str, Any]) -> dict[str, Any]:
    return {
        "test": ["CMD", *health["command"]],
        "interval": round(health["interval"] * 1e9),
        "timeout": round(health["timeout"] * 1e9),
        "start_period": round(health["start_period"] * 1e9),
        "retries": health["retries"],
    }


if __name__ == "__main__":
    main(sys.argv[1])
