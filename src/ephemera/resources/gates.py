"""Gates: a service's outputs resolve when it is ready, and a service that exits fails its gate at once.

One :class:`Gatekeeper` per environment listens to Docker's events (die, oom, start), and waits at every gate in a
thread of its own. Each call of a probe runs in another thread, so a gate ends at its deadline whatever the probe does.
When one gate fails, all others end.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pulumi
from docker import DockerClient
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import HTTPError, RequestException

from ephemera.docker import logs
from ephemera.docker.connection import said
from ephemera.host.deadline import begin, within
from ephemera.host.probes import Probe, Target
from ephemera.model import labels, progress
from ephemera.model.errors import ServiceFailedError
from ephemera.model.redaction import Redactor

_TAIL_LINES = 20
_NEWS_INTERVAL_SECONDS = 0.5
# Time for a gate's own thread to report its deadline, before the Docker engine is taken to hang.
_GRACE_SECONDS = 2.0
_TAIL_SECONDS = 2.0
# Calls of a hanging probe that may be open at once.
_MOST_OPEN = 16
_EXEC_POLL_SECONDS = 0.01
_EXEC_LONGEST_POLL_SECONDS = 0.5
_REMEDY_GONE = "bring back what is missing with `ephemera up`, or with `pulumi up --refresh`"

_T = TypeVar("_T")


class GateError(ServiceFailedError, pulumi.RunError):
    """A gate failed. Pulumi prints a RunError's message alone, without a traceback."""


@dataclass
class _Life:
    """The state of one container. ``exit_code``: None while it runs."""

    exit_code: int | None = None
    out_of_memory: bool = False


class Gatekeeper:
    """Waits for the services of one environment. ``secrets``: returns texts to redact from log lines."""

    def __init__(self, client: DockerClient, stack: str, secrets: Callable[[], Sequence[str]]) -> None:
        self._client = client
        self._stack = stack
        self._secrets = secrets
        self._changed = threading.Condition()
        self._lives: dict[str, _Life] = {}
        self._failing = False
        self._lost = ""
        # Daemon: a blocked read of the event stream must not keep the program alive.
        threading.Thread(target=self._listen, name="engine-events", daemon=True).start()

    async def passed(
        self, service: str, container: str, probe: Probe, *, timeout_seconds: float, asked: tuple[str, int] | None
    ) -> None:
        """Return when ``service`` in ``container`` (id) is ready; raise :class:`GateError` as soon as it cannot become
        ready, at the latest after ``timeout_seconds``.

        ``asked``: host and port that a probe from outside connects to; None if nothing is published.
        """
        over = threading.Event()
        with self.in_sight(service, container):
            host, port = asked or (None, None)
            execute = partial(_execute, self._client, container, over)
            target = Target(host=host, port=port, execute=execute, exit_code=None)
            asking = _Asking(probe, target, self._notify)
            waiting = beside(lambda: self._wait(service, container, asking, timeout_seconds), f"gate {service}")
            try:
                # The thread itself sees no deadline while it waits for an answer of Docker's.
                await asyncio.wait_for(waiting, timeout_seconds + _GRACE_SECONDS)
            except TimeoutError:
                cause = f"was not ready within {timeout_seconds:g} s, and the Docker engine hangs"
                raise self._failed(service, container, cause, None, tail=False) from None
            finally:
                over.set()

    @contextmanager
    def in_sight(self, service: str, container: str) -> Iterator[None]:
        """Fail the service's gate for whatever Docker rejects within the block, and if it stops answering."""
        try:
            yield
        except NotFound:
            cause = "is gone: its container was removed"
            raise self._failed(service, container, cause, None, tail=False, remedy=_REMEDY_GONE) from None
        except HTTPError as error:  # as docker's APIError is
            cause = f"failed: the Docker engine says {said(error)!r}"
            raise self._failed(service, container, cause, None) from None
        except (DockerException, RequestException) as error:
            cause = f"cannot be watched: the Docker engine has stopped answering ({error})"
            raise self._failed(service, container, cause, None) from None

    def _wait(self, service: str, container: str, asking: _Asking, timeout_seconds: float) -> None:
        started = news = time.monotonic()
        progress.emit({"type": "gate", "service": service, "state": "waiting", "seconds": 0.0, "detail": ""})
        life = self._life(container)
        finishes = asking.probe.finishes
        while True:
            # After an exit, another process might answer at the service's address.
            due = asking.ask() if life.exit_code is None else math.inf
            self._pause(asking, life, min(due, news + _NEWS_INTERVAL_SECONDS, started + timeout_seconds))
            if asking.answered_yes() or (finishes and life.exit_code == 0):
                break
            if life.exit_code is not None:
                raise self._failed(service, container, _cause_of_death(life, finishes), life.exit_code)
            now = time.monotonic()
            if self._lost:
                cause = f"was given up after {now - started:.1f} s, because service {self._lost!r} failed"
                raise GateError(service, cause)
            if now - started >= timeout_seconds:
                cause = f"was not ready within {timeout_seconds:g} s ({asking.in_words()})"
                raise self._failed(service, container, cause, None)
            if now - news >= _NEWS_INTERVAL_SECONDS:
                news = now
                life = self._life(container)  # in case an event was lost
                self._tell(service, "waiting", started, "".join(self._tail(container, 1)))
        self._tell(service, "ready", started, "")

    def _pause(self, asking: _Asking, life: _Life, until: float) -> None:
        """Return when something has changed, or at the time ``until``."""
        with self._changed:
            self._changed.wait_for(
                lambda: bool(self._lost) or life.exit_code is not None or asking.answered(),
                max(until - time.monotonic(), 0.0),
            )

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _tell(self, service: str, state: str, started: float, detail: str) -> None:
        seconds = round(time.monotonic() - started, 3)
        progress.emit({"type": "gate", "service": service, "state": state, "seconds": seconds, "detail": detail})

    def _life(self, container: str) -> _Life:
        with self._changed:
            life = self._lives.setdefault(container, _Life())
        # It may have ended before its events were heard.
        state = self._client.api.inspect_container(container)["State"]
        if not state["Running"] and state["Status"] in ("exited", "dead"):
            life.exit_code, life.out_of_memory = state["ExitCode"], state["OOMKilled"]
        return life

    def _failed(
        self,
        service: str,
        container: str,
        cause: str,
        exit_code: int | None,
        *,
        tail: bool = True,
        remedy: str = ServiceFailedError.REMEDY,
    ) -> GateError:
        with self._changed:
            first, self._failing = not self._failing, True
        lines = self._tail(container, _TAIL_LINES) if tail else []
        error = GateError(service, cause, container_exit_code=exit_code, log_tail=lines, remedy=remedy)
        # The program ends with the first gate that raises, and its process with it: the one that is to blame is told of
        # before any other raises.
        with self._changed:
            if first:
                progress.emit({"type": "failed", "error": error.document()["error"]})
                self._lost = service
                self._changed.notify_all()
            else:
                self._changed.wait_for(lambda: bool(self._lost), _TAIL_SECONDS)
        return error

    def _tail(self, container: str, lines: int) -> list[str]:
        def read() -> tuple[list[logs.LogLine], dict[str, Any]]:
            found = list(logs.read(self._client, container, tail=lines))
            return found, self._client.api.inspect_container(container)

        try:
            found, document = within(_TAIL_SECONDS, read, "tail")
        except (DockerException, RequestException, TimeoutError):
            return []
        redactor = Redactor()
        redactor.learn_container(document)
        redactor.learn_secrets(self._secrets())
        return [redactor.text(line.text) for line in found]

    def _listen(self) -> None:
        filters = {"type": "container", "label": f"{labels.STACK}={self._stack}", "event": ["die", "oom", "start"]}
        try:
            for event in self._client.api.events(filters=filters, decode=True):
                self._heard(event)
        except (APIError, DockerException, OSError) as error:
            progress.emit({"type": "notice", "message": f"Docker's events ended: {error}"})

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


class _Asking:
    """Calls of a probe, one after the other.

    A call that takes longer than the probe's time limit is left open, and the next one is made. Its late answer counts:
    a command that always takes longer is only slow.
    """

    def __init__(self, probe: Probe, target: Target, notify: Callable[[], None]) -> None:
        self.probe = probe
        self._target = target
        self._notify = notify
        self._open: list[Future[bool]] = []
        self._due = time.monotonic()

    def ask(self) -> float:
        """Call the probe if it is time, which never comes for one that finishes; return when to call it next, on the
        monotonic clock."""
        if self.probe.finishes:
            return math.inf
        if time.monotonic() >= self._due and len(self._open) < _MOST_OPEN:
            self._due = time.monotonic() + self.probe.timeout_seconds
            question = begin(lambda: self.probe.ready(self._target), "probe")
            self._open.append(question)
            question.add_done_callback(lambda _: self._notify())
        return self._due if len(self._open) < _MOST_OPEN else math.inf

    def answered(self) -> bool:
        """Return whether a call has ended."""
        return any(question.done() for question in self._open)

    def answered_yes(self) -> bool:
        """Return whether a call that has ended answered yes; raise what the probe raised."""
        answered = [question for question in self._open if question.done()]
        self._open = [question for question in self._open if question not in answered]
        if answered:
            self._due = time.monotonic() + self.probe.interval_seconds
        return any(question.result() for question in answered)

    def in_words(self) -> str:
        """Return the probe's name, and whether it answers at all."""
        overdue = len(self._open) - (time.monotonic() < self._due)
        silent = f", without an answer within {self.probe.timeout_seconds:g} s" if overdue > 0 else ""
        return f"{type(self.probe).__name__}{silent}"


def _execute(client: DockerClient, container: str, over: threading.Event, command: Sequence[str]) -> int:
    """Run a command in the container and return its exit code; -1 if the container is not up, or when the gate is
    ``over``, which leaves the command running."""
    try:
        execution = client.api.exec_create(container, list(command))["Id"]
        # Detached: reading the command's output would wait for its end.
        client.api.exec_start(execution, detach=True)
        pause = _EXEC_POLL_SECONDS
        while not over.wait(pause):
            state = client.api.exec_inspect(execution)
            if not state["Running"] and state["ExitCode"] is not None:
                return int(state["ExitCode"])
            pause = min(pause * 1.2, _EXEC_LONGEST_POLL_SECONDS)
    except APIError:
        pass
    return -1


def beside(work: Callable[[], _T], name: str) -> asyncio.Future[_T]:
    """Run ``work`` in a daemon thread: those of the loop's own executor would keep the process alive at exit while
    Docker hangs."""
    return asyncio.wrap_future(begin(work, name))


def _cause_of_death(life: _Life, finishes: bool) -> str:
    ended = "did not end well" if finishes else "exited before it was ready"
    reason = "was killed for lack of memory" if life.out_of_memory else ended
    return f"{reason} (exit code {life.exit_code})"
