"""Findings: all that is known of an environment when something failed, credentials redacted. Looked at, not changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from docker import DockerClient
from docker.errors import DockerException

from ephemera.contract import labels
from ephemera.contract.errors import EphemeraError, ServiceFailedError
from ephemera.contract.names import split_stack_name
from ephemera.contract.outputs import REDACTED, EnvironmentOutputs
from ephemera.contract.redaction import Redactor
from ephemera.contract.settings import Ciphertext
from ephemera.driver import encryption, engine, recording, services
from ephemera.driver.evidence.lines import Line, parse
from ephemera.driver.evidence.suspects import AROUND_SECONDS, Subject, Suspect, suspects
from ephemera.driver.recording import Record
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.host import clock, logs
from ephemera.host.engine import connected

_NOT_IN_A_FILE_NAME = re.compile(r"[^A-Za-z0-9_-]")

Kind = Literal["gate", "up", "destroy", "test", "asked"]


@dataclass(frozen=True, kw_only=True)
class Service:
    """A container of the stack: the engine's description of it, and its log with times."""

    name: str
    document: dict[str, Any]
    log: str
    lines: list[Line]

    @property
    def file_name(self) -> str:
        """Its name, fit for a file: labels may say anything."""
        return _NOT_IN_A_FILE_NAME.sub("_", self.name)

    @property
    def subject(self) -> Subject:
        """It as a suspect."""
        state = self.document.get("State") or {}
        marks = (self.document.get("Config") or {}).get("Labels") or {}
        done = labels.ONE_SHOT in marks and state.get("Status") == "exited" and state.get("ExitCode") == 0
        return Subject(service=self.name, state=state, lines=self.lines, done=done)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """``kind``: what failed: a ``gate``, ``up`` in another way, ``destroy``, a ``test``; or somebody ``asked``.

    ``trouble``: what could not be found out, and why. ``definition``: config, catalog entry, containers as asked for.
    """

    stack: str
    system: str
    branch: str
    run: str
    taken: float
    kind: Kind
    error: dict[str, Any] | None
    services: list[Service]
    records: list[Record]
    outputs: dict[str, Any] | None
    definition: dict[str, Any]
    trouble: list[str] = field(default_factory=list)

    def of_type(self, name: str) -> list[Record]:
        """The records of one type."""
        return [record for record in self.records if record["type"] == name]

    def failed_tests(self) -> list[Record]:
        """The tests that failed in the last test run; an environment that stays has seen earlier ones."""
        return _failed(self.records)

    def suspects_of(self, test: Record) -> list[Suspect]:
        """Who may be why that test failed."""
        subjects = [service.subject for service in self.services]
        return suspects(subjects, self.records, test["start"], test["stop"] + AROUND_SECONDS)


def find(
    workspace: Workspace,
    stack: str,
    run: str,
    error: EphemeraError | None = None,
    outputs: EnvironmentOutputs | None = None,
) -> Findings:
    """Look at everything. Docker in trouble is among what is found: nothing is raised for it."""
    trouble: list[str] = []
    redactor = Redactor()
    inspected: list[dict[str, Any]] = []
    written: list[str] = []
    records: list[Record] = []
    lease = leases.read(stack)
    with _noting(trouble, "the recording could not be read"):
        records = recording.read(stack)
    with _noting(trouble, "containers could not be looked at"), connected() as client:
        for container in services.containers(client, stack):
            document, log = _container(client, container["Id"], trouble)
            if document is not None:
                inspected.append(document)
                written.append(log)
                redactor.learn_container(document)
        records = sorted([*records, *recording.missed_events(client, stack, records)], key=lambda one: one["time"])
    system, branch, definition = "", "", dict[str, Any]()
    with _noting(trouble, "the definition could not be read"):
        config = workspace.read_config(stack)
        redactor.learn_settings(config)
        redactor.learn(text for text in config.values() if isinstance(text, Ciphertext))
        system, branch = split_stack_name(stack, workspace.catalog)
        branch = config.get("branch", branch)  # without a test run's suffix
        definition = _definition(workspace, system, config)
    if outputs is None and lease is not None and lease.phase != "creating":
        with _noting(trouble, "the outputs could not be read"):
            outputs = engine.outputs(workspace, stack)
    if outputs is not None:
        redactor.learn_outputs(outputs)
    with _noting(trouble, "secrets of the stack's config could not be read"):
        redactor.learn_secrets(encryption.config_secrets(workspace, stack))
    found = [_service(document, log, redactor) for document, log in zip(inspected, written, strict=True)]
    definition["containers"] = {service.name: _asked_for(service.document) for service in found}
    return Findings(
        stack=stack,
        system=system,
        branch=branch,
        run=run,
        taken=clock.now(),
        kind=_kind(error, lease, records),
        error=redactor.document(error.document()["error"]) if error is not None else None,
        services=sorted(found, key=lambda service: _position(definition, service.name)),
        records=[record if record["type"] == "usage" else redactor.document(record) for record in records],
        outputs=redactor.document(outputs.document()) if outputs is not None else None,
        definition=redactor.document(definition),
        trouble=[redactor.text(text) for text in trouble],
    )


@contextmanager
def _noting(trouble: list[str], what: str) -> Iterator[None]:
    """What is missing is told in the evidence: half of it is better than none."""
    try:
        yield
    except (EphemeraError, DockerException, OSError) as error:
        trouble.append(f"{what}: {error}")


def _container(client: DockerClient, container: str, trouble: list[str]) -> tuple[dict[str, Any] | None, str]:
    document, log = None, ""
    with _noting(trouble, f"container {container[:12]} could not be looked at"):
        document = client.api.inspect_container(container)
        log = "".join(f"{line.stamp} {line.text}\n" for line in logs.read(client, container))
    return document, log


def _service(document: dict[str, Any], log: str, redactor: Redactor) -> Service:
    config = document["Config"]
    name = config["Labels"].get(labels.SERVICE) or document["Name"].lstrip("/")
    names = [variable.partition("=")[0] for variable in config.get("Env") or ()]
    hidden = {**document, "Config": {**config, "Env": [f"{variable}={REDACTED}" for variable in names]}}
    text = redactor.text(log)
    return Service(name=name, document=redactor.document(hidden), log=text, lines=parse(text))


def _kind(error: EphemeraError | None, lease: leases.Lease | None, records: list[Record]) -> Kind:
    if error is None:
        return "test" if _failed(records) else "asked"
    if lease is not None and lease.phase == "destroying":
        return "destroy"
    return "gate" if isinstance(error, ServiceFailedError) else "up"


def _failed(records: list[Record]) -> list[Record]:
    tests = [record for record in records if record["type"] == "test"]
    return [test for test in tests if test["outcome"] == "failed" and test["session"] == tests[-1]["session"]]


def _definition(workspace: Workspace, name: str, config: dict[str, str]) -> dict[str, Any]:
    system = workspace.catalog[name]
    return {
        "config": config,
        "suite": system.suite,
        "services": {service: _plain(entry) for service, entry in system.services.items()},
        "images": [{"kind": type(image).__name__, **_plain(image)} for image in system.images],
    }


def _plain(value: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(asdict(value), default=str))
    return {key: part for key, part in document.items() if part not in (None, [], {}, "")}


def _asked_for(document: dict[str, Any]) -> dict[str, Any]:
    """What of a container its definition decides, from the engine's description."""
    config, host = document["Config"], document.get("HostConfig") or {}
    asked = {
        "image": config.get("Image"),
        "image_id": document.get("Image"),
        "entrypoint": config.get("Entrypoint"),
        "command": config.get("Cmd"),
        "user": config.get("User"),
        "variables": [variable.partition("=")[0] for variable in config.get("Env") or ()],
        "health_check": config.get("Healthcheck"),
        "ports": host.get("PortBindings"),
        "volumes": [mount.get("Destination") for mount in document.get("Mounts") or ()],
        "tmpfs": host.get("Tmpfs"),
        "memory_bytes": host.get("Memory"),
        "cpus": (host.get("NanoCpus") or 0) / 1e9 or None,
        "processes": host.get("PidsLimit"),
        "capabilities": host.get("CapAdd"),
        "read_only_root": host.get("ReadonlyRootfs"),
        "networks": sorted((document.get("NetworkSettings") or {}).get("Networks") or {}),
    }
    return {key: value for key, value in asked.items() if value not in (None, [], {}, "")}


def _position(definition: dict[str, Any], service: str) -> tuple[int, str]:
    order = list(definition.get("services") or ())
    return (order.index(service) if service in order else len(order), service)
