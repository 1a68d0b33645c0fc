"""Recordings: what happens to a stack while it is used, as JSON lines that evidence is made of afterwards.

``$XDG_STATE_HOME/ephemera/recordings/<stack>.jsonl``, mode 0600, one record a line, each with ``time`` (seconds since
the epoch) and ``type``:

``gate``: the program's event, with ``service``, ``state``, ``seconds``, ``detail``
``event``: Docker's, of a container: ``service``, ``action``, ``exit_code``, ``signal``, ``nanoseconds``
``usage``: ``services``: name → ``[bytes of memory, seconds of CPU since its start, processes]``
``test``: ``session`` (of pytest), ``nodeid``, ``start``, ``stop``, ``outcome``, ``phase``, ``text``
``session``: a use of the stack began: ``what``

Each user of a stack records it in threads; of several processes one does, and another takes over when that one ends.
Records of any process are appended in one write each. Recording never fails what it records: with Docker in trouble,
a full disk, or with what a test has replaced in its process, records are missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from docker import DockerClient

from ephemera.docker import services
from ephemera.docker.connection import connected
from ephemera.home import documents, identity, leases
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.files import text_of
from ephemera.model import labels
from ephemera.model.errors import EphemeraError
from ephemera.model.progress import Event

Record = dict[str, Any]

# Half of what a recording may hold: the older half is dropped when the newer is full.
_HALF_BYTES = 4 * 1024 * 1024
# Docker sends figures every second. A service that dies does so early: the first are all kept, then one of three.
_EARLY_FIGURES = 10
_FIGURES_APART = 3
_RETRY_SECONDS = 2.0
_NEWER, _OLDER, _LOCK, _PARTIAL = ".jsonl", ".older.jsonl", ".lock", ".partial"
# Each probe and health check is three exec_* events: they are not asked for.
_ACTIONS = ("create", "start", "restart", "die", "oom", "kill", "stop", "pause", "unpause", "health_status", "destroy")


@contextmanager
def of(stack: str, what: str) -> Iterator[None]:
    """Record ``stack`` while the block runs; ``what`` names the use: ``up``, ``tests``."""
    stop = start(stack, what)
    try:
        yield
    finally:
        stop()


def start(stack: str, what: str) -> Callable[[], None]:
    """Record ``stack`` until the function that is returned is called."""
    with suppress(OSError):
        _path(stack).parent.mkdir(exist_ok=True, mode=0o700)
        for suffix in (_NEWER, _LOCK):
            _path(stack, suffix).touch(mode=0o600)
    append(stack, "session", what=what)
    recorder = _Recorder(stack)

    def stop() -> None:
        recorder.stop()
        # Taking a stack down drops its recording; a process that has ended meanwhile must not leave a new one.
        with suppress(EphemeraError):
            if leases.read(stack) is None:
                forget(stack)

    return stop


def reporting(stack: str, report: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return ``report``, with the program's gates recorded as they come."""

    def recorded(event: Event) -> None:
        if event["type"] == "gate":
            append(stack, **event)
        elif event["type"] == "failed" and "service" in event["error"]:
            error = event["error"]
            append(stack, "gate", service=error["service"], state="failed", detail=error["cause"])
        report(event)

    return recorded


def append(stack: str, type: str, **fields: Any) -> None:
    """Add a record, from any process. It is dropped unless the stack is there and a use of it began."""
    # It begins with the line's end: what a killed writer left of the line before does not spoil this one.
    line = "\n" + json.dumps({"time": round(clock.now(), 3), "type": type, **fields})
    with suppress(OSError):
        descriptor = os.open(_path(stack), os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, line.encode())
            if os.fstat(descriptor).st_size > _HALF_BYTES:
                _drop_older(stack, descriptor)
        finally:
            os.close(descriptor)


def read(stack: str) -> list[Record]:
    """Return every record of the stack, by time."""
    records: list[Record] = []
    for suffix in (_OLDER, _NEWER):
        with suppress(OSError, UnicodeDecodeError):
            for line in text_of(_path(stack, suffix)).split("\n"):
                # Empty, or its writer was killed in the middle, or the disk full.
                with suppress(ValueError, TypeError, KeyError, RecursionError):
                    record = json.loads(line)
                    records.append({**record, "time": float(record["time"]), "type": str(record["type"])})
    return sorted(records, key=lambda record: float(record["time"]))


def missed_events(client: DockerClient, stack: str, records: list[Record]) -> list[Record]:
    """Return the events after the last one among ``records`` that Docker still knows of."""
    return [_record_of(event) for event in _events(client, stack, records, until=f"{clock.now():.9f}")]


def forget(stack: str) -> None:
    """Drop the stack's recording."""
    for suffix in (_NEWER, _OLDER, _LOCK, _PARTIAL):
        documents.remove(_path(stack, suffix))


class _Recorder:
    """Records Docker's events and the services' usage in threads, while it holds the lock of the stack's recording."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self._stopped = threading.Event()
        self._stream: Any = None
        self._thread(self._run)

    def stop(self) -> None:
        """Have the threads end by themselves; return at once."""
        self._stopped.set()
        with suppress(Exception):  # there is none yet, or it goes over SSH, and ends with the process
            self._stream.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                lock = os.open(_path(self._stack, _LOCK), os.O_RDWR)
            except OSError:
                return  # the stack is gone
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                while not self._stopped.is_set() and self._is_current(lock):
                    # A stream closed under its reader breaks in any way its layers do, down to attributes of None.
                    with suppress(Exception), connected() as client:
                        self._record(client, lock)
                    self._stopped.wait(_RETRY_SECONDS)
            finally:
                os.close(lock)

    def _record(self, client: DockerClient, lock: int) -> None:
        self._stream = _events(client, self._stack, read(self._stack))
        if self._stopped.is_set():  # before there was a stream to close
            return
        followers: dict[str, threading.Thread] = {}
        for item in services.containers(client, self._stack):
            if item["State"] == "running":
                name = item["Labels"].get(labels.SERVICE) or item["Names"][0].lstrip("/")
                followers[item["Id"]] = self._thread(self._follow, client, name, item["Id"])
        for event in self._stream:
            if not self._is_current(lock):
                return
            record, container = _record_of(event), event["Actor"]["ID"]
            append(self._stack, **record)
            if record["action"] == "start" and not (container in followers and followers[container].is_alive()):
                followers[container] = self._thread(self._follow, client, record["service"], container)

    def _is_current(self, lock: int) -> bool:
        """Whether the recording is the one that it has the lock of: not dropped since, and perhaps made again."""
        with suppress(OSError):
            return os.path.samestat(os.fstat(lock), _path(self._stack, _LOCK).stat())
        return False

    def _follow(self, client: DockerClient, service: str, container: str) -> None:
        # A stream: Docker takes a second for every single answer.
        with suppress(Exception):
            for number, stats in enumerate(client.api.stats(container, decode=True, stream=True)):
                if self._stopped.is_set():
                    return
                kept = number < _EARLY_FIGURES or number % _FIGURES_APART == 0
                if kept and (usage := _usage_of(stats)):
                    append(self._stack, "usage", services={service: usage})

    def _thread(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        # Daemon: a blocked read of a stream must not keep the process alive.
        thread = threading.Thread(target=target, args=arguments, name="ephemera-recorder", daemon=True)
        thread.start()
        return thread


def _drop_older(stack: str, newer: int) -> None:
    fcntl.flock(newer, fcntl.LOCK_EX)
    path, older, partial = _path(stack), _path(stack, _OLDER), _path(stack, _PARTIAL)
    if os.path.samestat(os.fstat(newer), path.stat()):  # else another process has done it
        # There is always a file of that name to append to, and what is written meanwhile goes to one of both.
        partial.touch(mode=0o600)
        older.unlink(missing_ok=True)
        older.hardlink_to(path)
        partial.replace(path)


def _events(client: DockerClient, stack: str, records: list[Record], until: str | None = None) -> Any:
    """Return Docker's events after the last one of ``records``; without one, since the recording began, if it did."""
    known = [record["nanoseconds"] for record in records if record["type"] == "event"]
    nanoseconds = max(known) + 1 if known else int((records[0]["time"] if records else 0) * 1e9)
    since = f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"
    filters = {"type": "container", "event": list(_ACTIONS), **labels.filters(identity.backend_id(), stack)}
    return client.api.events(since=since, until=until, filters=filters, decode=True)


def _record_of(event: dict[str, Any]) -> Record:
    """Return Docker's event as a record; its attributes hold all labels and the image, which are left out."""
    attributes = event["Actor"]["Attributes"]
    record: Record = {
        "time": round(event["timeNano"] / 1e9, 3),
        "type": "event",
        "nanoseconds": event["timeNano"],
        "service": attributes.get(labels.SERVICE) or attributes.get("name", ""),
        "action": event["Action"],
        "exit_code": int(attributes["exitCode"]) if "exitCode" in attributes else None,
        "signal": attributes.get("signal"),
    }
    return {key: value for key, value in record.items() if value is not None}


def _usage_of(stats: dict[str, Any]) -> list[float]:
    """Return what is recorded of Docker's figures; nothing of a container that does not run."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return []
    # As `docker stats` counts: without the files that the kernel could drop; named by version of cgroups.
    details = memory.get("stats") or {}
    idle = details.get("total_inactive_file", details.get("inactive_file", 0))
    seconds = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    processes = (stats.get("pids_stats") or {}).get("current", 0)
    return [max(0, memory["usage"] - idle), round(seconds, 3), processes]


def _path(stack: str, suffix: str = _NEWER) -> Path:
    return state_dir() / "recordings" / f"{stack}{suffix}"
