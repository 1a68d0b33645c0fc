"""Recordings: what happens to a stack while somebody uses it, as JSON lines that evidence is made of afterwards.

``$XDG_STATE_HOME/ephemera/recordings/<stack>.jsonl``, mode 0600, one record a line, each with ``time`` (seconds since
the epoch) and ``type``:

``gate``: the program's event, with ``service``, ``state``, ``seconds``, ``detail``
``event``: the engine's, of a container: ``service``, ``action``, ``exit_code``, ``signal``, ``nanoseconds``
``usage``: ``services``: name → ``[bytes of memory, seconds of CPU since its start, processes]``
``test``: ``session`` (of pytest), ``nodeid``, ``start``, ``stop``, ``outcome``, ``phase``, ``text``
``session``: somebody began to use it: ``what``

Whoever uses a stack records it, in a thread of its own; of several processes one does, and another takes over when that
one ends. Records of any process are appended in one write each. Recording never fails what it records: with Docker
in trouble, a full disk, or with what a test has replaced in its process, records are missing.
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

from ephemera.contract import labels
from ephemera.contract.errors import EphemeraError
from ephemera.contract.progress import Event
from ephemera.driver import services
from ephemera.home import documents, identity, leases
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.engine import connected
from ephemera.host.files import text_of

Record = dict[str, Any]

# Half of what a recording may hold: the older half is dropped when the newer is full.
_HALF_BYTES = 4 * 1024 * 1024
# A service that dies does so early: the first seconds are looked at closely.
_EARLY_SECONDS = 10.0
_EARLY_INTERVAL_SECONDS = 0.5
_INTERVAL_SECONDS = 2.0
_STANDBY_SECONDS = 0.5
# Each probe and health check is three exec_* events: they are not asked for.
_ACTIONS = (
    "create start restart die oom kill stop pause unpause health_status destroy".split()  # noqa: SIM905
)


@contextmanager
def of(stack: str, what: str) -> Iterator[None]:
    """Record ``stack`` while the block runs; ``what`` names the use: ``up``, ``tests``."""
    stop = start(stack, what)
    try:
        yield
    finally:
        stop()


def start(stack: str, what: str) -> Callable[[], None]:
    """The same for a use that is no block: what is returned ends it."""
    with suppress(OSError):
        _path(stack).parent.mkdir(exist_ok=True, mode=0o700)
        for path in (_path(stack), _lock_path(stack)):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    append(stack, "session", what=what)
    recorder = _Recorder(stack)
    recorder.start()

    def stop() -> None:
        recorder.stop()
        # Whoever took the stack down has dropped its recording; one that ended meanwhile must not leave a new one.
        with suppress(EphemeraError):
            if leases.read(stack) is None:
                forget(stack)

    return stop


def reporting(stack: str, report: Callable[[Event], None]) -> Callable[[Event], None]:
    """``report``, with the program's gates recorded as they come."""

    def recorded(event: Event) -> None:
        if event["type"] == "gate":
            append(stack, **event)
        elif event["type"] == "failed" and "service" in event["error"]:
            error = event["error"]
            append(stack, "gate", service=error["service"], state="failed", detail=error["cause"])
        report(event)

    return recorded


def append(stack: str, type: str, **fields: Any) -> None:
    """Add a record, from whatever process; dropped when nobody has begun to record the stack, or it is gone."""
    # It begins with the line's end: what a killed writer left of the line before does not spoil this one.
    line = "\n" + json.dumps({"time": round(clock.now(), 3), "type": type, **fields})
    with suppress(OSError):
        descriptor = os.open(_path(stack), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def read(stack: str) -> list[Record]:
    """Every record of the stack, by time."""
    records: list[Record] = []
    for path in (_older_path(stack), _path(stack)):
        with suppress(OSError, UnicodeDecodeError):
            for line in text_of(path).split("\n"):
                # Empty, or its writer was killed in the middle, or the disk full.
                with suppress(ValueError, TypeError, KeyError, RecursionError):
                    record = json.loads(line)
                    records.append({**record, "time": float(record["time"]), "type": str(record["type"])})
    return sorted(records, key=lambda record: float(record["time"]))


def missed_events(client: DockerClient, stack: str, records: list[Record]) -> list[Record]:
    """What the engine still knows of after the last event among ``records``: nobody may have been recording."""
    found = []
    stream = client.api.events(since=_after(records), until=f"{clock.now():.9f}", filters=_filters(stack), decode=True)
    for event in stream:
        found.append(_record_of(event))
    return found


def forget(stack: str) -> None:
    """Drop the stack's recording."""
    for path in (_path(stack), _older_path(stack), _lock_path(stack)):
        documents.remove(path)


class _Recorder:
    """Writes down the engine's events and the services' usage, while it holds the stack's recording."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self._stopped = threading.Event()
        self._changed = threading.Event()
        self._guard = threading.Lock()
        self._stream: Any = None
        self._usage: dict[str, list[float]] = {}

    def start(self) -> None:
        self._thread(self._run)

    def stop(self) -> None:
        """Nothing is waited for: what is still under way ends by itself."""
        with self._guard:
            self._stopped.set()
            self._changed.set()
            _close(self._stream)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                lock = os.open(_lock_path(self._stack), os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return  # the stack is gone
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._record()
            except BlockingIOError:
                self._stopped.wait(_STANDBY_SECONDS)
            finally:
                os.close(lock)

    def _record(self) -> None:
        while not self._stopped.is_set() and _path(self._stack).exists():
            try:
                with connected() as client:
                    self._sample(client, self._thread(self._listen, client))
            except Exception:  # noqa: BLE001
                self._stopped.wait(_INTERVAL_SECONDS)

    def _sample(self, client: DockerClient, listener: threading.Thread) -> None:
        started = clock.monotonic()
        followers: dict[str, threading.Thread] = {}
        self._changed.set()
        while listener.is_alive() and not self._stopped.is_set() and _path(self._stack).exists():
            if self._changed.is_set():
                self._changed.clear()
                for service, container in _running(client, self._stack):
                    if container not in followers or not followers[container].is_alive():
                        followers[container] = self._thread(self._follow, client, service, container)
            with self._guard:
                usage, self._usage = self._usage, {}
            if usage:
                append(self._stack, "usage", services=usage)
            self._keep_bounded()
            early = clock.monotonic() - started < _EARLY_SECONDS
            self._stopped.wait(_EARLY_INTERVAL_SECONDS if early else _INTERVAL_SECONDS)

    def _follow(self, client: DockerClient, service: str, container: str) -> None:
        """Keep a container's newest usage. A stream: the engine takes a second for every single answer."""
        with suppress(Exception):
            for stats in client.api.stats(container, decode=True, stream=True):
                if self._stopped.is_set():
                    return
                if sample := _usage_of(stats):
                    with self._guard:
                        self._usage[service] = sample

    def _thread(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        # Daemon: a blocked read of a stream must not keep the process alive.
        thread = threading.Thread(target=target, args=arguments, name="ephemera-recorder", daemon=True)
        thread.start()
        return thread

    def _listen(self, client: DockerClient) -> None:
        # A stream that is closed under its reader breaks in whatever way its layers do, down to attributes of None.
        with suppress(Exception):
            stream = client.api.events(since=_after(read(self._stack)), filters=_filters(self._stack), decode=True)
            with self._guard:
                self._stream = stream
                if self._stopped.is_set():
                    _close(stream)
            for event in stream:
                append(self._stack, **_record_of(event))
                self._changed.set()

    def _keep_bounded(self) -> None:
        path = _path(self._stack)
        if path.stat().st_size < _HALF_BYTES:
            return
        # At every moment there is a file of that name to append to, and what was just written goes to one of both.
        older, partial = _older_path(self._stack), path.with_suffix(".partial")
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        older.unlink(missing_ok=True)
        older.hardlink_to(path)
        partial.replace(path)


def _record_of(event: dict[str, Any]) -> Record:
    """The engine's event as a record: of its attributes, which hold all labels and the image, what tells something."""
    attributes = event["Actor"]["Attributes"]
    record: Record = {
        "time": round(event["timeNano"] / 1e9, 3),
        "type": "event",
        "nanoseconds": event["timeNano"],
        "service": attributes.get(labels.SERVICE) or attributes.get("name", ""),
        "action": event["Action"],
    }
    if "exitCode" in attributes:
        record["exit_code"] = int(attributes["exitCode"])
    if "signal" in attributes:
        record["signal"] = attributes["signal"]
    return record


def _after(records: list[Record]) -> str:
    """The time after the last event, as the engine takes it; without one, when the recording began, if it did."""
    known = [record["nanoseconds"] for record in records if record["type"] == "event"]
    nanoseconds = max(known) + 1 if known else int((records[0]["time"] if records else 0) * 1e9)
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


def _filters(stack: str) -> dict[str, Any]:
    return {"type": "container", "event": list(_ACTIONS), **labels.filters(identity.backend_id(), stack)}


def _running(client: DockerClient, stack: str) -> Iterator[tuple[str, str]]:
    for item in services.containers(client, stack):
        if item["State"] == "running":
            yield item["Labels"].get(labels.SERVICE) or item["Names"][0].lstrip("/"), item["Id"]


def _usage_of(stats: dict[str, Any]) -> list[float]:
    """What a recording keeps of the engine's figures; nothing of a container that does not run."""
    memory = stats.get("memory_stats") or {}
    if "usage" not in memory:
        return []
    # As `docker stats` counts: without the files that the kernel could drop; named by version of cgroups.
    details = memory.get("stats") or {}
    idle = details.get("total_inactive_file", details.get("inactive_file", 0))
    seconds = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    processes = (stats.get("pids_stats") or {}).get("current", 0)
    return [max(0, memory["usage"] - idle), round(seconds, 3), processes]


def _close(stream: Any) -> None:
    # Over SSH a stream cannot be closed; it ends with the process.
    with suppress(Exception):
        if stream is not None:
            stream.close()


def _path(stack: str) -> Path:
    return state_dir() / "recordings" / f"{stack}.jsonl"


def _older_path(stack: str) -> Path:
    return state_dir() / "recordings" / f"{stack}.older.jsonl"


def _lock_path(stack: str) -> Path:
    return state_dir() / "recordings" / f"{stack}.lock"
