"""Stand-ins that several tests share: a Docker engine in memory, and a small system to declare things of."""

from __future__ import annotations

import json
import os
import queue
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from socket import socketpair
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, ImageNotFound, NotFound

from ephemera.home.leases import Lease
from ephemera.model import labels
from ephemera.model.catalog import Manifest, Option, Service
from ephemera.model.images import EngineImage, PublicImage
from ephemera.model.labels import Identity
from ephemera.model.system import System
from ephemera.pulumi.workspace import Workspace

if TYPE_CHECKING:
    from ephemera import Container, Environment

shop = System(
    "shop",
    suite="tests/shop",
    options={
        "level": Option("info", "log level"),
        "seconds": Option(5, "patience"),
        "verbose": Option(False, "say more"),
    },
    fixed_ports={"test": {"api.http": 18080, "db.postgres": 15432}},
)


@shop.program
def declare_shop(_environment: Environment) -> None:
    """A small system: three services, and two in a profile each."""
    from ephemera import Container, Exec

    def container(name: str, **given: Any) -> Container:
        return Container(name, **{"image": SHOP.images[1], "ready": Exec(["true"]), "run_as": "1000", **given})

    database = container("db", image=SHOP.images[0])
    api = container("api", needs=[database])
    container("worker", needs=[api])
    container("extra", needs=[database], profile="scale")
    container("lab", profile="lab", required=True)


SHOP = Manifest(
    suite=shop.suite,
    services={
        "db": Service(),
        "api": Service(requires=("db",)),
        "worker": Service(requires=("api",)),
        "extra": Service(requires=("db",), profile="scale", required=False),
        "lab": Service(profile="lab"),
    },
    images=(EngineImage(name="postgres"), PublicImage(reference="docker.io/library/nats:2")),
    options=shop.options,
    fixed_ports=shop.fixed_ports,
)
"""What its program declares, as a rehearsal finds it."""

IDENTITY = Identity(
    project="ephemera", stack="shop-main", system="shop", branch="main", owner="me@here", backend="0123456789ab"
)


def lease_of(stack: str = IDENTITY.stack, **fields: Any) -> Lease:
    """A lease that a command holds, long expired; ``fields``: what is different."""
    known: dict[str, Any] = {"phase": "creating", "holder": None, "created_at": 1.0, "used_at": 2.0, "expires_at": 3.0}
    whose = {"project": IDENTITY.project, "system": "shop", "branch": "main", "owner": "me@here"}
    return Lease(**{"stack": stack, "checkout": "/src", "run": "r1", **whose, **known, **fields})


def engine_lock(workspace: Workspace, stack: str, name: str = "a", **fields: Any) -> Path:
    """A lock on the stack as Pulumi's engine writes it: this process's, taken now."""
    lock = workspace.state_file(stack).parents[2] / "locks" / "organization" / workspace.name / stack / f"{name}.json"
    lock.parent.mkdir(parents=True, exist_ok=True)
    mine = {"pid": os.getpid(), "hostname": socket.gethostname(), "timestamp": datetime.now(UTC).isoformat()}
    lock.write_text(json.dumps({"username": "dev", **mine, **fields}))
    return lock


def refusal(status: int) -> APIError:
    """The engine's answer with that HTTP status: 409 while a removal is in progress, 500 when it is broken."""

    class Response:
        status_code = status
        reason = "refused"
        url = "http+docker://engine"

    return APIError("refused", response=Response(), explanation="no space left on device")


UNSTAMPED = "2026-01-01T00:00:00.000000000Z"
"""When lines of a log were written that say nothing of it."""


class Answer:
    """The engine's plain yes; ``chunks``: what it says then, as it comes."""

    def __init__(self, chunks: Iterable[bytes] = ()) -> None:
        self._chunks = chunks

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        """It is read."""

    def raise_for_status(self) -> None:
        """It is fine."""

    def iter_content(self, chunk_size: None) -> Iterator[bytes]:
        assert chunk_size is None
        yield from self._chunks


def frame(stream: int, text: bytes) -> bytes:
    """What comes of one stream (1: standard output, 2: error), as the engine frames it."""
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@dataclass
class FakeClient:
    """A Docker client whose engine holds what the test puts into ``api``."""

    api: FakeApi = field(default_factory=lambda: FakeApi())
    closed: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)

    def info(self) -> Mapping[str, Any]:
        return self.told

    def close(self) -> None:
        self.closed = True
        self.api.end_events()


class _Events:
    """A stream that ends when it is closed, from whichever thread: a generator that runs in another one cannot be."""

    def __init__(self, events: queue.SimpleQueue[dict[str, Any] | None]) -> None:
        self._events = events

    def __iter__(self) -> _Events:
        return self

    def __next__(self) -> dict[str, Any]:
        event = self._events.get()
        if event is None:
            raise StopIteration
        return event

    def close(self) -> None:
        self._events.put(None)


_PLACE: dict[str, Any] = {"NetworkSettings": {"Networks": {}}, "HostConfig": {"PortBindings": None}}


class FakeApi:
    """The part of the engine's API that the product uses; lists answer filters by label as the engine does."""

    base_url = "http+docker://engine"

    def __init__(self) -> None:
        self.listed_containers: list[dict[str, Any]] = []
        self.listed_networks: list[dict[str, Any]] = []
        self.listed_volumes: list[dict[str, Any]] = []
        self.images: dict[str, str] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.log_texts: dict[str, str] = {}
        self.log_pieces: dict[str, list[tuple[int, bytes]]] = {}
        self.exit_codes: dict[str, int] = {}
        self.executed: list[str] = []
        self.hanging: set[str] = set()
        self.refusals: dict[str, list[APIError]] = {}
        self.removed: list[str] = []
        self.started: list[str] = []
        self.renamed: list[tuple[str, str]] = []
        self.process_limits: dict[str, int] = {}
        self.memory_limits: dict[str, tuple[int, int]] = {}
        self.usage: dict[str, list[dict[str, Any]]] = {}
        self.past_events: list[dict[str, Any]] = []
        self.calls = 0
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    # What a test does to the engine.

    def add(self, kind: str, name: str, marks: Mapping[str, str], **further: Any) -> None:
        """Put a ``container``, ``network`` or ``volume`` with those labels there."""
        if kind == "container":
            item = {"Id": f"{name}-id", "Names": [f"/{name}"], "State": "running", "Created": 1000, "Ports": []}
            self.listed_containers.append({**item, "Labels": dict(marks), **further})
        elif kind == "network":
            item = {"Id": f"{name}-id", "Name": name, "Labels": dict(marks), "IPAM": {"Config": []}}
            self.listed_networks.append({**item, **further})
        else:
            self.listed_volumes.append({"Name": name, "Labels": dict(marks), **further})

    def run(self, container: str) -> None:
        """A container that runs."""
        self.states[container] = {"Running": True, "Status": "running", "ExitCode": 0, "OOMKilled": False}

    def end(self, container: str, exit_code: int, *, out_of_memory: bool = False, event: bool = True) -> None:
        """Let it exit, with or without anybody hearing of it."""
        state = {"Running": False, "Status": "exited", "ExitCode": exit_code, "OOMKilled": out_of_memory}
        self.states[container] = state
        if event:
            if out_of_memory:
                self.happen("oom", container)
            self.happen("die", container, exitCode=str(exit_code))

    def happen(self, action: str, container: str, **attributes: str) -> None:
        """Send an event to whoever listens."""
        event = {"Action": action, "Actor": {"ID": container, "Attributes": attributes}, "timeNano": time.time_ns()}
        self._events.put(event)

    def end_events(self) -> None:
        """End the stream of events."""
        self._events.put(None)

    # What the product asks of it.

    def containers(self, all: bool = False, filters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        self.calls += 1
        found = [item for item in self.listed_containers if _has(item, filters)]
        return [item for item in found if all or item["State"] == "running"]

    def networks(self, filters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return [item for item in self.listed_networks if _has(item, filters)]

    def volumes(self, filters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {"Volumes": [item for item in self.listed_volumes if _has(item, filters)] or None}

    def inspect_image(self, reference: str) -> dict[str, Any]:
        if reference not in self.images:
            raise ImageNotFound("no such image")
        config = {"User": self.images[reference], **self.configs.get(reference, {})}
        return {"Id": f"sha256:{reference}", "Config": config}

    def post(self, url: str, json: Mapping[str, int]) -> Answer:
        container, action = url.removeprefix(f"{self.base_url}/containers/").split("/")
        assert action == "update"
        self.process_limits[container] = json["PidsLimit"]
        return Answer()

    def update_container(self, container: str, *, mem_limit: int, memswap_limit: int) -> None:
        self.memory_limits[container] = (mem_limit, memswap_limit)

    def inspect_container(self, container: str) -> dict[str, Any]:
        if container in self.documents:
            return {**_PLACE, "Name": f"/{container.removesuffix('-id')}", **self.documents[container]}
        if container not in self.states:
            raise NotFound("no such container")
        return {**_PLACE, "Name": f"/{container.removesuffix('-id')}", "State": dict(self.states[container])}

    def inspect_network(self, name: str) -> dict[str, Any]:
        return self._inspect(name, self.listed_networks)

    def inspect_volume(self, name: str) -> dict[str, Any]:
        return self._inspect(name, self.listed_volumes)

    def _inspect(self, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        for item in items:
            if name in (item["Name"], item.get("Id")):
                return item
        raise NotFound("no such object")

    def logs(self, container: str, *, tail: int | str = "all", **_: Any) -> bytes:
        lines = self.log_texts.get(container, "").splitlines(keepends=True)
        return "".join(lines if tail == "all" else lines[-int(tail) :]).encode()

    def get(self, url: str, params: Mapping[str, Any], stream: bool, timeout: float | None) -> Answer:
        """Its log with times, in pieces as the engine sends them."""
        assert stream
        container = url.removeprefix(f"{self.base_url}/containers/").removesuffix("/logs")
        pieces = self.log_pieces.get(container)
        if pieces is None:
            text = self.log_texts.get(container, "")
            pieces = [(1, f"{_stamped(line)}\n".encode()) for line in text.split("\n")[: text.count("\n")]]
        tail = params["tail"]
        wanted = pieces if tail == "all" else pieces[len(pieces) - min(int(tail), len(pieces)) :]
        return Answer([frame(*piece) for piece in wanted])

    def start(self, container: str) -> None:
        self.started.append(container)

    def unpause(self, container: str) -> None:
        self.started.append(f"{container} goes on")

    def rename(self, container: str, name: str) -> None:
        self.renamed.append((container, name))

    def exec_create(
        self, container: str, command: list[str], *, stdin: bool = False, environment: Sequence[str] = ()
    ) -> dict[str, str]:
        self.executed.append(" ".join(command))
        return {"Id": f"{container}: {' '.join(command)}"}

    def exec_start(self, execution: str, *, socket: bool = False, detach: bool = False) -> Any:
        said = f"said {execution}".encode()
        if not socket:
            return said
        near, far = socketpair()
        far.sendall(frame(1, said))
        far.close()
        return near

    def exec_inspect(self, execution: str) -> dict[str, Any]:
        hangs = execution in self.hanging
        return {"ExitCode": None if hangs else self.exit_codes.get(execution, 0), "Running": hangs, "Pid": 0}

    def stats(self, container: str, *, decode: bool, stream: bool) -> Iterator[dict[str, Any]]:
        assert decode
        assert stream
        yield from self.usage.get(container, [])

    def events(
        self, filters: Mapping[str, Any], decode: bool, since: str = "0", until: str | None = None
    ) -> Iterator[dict[str, Any]]:
        assert decode
        assert filters["type"] == "container"
        if until is None:
            return _Events(self._events)
        seconds, _, fraction = since.partition(".")
        after = int(seconds) * 10**9 + int(fraction)
        return iter([event for event in self.past_events if after <= event["timeNano"]])

    def remove_container(self, name: str, *, v: bool, force: bool) -> None:
        assert v
        assert force
        self._remove(name, self.listed_containers, lambda item: str(item["Names"][0]).lstrip("/"))

    def remove_volume(self, name: str, *, force: bool) -> None:
        assert force
        self._remove(name, self.listed_volumes, lambda item: str(item["Name"]))

    def remove_network(self, name: str) -> None:
        # By its id, which tests do not tell from the name.
        names = {item.get("Id"): item["Name"] for item in self.listed_networks}
        self._remove(names.get(name, name), self.listed_networks, lambda item: str(item["Name"]))

    def _remove(self, name: str, items: list[dict[str, Any]], name_of: Any) -> None:
        found = [item for item in items if name in (name_of(item), item.get("Id"))]
        if not found:
            raise NotFound("gone already")
        if self.refusals.get(name_of(found[0])):
            raise self.refusals[name_of(found[0])].pop(0)
        self.removed.append(name_of(found[0]))
        items.remove(found[0])


def _stamped(line: str) -> str:
    return line if re.match(r"\d{4}-\d\d-\d\dT", line) else f"{UNSTAMPED} {line}"


def _has(item: Mapping[str, Any], filters: Mapping[str, Any] | None) -> bool:
    filters = filters or {}
    wanted = filters.get("label", [])
    marks = item["Labels"] or {}
    pairs = [mark.partition("=") for mark in ([wanted] if isinstance(wanted, str) else wanted)]
    ports = [f"{port.get('PublicPort')}/{port.get('Type', 'tcp')}" for port in item.get("Ports", ())]
    return (
        all(key in marks and (not equal or marks[key] == value) for key, equal, value in pairs)
        and ("publish" not in filters or filters["publish"] in ports)
        and ("status" not in filters or filters["status"] == item["State"])
    )


def marks(stack: str, backend: str, service: str | None = None) -> dict[str, str]:
    """Labels of an object of ``stack`` in ``backend``."""
    named = {labels.SERVICE: service} if service else {}
    return {labels.STACK: stack, labels.BACKEND: backend, labels.SYSTEM: stack.partition("-")[0], **named}
