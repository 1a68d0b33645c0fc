"""The services of a running environment: status, logs, and ways to break them."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound

from ephemera.docker import logs, streams
from ephemera.docker.executing import Execution
from ephemera.home import identity
from ephemera.host import clock
from ephemera.host.deadline import turns, within
from ephemera.host.probes import Probe, Target, answers, from_description
from ephemera.model import labels
from ephemera.model.catalog import Manifest
from ephemera.model.errors import EphemeraError, NotReadyError, UnknownNameError
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs

_READY_INTERVAL_SECONDS = 0.05
_FILE_SECONDS = 30.0
# The least that one look may take, also when the time is nearly over.
_LOOK_SECONDS = 0.5
_STATE_SECONDS = 3.0
_THREADS = 16


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """``state``: as Docker says (``running``, ``exited`` …), ``missing`` without a container. ``health``: of Docker's
    own check. ``latency_ms``: of one answered probe, None without an answer. ``development``: whether its source folder
    is mounted. ``done``: whether it is a one-shot that has ended well. ``asked``: whether its probe decides; also for a
    service that never became ready, whose probe is unknown."""

    service: str
    state: str
    health: str
    required: bool
    latency_ms: float | None
    endpoint: str
    container: str
    development: bool = False
    done: bool = False
    asked: bool = False

    @property
    def up(self) -> bool:
        """Whether it runs, answers if its probe decides, and is not unhealthy by Docker's own check; or is done."""
        answers = self.latency_ms is not None or not self.asked
        return self.done or (self.state == "running" and self.health != "unhealthy" and answers)


class ServiceHandle:
    """One service of an environment: logs, exec, and what tests do to break it.

    ``container``: id of its container, where that is known; looked up for each command otherwise.
    """

    def __init__(
        self, client: DockerClient, stack: str, name: str, outputs: ServiceOutputs, container: str | None = None
    ) -> None:
        self.name = name
        self.outputs = outputs
        self.client = client
        self._stack = stack
        self._container = container

    @property
    def container(self) -> str:
        """Id of its container. Raises :class:`NotReadyError` if it is missing, :class:`UnknownNameError` if there is no
        such service."""
        if self._container is not None:
            return self._container
        found = containers(self.client, self._stack)
        for item in found:
            if item["Labels"].get(labels.SERVICE) == self.name:
                return str(item["Id"])
        if self.outputs.container:
            raise missing(self._stack, [self.name])
        raise UnknownNameError(
            f"service in {self._stack}", self.name, (item["Labels"].get(labels.SERVICE, "") for item in found)
        )

    @property
    def probe(self) -> Probe:
        """The probe that tells whether it is ready."""
        return from_description(self.outputs.readiness)

    def inspect(self) -> dict[str, Any]:
        """Return Docker's description of the container."""
        document: dict[str, Any] = self.client.api.inspect_container(self.container)
        return document

    def state(self) -> str:
        """Return ``running``, ``exited``, ``paused`` …"""
        return str(self.inspect()["State"]["Status"])

    def logs(self, *, since: datetime | None = None, tail: int | None = None, timestamps: bool = False) -> str:
        """Return its standard output and error: all, what came after ``since``, or the last ``tail`` lines.

        ``timestamps``: each line begins with its time, as RFC 3339 in UTC.
        """
        after = None if since is None else since.timestamp()
        found = logs.read(self.client, self.container, tail=tail, since=after)
        return "".join(f"{line.stamp} {line.text}\n" if timestamps else f"{line.text}\n" for line in found)

    def follow(self) -> Iterator[str]:
        """Yield its lines as they come, from now on, until the container ends."""
        for line in logs.read(self.client, self.container, tail=0, follow=True):
            yield f"{line.text}\n"

    def exec(
        self, command: Sequence[str], *, stdin: str | bytes | None = None, timeout_seconds: float | None = None
    ) -> tuple[int, str]:
        """Run ``command`` in the container; return its exit code, and its standard output and error.

        ``stdin``: what it reads. Raises :class:`EphemeraError` if it has not ended after ``timeout_seconds``; it may go
        on in the container. By default there is no limit.
        """
        exit_code, output, error = self._execute(command, stdin, timeout_seconds)
        return exit_code, (output + error).decode(errors="replace")

    @contextmanager
    def executing(
        self, command: Sequence[str], source: bytes | int | None, *, marked: bool = False
    ) -> Iterator[Execution]:
        """Start ``command`` in the container, and close its streams at the end; see :class:`Execution`."""
        with self._doing("run a command in"):
            execution = Execution(self.client, self.container, command, source, marked=marked)
        try:
            yield execution
        finally:
            execution.close()

    def read_file(self, path: str) -> bytes:
        """Return a small file of the container, also one in a tmpfs; needs ``cat`` in the image."""
        exit_code, content, error = self._execute(["cat", path], None, _FILE_SECONDS)
        if exit_code != 0:
            raise self._error(f"cannot read {path}", error.decode(errors="replace").strip())
        return content

    def write_file(self, path: str, content: str | bytes) -> None:
        """Write, or replace, a file as the container's user; needs ``tee`` in the image."""
        exit_code, _, error = self._execute(["tee", path], content, _FILE_SECONDS)
        if exit_code != 0:
            raise self._error(f"cannot write {path}", error.decode(errors="replace").strip())

    def restart(self, *, grace_seconds: int = 10) -> None:
        """Stop it, if it runs, and start it; its endpoints stay. Return when the container runs; :meth:`wait_ready`
        waits for its probe."""
        with self._doing("restart"):
            self.client.api.restart(self.container, timeout=grace_seconds)

    def kill(self, signal: str = "SIGKILL") -> None:
        """Send a signal to its first process; with SIGKILL, wait for its end."""
        with self._doing("kill"):
            self.client.api.kill(self.container, signal=signal)
            if signal == "SIGKILL":
                self.client.api.wait(self.container)

    def stop(self, *, grace_seconds: int = 10) -> None:
        """Send SIGTERM, then SIGKILL after ``grace_seconds``; do nothing if it has stopped."""
        with self._doing("stop"):
            self.client.api.stop(self.container, timeout=grace_seconds)

    def start(self) -> None:
        """Start it again; do nothing if it runs."""
        with self._doing("start"):
            self.client.api.start(self.container)

    def pause(self) -> None:
        """Freeze all its processes: it keeps its connections, and does not answer."""
        with self._doing("pause"):
            self.client.api.pause(self.container)

    def unpause(self) -> None:
        """Unfreeze them."""
        with self._doing("unpause"):
            self.client.api.unpause(self.container)

    def wait_exit(self, timeout_seconds: float = 60.0) -> int:
        """Wait for its end and return its exit code. Raises :class:`EphemeraError` after ``timeout_seconds``."""
        deadline = clock.monotonic() + timeout_seconds
        try:
            with self._doing("wait for"):
                return int(self.client.api.wait(self.container, timeout=timeout_seconds)["StatusCode"])
        except OSError as error:  # the client's time-out, or a connection that broke
            if clock.monotonic() < deadline:
                raise
            raise self._error(f"did not exit within {timeout_seconds:g} s", f"it is {self.state()}") from error

    def wait_ready(self, timeout_seconds: float = 60.0) -> None:
        """Return when its probe answers. Raises :class:`NotReadyError` after ``timeout_seconds``, and as soon as a
        one-shot has failed."""
        deadline = clock.monotonic() + timeout_seconds
        cause = f"was not ready within {timeout_seconds:g} s"
        for _ in turns(timeout_seconds, _READY_INTERVAL_SECONDS):
            with suppress(TimeoutError):  # neither probe nor engine answers
                left = max(deadline - clock.monotonic(), _LOOK_SECONDS)
                if within(left, self.ask, f"ready {self.name}") is not None:
                    return
                state = within(left, self.inspect, f"state {self.name}")["State"]
                if self.probe.finishes and not state["Running"] and state["ExitCode"] != 0:
                    cause = "did not end well"
                    break
        raise NotReadyError(
            f"service {self.name!r} of {self._stack} {cause}",
            remedy=f"it is {self._state_in_words()}; see `ephemera logs --stack {self._stack} {self.name}`",
        )

    def ask(self) -> float | None:
        """Ask its probe once; return the seconds until it said yes, or None."""
        state = self.inspect()["State"]
        started = clock.monotonic()
        ready = self.answers(None if state["Running"] else state["ExitCode"])
        return clock.monotonic() - started if ready else None

    def answers(self, exit_code: int | None) -> bool:
        """Return whether its probe says yes within the probe's time limit. ``exit_code``: of its container, None while
        it runs."""
        probe, endpoint = self.probe, self.outputs.asked
        target = Target(
            host=endpoint.host if endpoint else None,
            port=endpoint.port if endpoint else None,
            execute=lambda command: self._exit_code(command, probe.timeout_seconds),
            exit_code=exit_code,
        )
        return answers(probe, target)

    def _exit_code(self, command: Sequence[str], timeout_seconds: float) -> int:
        try:
            return self.exec(command, timeout_seconds=timeout_seconds)[0]
        except (EphemeraError, NotFound):
            return -1

    def _execute(
        self, command: Sequence[str], stdin: str | bytes | None, timeout_seconds: float | None
    ) -> tuple[int, bytes, bytes]:
        """Return exit code, standard output, standard error."""
        said = {streams.STDOUT: bytearray(), streams.STDERR: bytearray()}
        with self.executing(command, stdin.encode() if isinstance(stdin, str) else stdin) as execution:
            try:
                exit_code = execution.run(lambda kind, part: said[kind].extend(part), timeout_seconds)
            except TimeoutError:
                seconds = f"{timeout_seconds:g} s"
                raise self._error(f"did not end `{' '.join(command)}` within {seconds}", "it may go on there") from None
        return exit_code, bytes(said[streams.STDOUT]), bytes(said[streams.STDERR]) + execution.refusal.encode()

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        """Raise :class:`NotReadyError` for Docker's refusal: what could not be done, and the container's state."""
        try:
            yield
        except (NotFound, APIError) as error:
            said = re.sub(r"\b[0-9a-f]{64}\b", self.outputs.container or self.name, str(error.explanation or error))
            raise NotReadyError(
                f"cannot {what} service {self.name!r} of {self._stack}: it is {self._state_in_words()}",
                remedy=said.strip(),
            ) from error

    def _state_in_words(self) -> str:
        try:
            state = within(_STATE_SECONDS, self.inspect, f"state {self.name}")["State"]
        except TimeoutError:
            return "out of sight, since the Docker engine hangs"
        except (NotFound, NotReadyError):
            return "gone"
        ended = f" with exit code {state['ExitCode']}" if state["Status"] == "exited" else ""
        return f"{state['Status']}{ended}"

    def _error(self, what: str, remedy: str) -> EphemeraError:
        return EphemeraError(f"service {self.name!r} of {self._stack} {what}", remedy=remedy)


def containers(client: DockerClient, stack: str) -> list[dict[str, Any]]:
    """Return the containers of the stack, ended ones too, as the engine lists them."""
    filters = labels.filters(identity.backend_id(), stack)
    found: list[dict[str, Any]] = client.api.containers(all=True, filters=filters)
    return found


def developed(items: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the services with a mounted source folder, of containers as the engine lists them."""
    marks = [item["Labels"] for item in items]
    return tuple(sorted(mark.get(labels.SERVICE, "") for mark in marks if labels.DEVELOPMENT in mark))


def is_done(item: Mapping[str, Any]) -> bool:
    """Return whether a container, as the engine lists it, is a one-shot that has ended well."""
    return labels.ONE_SHOT in item["Labels"] and str(item.get("Status", "")).startswith("Exited (0)")


def missing(stack: str, names: Sequence[str]) -> NotReadyError:
    """Return the error for services whose containers are missing."""
    one = len(names) == 1
    what = f"service {names[0]!r} of {stack} has no container" if one else ""
    return NotReadyError(
        what or f"services {', '.join(names)} of {stack} have no containers",
        remedy=f"bring {'it' if one else 'them'} back with `ephemera up`",
    )


def refuse_missing(found: Iterable[Mapping[str, Any]], outputs: EnvironmentOutputs, system: Manifest) -> None:
    """Raise :class:`NotReadyError` unless every service of the document has its container among ``found``.

    Optional services may be missing, and one-shots, which were done when the environment became ready.
    """
    there = {item["Labels"].get(labels.SERVICE) for item in found}
    optional = {name for name, service in system.services.items() if not service.required}
    names = [
        name
        for name, service in outputs.services.items()
        if name not in there | optional and not from_description(service.readiness).finishes
    ]
    if names:
        raise missing(outputs.stack, names)


def statuses(client: DockerClient, outputs: EnvironmentOutputs, required: dict[str, bool]) -> list[ServiceStatus]:
    """Return the status of every service of the document. ``required`` by service, true when absent; its order is the
    order."""
    found = {item["Labels"].get(labels.SERVICE): item for item in containers(client, outputs.stack)}
    declared = {name: position for position, name in enumerate(required)}
    names = sorted(outputs.services, key=lambda name: declared.get(name, len(declared)))

    def status(name: str) -> ServiceStatus:
        service, item = outputs.services[name], found.get(name)
        known = ServiceStatus(
            service=name,
            state="missing",
            health="",
            required=required.get(name, True),
            latency_ms=None,
            endpoint=next((endpoint.url for endpoint in service.endpoints.values() if endpoint.url), "") or "",
            container=service.container,
            development=item is not None and labels.DEVELOPMENT in item["Labels"],
            done=item is not None and is_done(item),
            asked=_is_to_be_asked(service),
        )
        if item is None:
            return known
        handle = ServiceHandle(client, outputs.stack, name, service, item["Id"])
        try:
            state = handle.inspect()["State"]
            seconds = handle.ask() if state["Running"] and known.asked else None
        except (NotFound, NotReadyError):  # removed meanwhile
            return known
        health = (state.get("Health") or {}).get("Status", "")
        latency = None if seconds is None else round(seconds * 1000, 1)
        return replace(known, state=state["Status"], health=health, latency_ms=latency)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(status, names))


def log_lines(
    client: DockerClient, stack: str, service: str | None, tail: int | None = None
) -> Iterator[tuple[str, logs.LogLine]]:
    """Yield the lines of one service, or of all by time, with the service; ``tail``: only the last ones of each."""
    found = [
        _named(name, logs.read(client, item["Id"], tail=tail))
        for item in containers(client, stack)
        if service in (None, name := item["Labels"].get(labels.SERVICE, item["Names"][0]))
    ]
    # Merged as they are read: the engine keeps 30 MB of each container's.
    return heapq.merge(*found, key=lambda pair: pair[1].time)


def _named(service: str, found: Iterable[logs.LogLine]) -> Iterator[tuple[str, logs.LogLine]]:
    with suppress(NotFound):  # it was removed since it was listed
        yield from ((service, line) for line in found)


def _is_to_be_asked(service: ServiceOutputs) -> bool:
    if not service.readiness:  # it has never become ready
        return True
    probe = from_description(service.readiness)
    return not probe.finishes and (service.asked is not None or not probe.from_outside)
