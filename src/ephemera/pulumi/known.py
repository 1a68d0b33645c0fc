"""Knowledge of environments that became ready, so that an unchanged one needs no run of the engine.

``$XDG_STATE_HOME/ephemera/known/<stack>.json`` holds everything that decides the result of a run of the engine, the
objects on the Docker engine, and the outputs. Generated credentials stand there as service and purpose, from which they
are derived again. An environment in doubt is not remembered; the file then says why.

An environment is unchanged if settings, variables, files and machine are the same, its state is untouched, nothing but
its own objects is there, every container is the one that became ready and has run since, and every probe answers now.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException, NotFound
from pydantic import TypeAdapter
from requests.exceptions import RequestException

from ephemera import images
from ephemera.docker.address import configured
from ephemera.docker.connection import connected
from ephemera.docker.services import ServiceHandle
from ephemera.home import credentials, documents, identity
from ephemera.home.documents import DiskError
from ephemera.home.paths import state_dir
from ephemera.host.fingerprint import Files, Fingerprint, stamp
from ephemera.host.probes import describe, from_description
from ephemera.model import labels
from ephemera.model.catalog import Manifest
from ephemera.model.errors import EphemeraError
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.model.progress import Event
from ephemera.model.settings import NAMESPACE, Settings
from ephemera.pulumi import process_variables, state
from ephemera.pulumi.reads import site_folders
from ephemera.pulumi.state import Resource
from ephemera.pulumi.workspace import Workspace, read_yaml

_SCHEMA = 3
_REFERENCE = "ephemera:credential"
_THREADS = 16
# The kernel's clock for files ticks every few milliseconds: one that changed just before may be stamped a bit later.
_TICK_NANOSECONDS = 20_000_000
_BY_BRANCH = ("branch", "owner")
# Resources that labels tell of, and that nothing but the program decides.
_COVERED = (state.CONTAINER, state.NETWORK, state.IMAGE, state.VOLUME, state.PROVIDER)
# Inputs for which the plugin reads files of its own accord.
_READING = frozenset(("build", "uploads"))
_TROUBLE = (EphemeraError, DockerException, RequestException, OSError)


@dataclass(frozen=True, kw_only=True)
class Known:
    """``settings``: as config. ``variables``: digest of the process environment, ``shared_variables``: of that without
    what differs by branch. ``around``: digest of everything else beside files. ``files``: fingerprint of ``paths``.
    ``state``: digest of the state's stamp. ``objects``: what the Docker engine held, with marks that change
    once it is touched. ``outputs``: the document, credentials as references."""

    settings: Mapping[str, str]
    variables: str
    shared_variables: str
    around: str
    paths: Sequence[str]
    files: Fingerprint
    state: str
    objects: Mapping[str, Any]
    outputs: Mapping[str, Any]


_KNOWN = TypeAdapter(Known)


def remembering(
    workspace: Workspace, stack: str, system: Manifest, settings: Settings, report: Callable[[Event], None]
) -> tuple[Callable[[Event], None], Callable[[EnvironmentOutputs], None]]:
    """Return a listener for the events of an engine's run, and a function to call with the outputs when it is ready.

    Forgets the stack first. Failing to remember is not an error.
    """
    forget(stack)
    around = _around(workspace, stack)
    reads: dict[str, Any] = {}

    def listen(event: Event) -> None:
        if event["type"] == "reads":
            reads.update(event)
        else:
            report(event)

    def look(outputs: EnvironmentOutputs) -> Known | str:
        """Return the knowledge, or why it is in doubt."""
        files, state_now, resources = Files(), _state(workspace, stack), state.resources(workspace, stack)
        paths = sorted({*reads["paths"]} - {str(workspace.config_file(stack))})
        wanted = _references(system, settings)
        derived = {credentials.credential(stack, *made): made for made in reads["credentials"]}
        doubts = [f"the program {doubt}" for doubt in reads["doubts"]]
        doubts += _uncovered(resources)
        used = {str(each["inputs"].get("name")) for each in resources if each["type"] == state.IMAGE}
        doubts += [f"{image} is made from something else by now" for image in sorted(used - set(wanted))]
        doubts += [f"{name} has a probe of its own" for name, each in outputs.services.items() if not _askable(each)]
        try:
            hidden = _hidden(outputs.document(show_secrets=True), state.outputs(resources), derived)
        except (KeyError, ValueError):
            doubts.append("its outputs hold a secret that is not generated")
        # Since they were compared with the manifest, which the program was told.
        if files.changed_at(paths) >= workspace.files.since - _TICK_NANOSECONDS:
            doubts.append("a file of the project was written meanwhile")
        if around != _around(workspace, stack):
            doubts.append("its config was written meanwhile")
        if doubts:
            return "; ".join(doubts)
        with connected() as client, ThreadPoolExecutor(_THREADS) as pool:
            objects = _objects(client, pool, stack, wanted)
        return Known(
            settings=settings.to_config(),
            variables=process_variables.digest(),
            shared_variables=process_variables.digest(any_branch=True),
            around=around,
            paths=paths,
            files=files.fingerprint(paths),
            state=state_now,
            objects=objects,
            outputs=hidden,
        )

    def ready(outputs: EnvironmentOutputs) -> None:
        try:
            found = look(outputs) if reads else "the program did not say what it read"
        except _TROUBLE as error:
            found = str(error)
        document = {"doubt": found} if isinstance(found, str) else {"known": asdict(found)}
        with suppress(DiskError):  # then nothing is known
            documents.write(_path(stack), document, schema=_SCHEMA)

    return listen, ready


def unchanged(workspace: Workspace, stack: str, system: Manifest, settings: Settings) -> EnvironmentOutputs | None:
    """Return the outputs if ``pulumi up`` would be a no-op and every gate would open; else, or in any doubt, None."""
    known = read(stack)
    if known is None or known.variables != process_variables.digest():
        return None
    return None if why_not(known, workspace, stack, system, settings) else shown(stack, known)


def same_request(known: Known, settings: Settings) -> bool:
    """Return whether it has these settings and this process environment, apart from what differs by branch."""
    return known.shared_variables == process_variables.digest(any_branch=True) and _same_settings(known, settings, True)


def why_not(
    known: Known, workspace: Workspace, stack: str, system: Manifest, settings: Settings, *, any_branch: bool = False
) -> str:
    """Return in a few words why the environment may have changed; an empty text if it has not.

    Variables are not compared. ``any_branch``: ignore what differs by branch alone.
    """
    try:
        if not _same_settings(known, settings, any_branch):
            return "its settings differ"
        if not _state_is(workspace, stack, known) or workspace.locks(stack):
            return "its state was changed"
        if known.around != _around(workspace, stack):
            return "its config, the engine, plugin or packages differ"
        if not workspace.files.same(known.files, known.paths):
            return "the project's files differ"
        return _unlike(known, stack, shown(stack, known), _references(system, settings))
    except _TROUBLE as error:
        return str(error)


def outputs(workspace: Workspace, stack: str) -> EnvironmentOutputs | None:
    """Return the outputs if the state is unchanged since they were remembered, else None."""
    known = read(stack)
    return shown(stack, known) if known is not None and _state_is(workspace, stack, known) else None


def read(stack: str) -> Known | None:
    """Return the knowledge of the stack; None without any, or if another version wrote it."""
    return documents.read(
        _path(stack), lambda found: _KNOWN.validate_python(found["known"]) if _has(found, "known") else None
    )


def doubt(stack: str) -> str:
    """Return why the environment was not remembered; an empty text if it was, or has not become ready."""
    return documents.read(_path(stack), lambda found: str(found["doubt"]) if _has(found, "doubt") else "") or ""


def shown(stack: str, known: Known) -> EnvironmentOutputs:
    """Return the known outputs, with their credentials."""

    def show(value: Any) -> Any:
        if isinstance(value, Mapping):
            if _REFERENCE in value:
                return credentials.credential(stack, *value[_REFERENCE])
            return {key: show(part) for key, part in value.items()}
        return [show(part) for part in value] if isinstance(value, list) else value

    return EnvironmentOutputs.parse(show(known.outputs))


def forget(stack: str) -> None:
    """Drop the knowledge of the stack."""
    documents.remove(_path(stack))


def _same_settings(known: Known, settings: Settings, any_branch: bool) -> bool:
    left_out = dict.fromkeys(_BY_BRANCH if any_branch else (), "")
    return {**known.settings, **left_out} == {**settings.to_config(), **left_out}


def _state_is(workspace: Workspace, stack: str, known: Known) -> bool:
    return _state(workspace, stack) == known.state


def _state(workspace: Workspace, stack: str) -> str:
    return process_variables.digest_of(stamp(workspace.state_file(stack)))


def _around(workspace: Workspace, stack: str) -> str:
    """Return a digest of others' config in the stack, of engine, plugin, interpreter and installed packages."""
    document = read_yaml(workspace.config_file(stack))
    config = document.pop("config", None) or {}
    document.pop("encryptionsalt", None)
    exported = workspace.exported()
    places: list[str | Path] = [sys.executable, *site_folders()]
    places += [Path(folder, "pulumi") for folder in exported["PATH"].split(os.pathsep)]
    places += sorted(Path(exported["PULUMI_HOME"], "plugins").glob("*/pulumi-resource-*"))
    return process_variables.digest_of(
        [
            document,
            {key: value for key, value in config.items() if not key.startswith(f"{NAMESPACE}:")},
            exported,
            configured().handed_on(),
            sys.version,
            {str(path): stamp(path) for path in places},
        ]
    )


def _references(system: Manifest, settings: Settings) -> list[str]:
    """Return the references of the system's images, from their current sources."""
    mode = settings.images if settings.images != "auto" else images.mode()
    return sorted({images.resolve(image, mode) for image in system.images})


def _unlike(known: Known, stack: str, outputs: EnvironmentOutputs, wanted: Sequence[str]) -> str:
    """Return what differs on the Docker engine, or which service does not answer."""
    with connected() as client, ThreadPoolExecutor(_THREADS) as pool:
        answers = {
            name: pool.submit(_answers, client, stack, name, service) for name, service in outputs.services.items()
        }
        if _objects(client, pool, stack, wanted) != known.objects:
            return "its images, containers, networks or volumes are not as they were"
        silent = [name for name, answer in answers.items() if not answer.result()]
        return f"{', '.join(silent)} does not answer" if silent else ""


def _objects(client: DockerClient, pool: ThreadPoolExecutor, stack: str, wanted: Sequence[str]) -> dict[str, Any]:
    """Return the stack's objects on the engine and ids of ``wanted`` images, as plain values that differ once one is
    touched."""
    filters = labels.filters(identity.backend_id(), stack)
    # A suite that runs in the network comes and goes, and is no part of it.
    listed = [item for item in client.api.containers(all=True, filters=filters) if labels.RUNNER not in item["Labels"]]
    containers = pool.map(client.api.inspect_container, [item["Id"] for item in listed])
    volumes = client.api.volumes(filters=filters)["Volumes"] or ()
    return {
        "containers": {each["Id"]: _touched(each) for each in containers},
        "images": dict(zip(wanted, pool.map(lambda each: _image_id(client, each), wanted), strict=True)),
        "networks": sorted(item["Id"] for item in client.api.networks(filters=filters)),
        "volumes": {item["Name"]: item["CreatedAt"] for item in volumes if labels.RUNNER not in item["Labels"]},
    }


def _touched(container: Mapping[str, Any]) -> list[Any]:
    """Return a container's current life, of which every start and every end makes another one, its name, and its
    aliases in each network."""
    life = [container["State"][field] for field in ("Status", "StartedAt", "FinishedAt", "ExitCode")]
    networks = container["NetworkSettings"]["Networks"] or {}
    reached = {name: [each["NetworkID"], sorted(each["Aliases"] or ())] for name, each in networks.items()}
    return [*life, container["Name"], reached]


def _image_id(client: DockerClient, reference: str) -> str:
    try:
        return str(client.api.inspect_image(reference)["Id"])
    except NotFound:
        return ""


def _answers(client: DockerClient, stack: str, name: str, service: ServiceOutputs) -> bool:
    """Return whether the gate of a service would open now, given that its container is unchanged."""
    exit_code = 0 if from_description(service.readiness).finishes else None
    return ServiceHandle(client, stack, name, service).answers(exit_code)


def _askable(service: ServiceOutputs) -> bool:
    """Return whether the outputs describe its probe in full: a class of the project's own has to be imported."""
    return bool(describe(from_description(service.readiness))["type"] == service.readiness.get("type"))


def _uncovered(resources: Iterable[Resource]) -> list[str]:
    """Return a line for each resource that can change unseen."""
    found = []
    for resource in resources:
        if not resource.get("custom"):
            continue
        inputs = {key for key, value in (resource.get("inputs") or {}).items() if value}
        own = resource["type"].startswith("pulumi:providers:") and inputs - {"__internal", "version"}
        if resource["type"] not in _COVERED or resource.get("external") or own or inputs & _READING:
            found.append(f"{resource['urn'].rpartition('::')[2]} is a resource that is looked at by the engine alone")
    return found


def _hidden(value: Any, written: Any, derived: Mapping[str, Any]) -> Any:
    """Return ``value`` with each part that is encrypted in ``written``, its form in the state, as a reference to its
    service and purpose in ``derived``; raise ``KeyError`` for one that is not there."""
    if state.is_encrypted(written):
        return {_REFERENCE: derived[str(value)]}
    if isinstance(value, Mapping) and isinstance(written, Mapping):
        return {key: _hidden(part, written.get(key), derived) for key, part in value.items()}
    if isinstance(value, list | tuple) and isinstance(written, list):
        return [_hidden(part, other, derived) for part, other in zip(value, written, strict=True)]
    return value


def _has(document: Mapping[str, Any], field: str) -> bool:
    return document.get(documents.SCHEMA) == _SCHEMA and field in document


def _path(stack: str) -> Path:
    return state_dir() / "known" / f"{stack}.json"
