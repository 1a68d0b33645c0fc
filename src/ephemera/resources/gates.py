"""Gates: a service's outputs resolve only when it is ready, and a service that exits fails its gate at once.

One :class:`Gatekeeper` per environment listens to the engine's events (die, oom) and runs a probe for every gate, each
in a thread of its own. When one gate fails all others end, so that nobody sits out a deadline for a lost environment.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pulumi
from docker import DockerClient
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from ephemera.contract import labels, progress
from ephemera.contract.errors import ServiceFailedError
from ephemera.contract.redaction import Redactor
from ephemera.host.probes import Probe, Target

_MAX_GATES = 64
_TAIL_LINES = 20
_NEWS_INTERVAL_SECONDS = 0.5
_EXEC_SECONDS = 1.0
_EXEC_POLL_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class Gate:
    """When a service counts as ready. ``timeout_seconds``: from its container's start, on a monotonic clock."""

    probe: Probe
    timeout_seconds: float = 60.0


class GateError(ServiceFailedError, pulumi.RunError):
    """A gate failed. Pulumi prints a RunError's message alone, without a traceback."""


@dataclass
class _Life:
    """What the engine said of one container."""

    exit_code: int | None = None
    out_of_memory: bool = False


class Gatekeeper:
    """Waits for the services of one environment."""

    def __init__(self, client: DockerClient, stack: str, secrets: Callable[[], Sequence[str]]) -> None:
        self._client = client
        self._stack = stack
        self._secrets = secrets
        self._changed = threading.Condition()
        self._lives: dict[str, _Life] = {}
        self._lost = ""
        self._pool = ThreadPoolExecutor(_MAX_GATES, thread_name_prefix="gate")
        # Daemon: a blocked read of the event stream must not keep the program alive.
        threading.Thread(target=self._listen, name="engine-events", daemon=True).start()

    async def passed(self, service: str, container: str, gate: Gate, host: str | None, port: int | None) -> None:
        """Return when ``service`` in ``container`` (id) is ready; raise :class:`GateError` when it will not be."""
        loop = asyncio.get_running_loop()
        with self.in_sight(service, container):
            await loop.run_in_executor(self._pool, self._wait, service, container, gate, host, port)

    @contextmanager
    def in_sight(self, service: str, container: str) -> Iterator[None]:
        """Around what is asked of the engine: one that does not answer any more fails the service's gate."""
        try:
            yield
        except (DockerException, RequestException) as error:
            cause = f"is out of sight, since the Docker engine does not answer any more ({error})"
            raise self._failed(service, container, cause, None) from None

    def _wait(self, service: str, container: str, gate: Gate, host: str | None, port: int | None) -> None:
        started = time.monotonic()
        news = started
        progress.emit({"type": "gate", "service": service, "state": "waiting", "seconds": 0.0, "detail": ""})
        life = self._life(service, container)
        execute = _Executor(self._client, container)
        while True:
            target = Target(host=host, port=port, execute=execute, exit_code=life.exit_code)
            if (life.exit_code is None or gate.probe.finishes) and gate.probe.ready(target):
                break
            # The verdict on an exit comes after the probe: a one-shot that ended well is ready.
            if life.exit_code is not None and not (gate.probe.finishes and life.exit_code == 0):
                raise self._failed(service, container, _cause_of_death(life, gate), life.exit_code)
            elapsed = time.monotonic() - started
            if self._lost:
                raise GateError(service, f"was given up after {elapsed:.1f} s, because service {self._lost!r} failed")
            if elapsed > gate.timeout_seconds:
                cause = f"was not ready within {gate.timeout_seconds:g} s ({type(gate.probe).__name__})"
                raise self._failed(service, container, cause, None)
            if time.monotonic() - news > _NEWS_INTERVAL_SECONDS:
                news = time.monotonic()
                life = self._life(service, container)  # should an event have been lost
                self._tell(service, "waiting", started, "".join(self._tail(container, 1)))
            with self._changed:
                # Never longer than that: what happened since the look above woke nobody.
                self._changed.wait(min(gate.probe.interval_seconds, _NEWS_INTERVAL_SECONDS))
        self._tell(service, "ready", started, "")

    def _tell(self, service: str, state: str, started: float, detail: str) -> None:
        seconds = round(time.monotonic() - started, 3)
        progress.emit({"type": "gate", "service": service, "state": state, "seconds": seconds, "detail": detail})

    def _life(self, service: str, container: str) -> _Life:
        with self._changed:
            life = self._lives.setdefault(container, _Life())
        # It may have ended before anybody listened.
        try:
            state = self._client.api.inspect_container(container)["State"]
        except NotFound:
            raise self._failed(service, container, "is gone: somebody removed its container", None) from None
        if not state["Running"] and state["Status"] in ("exited", "dead"):
            life.exit_code, life.out_of_memory = state["ExitCode"], state["OOMKilled"]
        return life

    def _failed(self, service: str, container: str, cause: str, exit_code: int | None) -> GateError:
        with self._changed:
            first = not self._lost
            self._lost = self._lost or service
            self._changed.notify_all()
        error = GateError(service, cause, container_exit_code=exit_code, log_tail=self._tail(container, _TAIL_LINES))
        if first:
            progress.emit({"type": "failed", "error": error.document()["error"]})
        return error

    def _tail(self, container: str, lines: int) -> list[str]:
        try:
            text = self._client.api.logs(container, tail=lines).decode(errors="replace")
        except (DockerException, RequestException):
            return []
        redactor = Redactor()
        redactor.learn(self._secrets())
        return redactor.text(text).splitlines()

    def _listen(self) -> None:
        filters = {"type": "container", "label": f"{labels.STACK}={self._stack}", "event": ["die", "oom", "start"]}
        try:
            for event in self._client.api.events(filters=filters, decode=True):
                self._heard(event)
        except (APIError, DockerException, OSError) as error:
            progress.emit({"type": "notice", "message": f"the engine's events ended: {error}"})

    def _heard(self, event: dict[str, Any]) -> None:
        attributes = event["Actor"]["Attributes"]
        with self._changed:
            life = self._lives.setdefault(event["Actor"]["ID"], _Life())
            if event["Action"] == "oom":
                life.out_of_memory = True
            elif event["Action"] == "die":
                life.exit_code = int(attributes.get("exitCode", -1))
            else:
                life.exit_code, life.out_of_memory = None, False
            self._changed.notify_all()


class _Executor:
    """Runs a command in the container; a container that is not up yet counts as a failed command.

    So does, for now, a command that takes longer than a second: the gate must look at its own deadline and at the
    container meanwhile. Asked again, it goes on waiting for that one instead of starting another beside it.
    """

    def __init__(self, client: DockerClient, container: str) -> None:
        self._client = client
        self._container = container
        self._running: str | None = None

    def __call__(self, command: Sequence[str]) -> int:
        try:
            if self._running is None:
                execution = self._client.api.exec_create(self._container, list(command))["Id"]
                # Detached: the command's output is not wanted, and reading it would wait for its end.
                self._client.api.exec_start(execution, detach=True)
                self._running = execution
            exit_code = self._wait(self._running)
        except (NotFound, APIError):
            self._running = None
            return -1
        if exit_code is None:
            return -1
        self._running = None
        return exit_code

    def _wait(self, execution: str) -> int | None:
        """Its exit code; None when it still runs after a second."""
        deadline = time.monotonic() + _EXEC_SECONDS
        while True:
            state = self._client.api.exec_inspect(execution)
            if not state["Running"] and state["ExitCode"] is not None:
                return int(state["ExitCode"])
            if time.monotonic() > deadline:
                return None
            time.sleep(_EXEC_POLL_SECONDS)


def _cause_of_death(life: _Life, gate: Gate) -> str:
    ended = "did not end well" if gate.probe.finishes else "exited before it was ready"
    reason = "was killed for lack of memory" if life.out_of_memory else ended
    return f"{reason} (exit code {life.exit_code})"
