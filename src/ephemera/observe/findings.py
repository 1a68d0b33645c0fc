"""Findings: all that is known of an environment when something failed, credentials redacted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple

from docker.errors import DockerException

from ephemera.docker import logs, services
from ephemera.docker.connection import connected
from ephemera.home import leases
from ephemera.host import clock
from ephemera.model import labels
from ephemera.model.errors import EphemeraError, ServiceFailedError
from ephemera.model.names import split_stack_name
from ephemera.model.outputs import REDACTED, EnvironmentOutputs
from ephemera.model.redaction import Redactor
from ephemera.model.text import printable
from ephemera.observe import hiding, recording
from ephemera.observe.recording import Record
from ephemera.pulumi import engine
from ephemera.pulumi.workspace import Workspace

_STAMP_LENGTH = 26  # microseconds: Python reads no more
_ERROR = re.compile(
    r"\b(?:ERROR|FATAL|CRITICAL|PANIC|SEVERE|Traceback \(most recent|panic:)|(?:Exception|Error)\b"
    r"|\"?level\"?[=:] ?\"?(?:error|fatal|critical|panic)\b"
)

Kind = Literal["gate", "up", "destroy", "test", "asked"]


class Line(NamedTuple):
    """A printable line of a log; ``time`` in seconds since the epoch, by Docker's clock."""

    time: float
    text: str

    @property
    def error(self) -> bool:
        """Whether it looks like an error."""
        return _ERROR.search(self.text) is not None


@dataclass(frozen=True, kw_only=True)
class Service:
    """A container of the stack: ``document`` is Docker's description of it, ``log`` begins each line with its time."""

    name: str
    document: dict[str, Any]
    log: str

    @property
    def file_name(self) -> str:
        """Return the name with only what a file's name may hold: labels may say anything."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", self.name)

    @property
    def state(self) -> dict[str, Any]:
        """Return Docker's ``State`` of the container."""
        return self.document.get("State") or {}

    @property
    def memory_limit(self) -> int | None:
        """Return the container's limit in bytes; None without one."""
        return (self.document.get("HostConfig") or {}).get("Memory") or None

    @property
    def done(self) -> bool:
        """Whether it is a one-shot that ended well."""
        marks = self.document["Config"].get("Labels") or {}
        return labels.ONE_SHOT in marks and self.state.get("Status") == "exited" and self.state.get("ExitCode") == 0

    @cached_property
    def lines(self) -> list[Line]:
        """Return the lines of the log. A line without a time has that of the line before."""
        found: list[Line] = []
        time = 0.0
        for whole in self.log.split("\n"):
            stamp, _, text = whole.partition(" ")
            time, text = (time, whole) if (read := instant(stamp)) is None else (read, text)
            if whole:
                found.append(Line(time, printable(text)))
        return found


@dataclass(frozen=True, kw_only=True)
class Findings:
    """``kind``: what failed: a ``gate``, an ``up`` in another way, a ``destroy``, a ``test``; ``asked``: nothing did.

    ``trouble``: what could not be read, and why. ``definition``: the stack's config, and what its system declares.
    """

    stack: str
    system: str
    branch: str
    taken: float
    kind: Kind
    error: dict[str, Any] | None
    services: list[Service]
    records: list[Record]
    outputs: dict[str, Any] | None
    definition: dict[str, Any]
    trouble: list[str] = field(default_factory=list)

    def of_type(self, name: str) -> list[Record]:
        """Return the records of one type."""
        return [record for record in self.records if record["type"] == name]

    def failed_tests(self) -> list[Record]:
        """Return the failed tests of the last test run; an environment that stays has records of earlier ones too."""
        return _failed(self.records)


def find(
    workspace: Workspace, stack: str, error: EphemeraError | None = None, outputs: EnvironmentOutputs | None = None
) -> Findings:
    """Return all that is known of the stack. What cannot be read, with Docker in trouble, is told in ``trouble``."""
    trouble: list[str] = []
    redactor = Redactor()
    inspected: list[tuple[dict[str, Any], list[str]]] = []
    lease, records = leases.read(stack), recording.read(stack)
    with _noting(trouble, "containers could not be looked at"), connected() as client:
        for item in services.containers(client, stack):
            with _noting(trouble, f"container {item['Id'][:12]} could not be looked at"):
                document, log = client.api.inspect_container(item["Id"]), list[str]()
                redactor.learn_container(document)
                inspected.append((document, log))
                log += (f"{line.stamp} {line.text}\n" for line in logs.read(client, item["Id"]))
        records = sorted([*records, *recording.missed_events(client, stack, records)], key=lambda one: one["time"])
    system, branch, definition = "", "", dict[str, Any]()
    with _noting(trouble, "the definition could not be read"):
        config = workspace.read_config(stack)
        system, branch = split_stack_name(stack, workspace.catalog)
        branch = config.get("branch", branch)  # without a test run's suffix
        definition = {"config": config, **workspace.catalog[system].document()}
    with _noting(trouble, "secrets of the stack's config could not be read"):
        hiding.learn_config(redactor, workspace, stack)
    if outputs is None and lease is not None and lease.phase != "creating":
        with _noting(trouble, "the outputs could not be read"):
            outputs = engine.outputs(workspace, stack)
    if outputs is not None:
        redactor.learn_outputs(outputs)
    order = list(definition.get("services", ()))
    found = [_service(document, log, redactor) for document, log in inspected]
    return Findings(
        stack=stack,
        system=system,
        branch=branch,
        taken=clock.now(),
        kind=_kind(error, lease, records),
        error=redactor.document(error.document()["error"]) if error is not None else None,
        services=sorted(found, key=lambda one: order.index(one.name) if one.name in order else len(order)),
        records=[record if record["type"] == "usage" else redactor.document(record) for record in records],
        outputs=redactor.document(outputs.document()) if outputs is not None else None,
        definition=redactor.document(definition),
        trouble=[redactor.text(text) for text in trouble],
    )


def instant(text: Any) -> float | None:
    """Return a time as Docker writes it in seconds since the epoch; None for its year 1, which means never."""
    if not isinstance(text, str) or text.startswith("0001"):
        return None
    try:
        return datetime.fromisoformat(text[:_STAMP_LENGTH].rstrip("Z") + "+00:00").timestamp()
    except ValueError:
        return None


@contextmanager
def _noting(trouble: list[str], what: str) -> Iterator[None]:
    try:
        yield
    except (EphemeraError, DockerException, OSError) as error:
        trouble.append(f"{what}: {error}")


def _service(document: dict[str, Any], log: Iterable[str], redactor: Redactor) -> Service:
    config = document["Config"]
    names = [variable.partition("=")[0] for variable in config.get("Env") or ()]
    hidden = {**document, "Config": {**config, "Env": [f"{variable}={REDACTED}" for variable in names]}}
    return Service(
        name=config["Labels"].get(labels.SERVICE) or document["Name"].lstrip("/"),
        document=redactor.document(hidden),
        log=redactor.text("".join(log)),
    )


def _kind(error: EphemeraError | None, lease: leases.Lease | None, records: list[Record]) -> Kind:
    if error is None:
        return "test" if _failed(records) else "asked"
    if lease is not None and lease.phase == "destroying":
        return "destroy"
    return "gate" if isinstance(error, ServiceFailedError) else "up"


def _failed(records: list[Record]) -> list[Record]:
    tests = [record for record in records if record["type"] == "test"]
    return [test for test in tests if test["outcome"] == "failed" and test["session"] == tests[-1]["session"]]
