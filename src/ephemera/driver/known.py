"""What is remembered of an environment that became ready, so that an unchanged one needs no run of the engine.

``$XDG_STATE_HOME/ephemera/known/<stack>.json``, mode 0600: its definition (:mod:`ephemera.driver.definition`), a stamp
of its state, what the engine held of it, and its outputs. Generated credentials stand there as service and purpose,
from which they are derived again. What cannot be known for sure is not remembered; the file then says why.

It counts as unchanged when all of that is so: same definition, state untouched, nothing but its own objects there,
every container the one that became ready and running since then, and every probe answered now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException, NotFound
from requests.exceptions import RequestException

from ephemera.contract import labels
from ephemera.contract.catalog import Manifest
from ephemera.contract.errors import EphemeraError
from ephemera.contract.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.contract.progress import Event
from ephemera.contract.redaction import PUBLIC_PURPOSES
from ephemera.contract.settings import Settings
from ephemera.driver import definition, state
from ephemera.driver.definition import Definition, Stamp, UnknownFilesError
from ephemera.driver.services import ServiceHandle
from ephemera.driver.state import Resource
from ephemera.driver.workspace import Workspace
from ephemera.home import credentials, documents, identity
from ephemera.home.documents import DiskError
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.engine import connected
from ephemera.host.files import text_of
from ephemera.host.fingerprint import Fingerprint
from ephemera.host.probes import describe, from_description

_SCHEMA = 2
_REFERENCE = "ephemera:credential"
_THREADS = 16
# Resources that labels tell of, and that nothing but the program decides.
_COVERED = (state.CONTAINER, state.NETWORK, state.IMAGE, state.VOLUME, state.PROVIDER)
# Inputs for which the plugin reads files of its own accord.
_READING = frozenset(("build", "uploads"))
_TROUBLE = (EphemeraError, DockerException, RequestException, OSError)


@dataclass(frozen=True, kw_only=True)
class Known:
    """``state``: of the state's file. ``objects``: what the engine held, with marks that change when anybody touches
    it. ``outputs``: the document, credentials as references; ``mark``: proves that they are derived from this key."""

    definition: Definition
    state: Stamp
    objects: Mapping[str, Any]
    outputs: Mapping[str, Any]
    mark: str


class Listener:
    """Passes events on, all but the program's account of what it read, which it keeps."""

    def __init__(self, report: Callable[[Event], None]) -> None:
        self._report = report
        self.reads: Mapping[str, Any] | None = None

    def __call__(self, event: Event) -> None:
        if event["type"] == "reads":
            self.reads = event
        else:
            self._report(event)


@contextmanager
def remembering(
    workspace: Workspace, stack: str, system: Manifest, settings: Settings, report: Callable[[Event], None]
) -> Iterator[tuple[Listener, Callable[[EnvironmentOutputs], None]]]:
    """Yield a listener for the events of an engine's run, and a function to call with the outputs when it is ready.

    What was known before is forgotten. Failing to remember is no error.
    """
    forget(stack)
    started = clock.now_ns()
    before = definition.config_digest(workspace, stack)
    listener = Listener(report)

    def ready(outputs: EnvironmentOutputs) -> None:
        try:
            doubt, known = _known(workspace, stack, system, settings, listener.reads, outputs, before, started)
        except (*_TROUBLE, UnknownFilesError) as error:
            doubt, known = str(error), None
        _write(stack, {"schema": _SCHEMA, "doubt": doubt, "known": asdict(known) if known else None})

    yield listener, ready


def unchanged(workspace: Workspace, stack: str, system: Manifest, settings: Settings) -> EnvironmentOutputs | None:
    """Return the outputs if ``pulumi up`` would be a no-op and every gate would open; else, or in any doubt, None."""
    known = read(stack)
    if known is None or not definition.same_variables(known.definition):
        return None
    if why_not(known, workspace, stack, system, settings):
        return None
    return shown(stack, known)


def why_not(
    known: Known, workspace: Workspace, stack: str, system: Manifest, settings: Settings, *, any_branch: bool = False
) -> str:
    """Return why the environment may not be as it is known, in a few words; an empty text when it is.

    ``any_branch``: it may be one of another branch, with the same definition otherwise.
    """
    try:
        return (
            ("its state was changed" if not _state_is(workspace, stack, known) else "")
            or ("an engine is at work on it" if workspace.locks(stack) else "")
            or definition.difference(known.definition, workspace, stack, settings, any_branch=any_branch)
            or _unlike(known, stack, definition.references(system, settings))
        )
    except _TROUBLE as error:
        return str(error)


def outputs(workspace: Workspace, stack: str) -> EnvironmentOutputs | None:
    """Return the outputs if the state is unchanged since they were remembered, else None."""
    known = read(stack)
    return shown(stack, known) if known is not None and _state_is(workspace, stack, known) else None


def read(stack: str) -> Known | None:
    """Return what is known of the stack; None if the file is missing, or not as this version writes it."""
    document = _document(stack)
    try:
        found = document["known"]
        files = Fingerprint(**found["definition"]["files"])
        known = Known(**{**found, "definition": Definition(**{**found["definition"], "files": files})})
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    return known if known.mark == _mark(stack) else None


def doubt(stack: str) -> str:
    """Return why the environment was not remembered; an empty text if it was, or has not become ready."""
    return str(_document(stack).get("doubt") or "")


def shown(stack: str, known: Known) -> EnvironmentOutputs:
    """Return the outputs that are known, with their credentials."""

    def show(value: Any) -> Any:
        if isinstance(value, Mapping):
            if _REFERENCE in value:
                return credentials.credential(stack, *value[_REFERENCE])
            return {key: show(part) for key, part in value.items()}
        return [show(part) for part in value] if isinstance(value, list) else value

    return EnvironmentOutputs.parse(show(known.outputs))


def forget(stack: str) -> None:
    """Drop what is known of the stack."""
    documents.remove(_path(stack))


def _known(
    workspace: Workspace,
    stack: str,
    system: Manifest,
    settings: Settings,
    reads: Mapping[str, Any] | None,
    outputs: EnvironmentOutputs,
    config_before: str,
    started: int,
) -> tuple[str, Known | None]:
    if reads is None:
        return "the program did not say what it read", None
    stamp = definition.stamp(workspace.state_file(stack))
    resources = state.resources(workspace, stack)
    hidden = _hidden(stack, outputs.document(show_secrets=True), reads["credentials"])
    doubts = [f"the program {doubt}" for doubt in reads["doubts"]]
    doubts += _uncovered(resources)
    doubts += [f"{name} has a probe of its own" for name, each in outputs.services.items() if not _askable(each)]
    doubts += [] if hidden is not None else ["its outputs hold a secret that is not generated"]
    defined = definition.define(workspace, stack, settings, reads["paths"], started)
    doubts += [] if defined.config == config_before else ["its config was written meanwhile"]
    wanted = definition.references(system, settings)
    doubts += [f"{image} is made from something else by now" for image in _images(resources) - set(wanted)]
    if doubts or stamp is None or hidden is None:
        return "; ".join(doubts) or "it has no state", None
    with connected() as client, ThreadPoolExecutor(_THREADS) as pool:
        known = Known(
            definition=replace(defined, images=dict(zip(wanted, pool.map(_image_id(client), wanted), strict=True))),
            state=stamp,
            objects=_objects(client, pool, stack),
            outputs=hidden,
            mark=_mark(stack),
        )
    return "", known


def _unlike(known: Known, stack: str, wanted: Iterable[str]) -> str:
    """Return what differs on the Docker engine, or which service does not answer."""
    if sorted(known.definition.images) != sorted(wanted):
        return "its images are made from something else by now"
    outputs = shown(stack, known)
    with connected() as client, ThreadPoolExecutor(_THREADS) as pool:
        ids = {reference: pool.submit(_image_id(client), reference) for reference in known.definition.images}
        answers = {
            name: pool.submit(_answers, client, stack, name, service) for name, service in outputs.services.items()
        }
        if _objects(client, pool, stack) != known.objects:
            return "its containers, networks or volumes are not as they were"
        if {reference: found.result() for reference, found in ids.items()} != known.definition.images:
            return "its images were made anew"
        silent = [name for name, answer in answers.items() if not answer.result()]
        return f"{', '.join(silent)} does not answer" if silent else ""


def _objects(client: DockerClient, pool: ThreadPoolExecutor, stack: str) -> dict[str, Any]:
    """Return the stack's objects on the engine, as plain values that differ once any of them was touched."""
    filters = labels.filters(identity.backend_id(), stack)
    networks = pool.submit(client.api.networks, filters=filters)
    volumes = pool.submit(client.api.volumes, filters=filters)
    listed = client.api.containers(all=True, filters=filters)
    # A suite that runs in the network comes and goes, and is no part of it.
    found = [item["Id"] for item in listed if labels.RUNNER not in item["Labels"]]
    documents = pool.map(client.api.inspect_container, found)
    return {
        "containers": {
            container: [*_life(document["State"]), *_place(document)]
            for container, document in zip(found, documents, strict=True)
        },
        "networks": sorted(item["Id"] for item in networks.result()),
        "volumes": {
            item["Name"]: item["CreatedAt"]
            for item in volumes.result()["Volumes"] or ()
            if labels.RUNNER not in item["Labels"]
        },
    }


def _life(state: Mapping[str, Any]) -> list[Any]:
    """Return the container's current life: every start and every end makes another one."""
    return [state["Status"], state["StartedAt"], None if state["Running"] else [state["FinishedAt"], state["ExitCode"]]]


def _place(document: Mapping[str, Any]) -> list[Any]:
    """Return the container's name, and its aliases in each network."""
    networks = document["NetworkSettings"]["Networks"] or {}
    reached = {name: [each["NetworkID"], sorted(each["Aliases"] or ())] for name, each in networks.items()}
    return [document["Name"], reached]


def _image_id(client: DockerClient) -> Callable[[str], str]:
    def ask(reference: str) -> str:
        try:
            return str(client.api.inspect_image(reference)["Id"])
        except NotFound:
            return ""

    return ask


def _answers(client: DockerClient, stack: str, name: str, service: ServiceOutputs) -> bool:
    """Return whether the service's gate would open now."""
    ended = None
    if from_description(service.readiness).finishes:
        state = client.api.inspect_container(service.container)["State"]
        ended = None if state["Running"] else state["ExitCode"]
    return ServiceHandle(client, stack, name, service).answers(ended)


def _askable(service: ServiceOutputs) -> bool:
    """Return whether the outputs describe its probe in full; a class of the project's own is only named."""
    return bool(describe(from_description(service.readiness))["type"] == service.readiness.get("type"))


def _images(resources: Iterable[Resource]) -> set[str]:
    """Return the references of the images that the run used."""
    return {str(resource["inputs"].get("name")) for resource in resources if resource["type"] == state.IMAGE}


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


def _hidden(stack: str, document: Mapping[str, Any], made: Iterable[tuple[str, str]]) -> dict[str, Any] | None:
    """Return the outputs with each generated credential as a reference; None if one is part of another value, or if
    another value is secret."""
    values = {credentials.credential(stack, service, purpose): [service, purpose] for service, purpose in made}

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            if value in values:
                return {_REFERENCE: values[value]}
            if any(secret in value for secret in values):
                raise ValueError
            return value
        if isinstance(value, Mapping):
            return {key: hide(part) for key, part in value.items()}
        return [hide(part) for part in value] if isinstance(value, list | tuple) else value

    try:
        hidden: dict[str, Any] = hide(document)
    except ValueError:
        return None
    given = [pair for service in hidden["services"].values() for pair in service["credentials"].items()]
    return None if any(isinstance(value, str) and key not in PUBLIC_PURPOSES for key, value in given) else hidden


def _state_is(workspace: Workspace, stack: str, known: Known) -> bool:
    return definition.stamp(workspace.state_file(stack)) == known.state


def _mark(stack: str) -> str:
    """Return a mark of the user's key, which may have been replaced."""
    return credentials.credential(stack, "", "known")


def _document(stack: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text_of(_path(stack)))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) and document.get("schema") == _SCHEMA else {}


def _write(stack: str, document: Mapping[str, Any]) -> None:
    with suppress(DiskError):  # then nothing is known
        documents.write_whole(_path(stack), json.dumps(document))


def _path(stack: str) -> Path:
    return state_dir() / "known" / f"{stack}.json"
