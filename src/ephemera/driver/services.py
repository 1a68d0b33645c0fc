"""The services of a running environment: their state, their logs, and what can be done to them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound

from ephemera.contract import labels
from ephemera.contract.errors import EngineError, NotReadyError, UnknownNameError
from ephemera.contract.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.home import identity
from ephemera.host.probes import Target, from_description

_READY_INTERVAL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """``state``: as Docker says (``running``, ``exited`` …), ``missing`` when there is no container. ``health``: of
    Docker's own check. ``latency_ms``: of one answered probe, None when it did not answer or publishes nothing."""

    service: str
    state: str
    health: str
    required: bool
    latency_ms: float | None
    endpoint: str
    container: str

    @property
    def up(self) -> bool:
        """Whether it runs and, where it can be asked, answers."""
        return self.state == "running" and (self.latency_ms is not None or not self.endpoint)


class ServiceHandle:
    """One service of an environment: logs, exec, and what tests do to break it."""

    def __init__(self, client: DockerClient, stack: str, name: str, outputs: ServiceOutputs) -> None:
        self.name = name
        self.outputs = outputs
        self._client = client
        self._stack = stack

    @property
    def container(self) -> str:
        """Id of its container; raises :class:`UnknownNameError` when there is none."""
        for item in containers(self._client, self._stack):
            if item["Labels"].get(labels.SERVICE) == self.name:
                return str(item["Id"])
        known = (item["Labels"].get(labels.SERVICE, "") for item in containers(self._client, self._stack))
        raise UnknownNameError(f"service in {self._stack}", self.name, known)

    def inspect(self) -> dict[str, Any]:
        """Docker's description of the container."""
        document: dict[str, Any] = self._client.api.inspect_container(self.container)
        return document

    def state(self) -> str:
        """``running``, ``exited``, ``paused`` …"""
        return str(self.inspect()["State"]["Status"])

    def logs(self, *, tail: int | None = None, timestamps: bool = False) -> str:
        """Everything it wrote to standard output and error, or the last ``tail`` lines."""
        text = self._client.api.logs(self.container, tail=tail if tail is not None else "all", timestamps=timestamps)
        return str(text.decode(errors="replace"))

    def follow(self) -> Iterator[str]:
        """Its lines as they come, from now on, until the container ends."""
        for chunk in self._client.api.logs(self.container, stream=True, follow=True, tail=0):
            yield chunk.decode(errors="replace")

    def exec(self, command: Sequence[str]) -> tuple[int, str]:
        """Run ``command`` in the container: exit code, and standard output and error."""
        execution = self._client.api.exec_create(self.container, list(command))["Id"]
        output = self._client.api.exec_start(execution).decode(errors="replace")
        return int(self._client.api.exec_inspect(execution)["ExitCode"]), output

    def restart(self, *, grace_seconds: int = 10) -> None:
        """Stop and start it; its endpoints stay."""
        self._client.api.restart(self.container, timeout=grace_seconds)

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send a signal to its first process; with SIGKILL, return when it has ended."""
        self._client.api.kill(self.container, signal=signal)
        if signal == "SIGKILL":
            self._client.api.wait(self.container)

    def stop(self, *, grace_seconds: int = 10) -> None:
        """SIGTERM, then SIGKILL after ``grace_seconds``."""
        self._client.api.stop(self.container, timeout=grace_seconds)

    def start(self) -> None:
        """Start it again."""
        self._client.api.start(self.container)

    def pause(self) -> None:
        """Freeze all its processes."""
        self._client.api.pause(self.container)

    def unpause(self) -> None:
        """Let them go on."""
        self._client.api.unpause(self.container)

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return when its probe answers; raises :class:`NotReadyError` after ``timeout_seconds``."""
        deadline = time.monotonic() + timeout_seconds
        while self.ask() is None:
            if time.monotonic() > deadline:
                raise NotReadyError(
                    f"service {self.name!r} of {self._stack} was not ready within {timeout_seconds:g} s",
                    remedy=f"it is {self.state()}; see `ephemera logs --stack {self._stack} {self.name}`",
                )
            time.sleep(_READY_INTERVAL_SECONDS)

    def ask(self) -> float | None:
        """Put its probe's question once: seconds until the answer, or None."""
        probe = from_description(self.outputs.readiness)
        endpoint = next(iter(self.outputs.endpoints.values()), None)
        state = self.inspect()["State"]
        target = Target(
            host=endpoint.host if endpoint else None,
            port=endpoint.port if endpoint else None,
            execute=lambda command: self._exit_code(command),
            exit_code=None if state["Running"] else state["ExitCode"],
        )
        started = time.monotonic()
        return time.monotonic() - started if probe.ready(target) else None

    def _exit_code(self, command: Sequence[str]) -> int:
        try:
            return self.exec(command)[0]
        except (APIError, NotFound):
            return -1


def containers(client: DockerClient, stack: str) -> list[dict[str, Any]]:
    """Containers of the stack, ended ones too, as the engine lists them."""
    wanted = [f"{labels.STACK}={stack}", f"{labels.BACKEND}={identity.backend_id()}"]
    found: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": wanted})
    return found


def statuses(client: DockerClient, outputs: EnvironmentOutputs, required: dict[str, bool]) -> list[ServiceStatus]:
    """Status of every service of the document. ``required`` by service, true when absent; its order is the order."""
    present = {item["Labels"].get(labels.SERVICE) for item in containers(client, outputs.stack)}
    declared = {name: position for position, name in enumerate(required)}
    return [
        _status(ServiceHandle(client, outputs.stack, name, service), service, name in present, required.get(name, True))
        for name, service in sorted(outputs.services.items(), key=lambda item: declared.get(item[0], len(declared)))
    ]


def log_lines(client: DockerClient, stack: str, service: str | None) -> list[tuple[datetime, str, str]]:
    """``(time, service, line)`` of one service or of all, by time."""
    lines = []
    for item in containers(client, stack):
        name = item["Labels"].get(labels.SERVICE, item["Names"][0])
        if service is not None and name != service:
            continue
        text = client.api.logs(item["Id"], timestamps=True).decode(errors="replace")
        for line in text.splitlines():
            stamp, _, rest = line.partition(" ")
            lines.append((_time(stamp), name, rest))
    return sorted(lines, key=lambda line: line[0])


def _status(handle: ServiceHandle, service: ServiceOutputs, present: bool, required: bool) -> ServiceStatus:
    url = next((endpoint.url for endpoint in service.endpoints.values() if endpoint.url), "") or ""
    if not present:
        return ServiceStatus(
            service=handle.name,
            state="missing",
            health="",
            required=required,
            latency_ms=None,
            endpoint=url,
            container=service.container,
        )
    state = handle.inspect()["State"]
    seconds = handle.ask() if state["Running"] and url else None
    return ServiceStatus(
        service=handle.name,
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        required=required,
        latency_ms=round(seconds * 1000, 1) if seconds is not None else None,
        endpoint=url,
        container=service.container,
    )


def _time(stamp: str) -> datetime:
    try:
        return datetime.fromisoformat(stamp[:26].rstrip("Z") + "+00:00")
    except ValueError as error:
        raise EngineError(
            f"the engine's log line has no time: {stamp!r}", remedy="use a json-file log driver"
        ) from error
