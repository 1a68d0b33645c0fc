"""Reset instead of rebuild: an environment's data as it was when the environment became ready.

Each component's implementation (:mod:`ephemera.model.data`) returns a memory of its data. These are kept in one file
of the stack, mode 0600, beside the locks that keep users of the data and resets apart. All of it goes with the stack.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from docker import DockerClient
from docker.errors import DockerException
from pydantic import TypeAdapter

from ephemera.docker.connection import connected
from ephemera.docker.services import ServiceHandle, containers, missing, refuse_missing
from ephemera.home import documents, leases, scratch
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.lifecycle import placement
from ephemera.model import labels
from ephemera.model.catalog import find_system
from ephemera.model.data import Data, DatabaseData, Databases, DataError, load_data
from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.model.progress import Event
from ephemera.model.system import put_on_path
from ephemera.pulumi.workspace import Workspace

_T = TypeVar("_T")
_REMEDY_ANEW = "take the environment down and bring it up again"
_REMEDY_REMEMBER = "`ephemera reset --remember` saves the current data as the reset point"


@dataclass(frozen=True, kw_only=True)
class Restored:
    """``did``: what it took, in the words of the component."""

    service: str
    seconds: float
    did: str


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Of one service: the container it was in, what its implementation gave, or why it could not be remembered."""

    container: str
    given: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """``ready``: by service, its container and the implementation; another ready state differs in one of them."""

    ready: dict[str, list[str]] = field(default_factory=dict)
    services: dict[str, Remembered] = field(default_factory=dict)


_MEMORY = TypeAdapter(_Memory)


def remember_ready(
    workspace: Workspace, outputs: EnvironmentOutputs, report: Callable[[Event], None], *, again: bool = False
) -> None:
    """Remember the data of an environment that has become ready; ``again``: also if it was remembered already, of the
    same containers.

    What cannot be remembered is reported, and refused when it is to be reset.
    """
    if not _with_data(outputs):
        return
    with connected() as client:
        made_of = _made_of(client, outputs.stack)
        if again or _read(outputs.stack).ready != _ready(outputs, made_of):
            for name, known in _remember(client, workspace, outputs, made_of).items():
                if known.problem:
                    report({"type": "notice", "message": f"{name} cannot be reset: {known.problem}"})


@contextmanager
def remembering(
    workspace: Workspace, report: Callable[[Event], None]
) -> Iterator[Callable[[EnvironmentOutputs], object]]:
    """Yield a function to call with the outputs of a ready environment: its data is remembered while the block goes on,
    and has been when the block is left."""
    begun: list[Future[None]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="remember") as pool:
        yield lambda outputs: begun.append(pool.submit(remember_ready, workspace, outputs, report))
        for each in begun:
            each.result()


def remember(workspace: Workspace, outputs: EnvironmentOutputs) -> list[str]:
    """Save the current data as the reset point; return the names of the services that have data.

    Raises :class:`DataError` where that fails, and :class:`NotReadyError` for a service without its container.
    """
    with placement.connected(workspace, outputs.stack) as client:
        found = containers(client, outputs.stack)
        refuse_missing(found, outputs, find_system(workspace.catalog, outputs.system))
        remembered = _remember(client, workspace, outputs, _made_of(client, outputs.stack))
    for name, known in remembered.items():
        if known.problem:
            raise DataError(f"{name} cannot be reset: {known.problem}", remedy=_REMEDY_ANEW)
    return list(remembered)


def reset(workspace: Workspace, outputs: EnvironmentOutputs, only: Collection[str] = ()) -> list[Restored]:
    """Bring the data of all services, or of ``only`` these, back to the reset point.

    Raises, with nothing changed, :class:`InputError` for data that nothing can bring back or that was not remembered,
    and :class:`NotReadyError` for a service without its container; :class:`DataError` if one could not be brought back,
    after the others.
    """
    for name in only:
        outputs.service(name)
    asked = outputs
    if only:
        asked = outputs.model_copy(update={"services": {name: outputs.services[name] for name in only}})
    with placement.connected(workspace, outputs.stack) as client:
        found = containers(client, outputs.stack)
        # Volumes are known by the mounts of a container: without it, there would seem to be none.
        refuse_missing(found, asked, find_system(workspace.catalog, outputs.system))
        _refuse_unprotected(found, asked)
        wanted = _with_data(asked)
        known = {name: _known(client, outputs.stack, name) for name in wanted}

        def restore(name: str) -> Restored:
            started = clock.monotonic()
            handle = ServiceHandle(client, outputs.stack, name, wanted[name], known[name].container)
            did = _data(workspace, wanted[name]).restore(handle, known[name].given)
            return Restored(service=name, seconds=clock.monotonic() - started, did=did)

        return list(_at_once(restore, wanted).values())


@contextmanager
def databases(workspace: Workspace, outputs: EnvironmentOutputs, service: str) -> Iterator[Databases]:
    """Yield databases of the service with the data of the reset point; drop what is left of them at the end."""
    described = outputs.service(service)
    data = _data(workspace, described) if described.data else None
    if not isinstance(data, DatabaseData):
        raise InputError(f"service {service!r} makes no databases", remedy="name one of PostgreSQL, say")
    with connected() as client:
        known = _known(client, outputs.stack, service)
        with _locked(outputs.stack, "template"):  # of several processes, one makes the template
            made = data.databases(ServiceHandle(client, outputs.stack, service, described, known.container))
        try:
            yield made
        finally:
            made.close()


@contextmanager
def using(stack: str) -> Iterator[None]:
    """Use the data: it is not reset meanwhile. Wait while another process resets it, or has it alone."""
    with ExitStack() as held:
        with _locked(stack, "turn"):
            held.enter_context(_locked(stack, "data", shared=True))
        yield


@contextmanager
def alone(stack: str, *, wait: bool = True) -> Iterator[None]:
    """Have the data alone, to reset it and to go on with it: wait for its users; later ones wait for this one.

    Without ``wait``, raise :class:`InputError` while it is used.
    """
    with _locked(stack, "turn", wait=wait), _locked(stack, "data", wait=wait):
        yield


@contextmanager
def _locked(stack: str, what: str, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    with ExitStack() as held:
        held.callback(_tidy, stack)
        path = _folder(stack) / f"{what}.lock"
        try:
            held.enter_context(locked(path, shared=shared, timeout_seconds=None if wait else 0.0))
        except LockTimeoutError:
            raise InputError(f"tests are using the data of {stack}", remedy="try again when they have ended") from None
        yield


def _tidy(stack: str) -> None:
    if leases.read(stack) is None:  # it was taken down meanwhile
        scratch.remove(stack)


def _remember(
    client: DockerClient, workspace: Workspace, outputs: EnvironmentOutputs, made_of: dict[str, str]
) -> dict[str, Remembered]:
    services = _with_data(outputs)

    def one(name: str) -> Remembered:
        container = made_of.get(name, "")
        try:
            handle = ServiceHandle(client, outputs.stack, name, services[name], container)
            return Remembered(container=container, given=_data(workspace, services[name]).remember(handle))
        except (EphemeraError, DockerException, OSError) as error:
            return Remembered(container=container, problem=str(error))

    memory = _Memory(ready=_ready(outputs, made_of), services=_at_once(one, services))
    documents.write_whole(_file(outputs.stack), _MEMORY.dump_json(memory).decode())
    return memory.services


def _known(client: DockerClient, stack: str, name: str) -> Remembered:
    known = _read(stack).services.get(name)
    if known is None:
        raise InputError(f"the data of {name!r} in {stack} was not remembered", remedy=_REMEDY_REMEMBER)
    if known.problem:
        raise InputError(f"{name} cannot be reset: {known.problem}", remedy=_REMEDY_ANEW)
    current = _made_of(client, stack).get(name)
    if current is None:
        raise missing(stack, [name])
    if current != known.container:
        raise InputError(
            f"{name!r} in {stack} is another container than the one whose data was remembered", remedy=_REMEDY_REMEMBER
        )
    return known


def _refuse_unprotected(found: Iterable[dict[str, Any]], outputs: EnvironmentOutputs) -> None:
    lost = []
    for item in found:
        name = item["Labels"].get(labels.SERVICE, "")
        volumes = [mount["Name"] for mount in item["Mounts"] if mount["Type"] == "volume"]
        if volumes and name in outputs.services and not outputs.services[name].data:
            lost.append(f"{name!r} (volume {volumes[0]})")
    if lost:
        raise InputError(
            f"nothing can bring the data of {', '.join(lost)} back",
            remedy="give its Container `data`, NO_DATA where it does not matter; or reset others with --only",
        )


def _data(workspace: Workspace, service: ServiceOutputs) -> Data:
    put_on_path(workspace.project)
    return load_data(service.data)


def _ready(outputs: EnvironmentOutputs, made_of: Mapping[str, str]) -> dict[str, list[str]]:
    return {name: [made_of.get(name, ""), service.data] for name, service in outputs.services.items()}


def _with_data(outputs: EnvironmentOutputs) -> dict[str, ServiceOutputs]:
    return {name: service for name, service in outputs.services.items() if service.data}


def _made_of(client: DockerClient, stack: str) -> dict[str, str]:
    """Return the container's id of each service."""
    return {item["Labels"].get(labels.SERVICE, ""): item["Id"] for item in containers(client, stack)}


def _at_once(work: Callable[[str], _T], names: Collection[str]) -> dict[str, _T]:
    """Call ``work`` with each name, side by side; when all have ended, raise the first error."""
    with ThreadPoolExecutor(len(names) or 1) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


def _read(stack: str) -> _Memory:
    return documents.read(_file(stack), lambda document: _MEMORY.validate_json(json.dumps(document))) or _Memory()


def _file(stack: str) -> Path:
    return _folder(stack) / "remembered.json"


def _folder(stack: str) -> Path:
    # Of the files that are kept for a stack, those beneath here go with it, however it ends.
    return state_dir() / "scratch" / stack / "data"
