"""Reset instead of rebuild: the data of an environment as it was when the environment became ready.

What each component's implementation (:mod:`ephemera.contract.data`) remembered is kept in one file of the stack, mode
0600, beside the lock by which those who use the data and those who reset it keep out of each other's way. Both go with
the stack.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException

from ephemera.contract import labels
from ephemera.contract.catalog import find_system
from ephemera.contract.data import Data, DatabaseData, Databases, DataError, load_data
from ephemera.contract.errors import EphemeraError, InputError
from ephemera.contract.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.contract.progress import Event
from ephemera.contract.system import put_on_path
from ephemera.driver import placement
from ephemera.driver.services import ServiceHandle, containers, missing, refuse_missing
from ephemera.driver.workspace import Workspace
from ephemera.home import documents, leases, scratch
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.engine import connected

_REMEDY_ANEW = "take the environment down and bring it up again"
_REMEDY_REMEMBER = "`ephemera reset --remember` takes the state that it has now for the one to come back to"


@dataclass(frozen=True, kw_only=True)
class Restored:
    """``did``: what it took, in the words of the component."""

    service: str
    seconds: float
    did: str


@dataclass(frozen=True, kw_only=True)
class Remembered:
    """Of one service: the container it was in, what its implementation gave, or why nothing could be remembered."""

    container: str
    given: str = ""
    problem: str = ""


def remember_ready(
    workspace: Workspace, outputs: EnvironmentOutputs, report: Callable[[Event], None], *, again: bool = False
) -> None:
    """Remember the data of an environment that has become ready; when it is still made of the same containers as the
    last time, only if it is to be done ``again``.

    What cannot be remembered fails nothing: it is told, and told again when somebody wants it back.
    """
    if not _with_data(outputs):
        return
    with connected() as client:
        made_of = _made_of(client, outputs.stack)
        if again or _read(outputs.stack).get("ready") != _ready(outputs, made_of):
            for name, known in _remember(client, workspace, outputs, made_of).items():
                if known.problem:
                    report({"type": "notice", "message": f"{name} cannot be reset: {known.problem}"})


@contextmanager
def remembering(
    workspace: Workspace, report: Callable[[Event], None]
) -> Iterator[Callable[[EnvironmentOutputs], object]]:
    """What to call with the outputs of an environment that is ready: its data is remembered beside whatever the block
    does after that, and is so when the block is left."""
    begun: list[Future[None]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="remember") as pool:
        yield lambda outputs: begun.append(pool.submit(remember_ready, workspace, outputs, report))
        for each in begun:
            each.result()


def remember(workspace: Workspace, outputs: EnvironmentOutputs) -> list[str]:
    """Take the state that the data has now for the one to come back to; names of the services that have data.

    Raises :class:`DataError` where that cannot be, and :class:`NotReadyError` for a service without its container.
    """
    with placement.connected(workspace, outputs.stack) as client:
        _refuse_incomplete(client, workspace, outputs, ())
        found = _remember(client, workspace, outputs, _made_of(client, outputs.stack))
    for name, known in found.items():
        if known.problem:
            raise DataError(f"{name} cannot be reset: {known.problem}", remedy=_REMEDY_ANEW)
    return list(found)


def reset(workspace: Workspace, outputs: EnvironmentOutputs, only: Collection[str] = ()) -> list[Restored]:
    """Bring the data of all services, or of ``only`` these, back to the state that was remembered.

    Raises, with nothing changed, :class:`InputError` where one has data that nothing can bring back, or that was not
    remembered, and :class:`NotReadyError` for one without its container; :class:`DataError` when one of them could not
    be brought back, whatever became of the others.
    """
    for name in only:
        outputs.service(name)
    with placement.connected(workspace, outputs.stack) as client:
        _refuse_incomplete(client, workspace, outputs, only)
        _refuse_unprotected(client, outputs, only)
        wanted = {name: each for name, each in _with_data(outputs).items() if not only or name in only}
        known = {name: _known(client, outputs.stack, name) for name in wanted}

        def restore(name: str) -> Restored:
            started = clock.monotonic()
            handle = _Handle(client, outputs.stack, name, wanted[name], known[name].container)
            did = _data(workspace, wanted[name]).restore(handle, known[name].given)
            return Restored(service=name, seconds=clock.monotonic() - started, did=did)

        return list(_at_once(restore, wanted).values())


@contextmanager
def databases(workspace: Workspace, outputs: EnvironmentOutputs, service: str) -> Iterator[Databases]:
    """Databases of the service with the data that was remembered; what is left of them is dropped at the end."""
    described = outputs.service(service)
    data = _data(workspace, described) if described.data else None
    if not isinstance(data, DatabaseData):
        raise InputError(f"service {service!r} makes no databases", remedy="name one of PostgreSQL, say")
    with connected() as client:
        known = _known(client, outputs.stack, service)
        with _locked(outputs.stack, "template", fcntl.LOCK_EX):  # of several processes, one makes the template
            made = data.databases(_Handle(client, outputs.stack, service, described, known.container))
        try:
            yield made
        finally:
            made.close()


@contextmanager
def using(stack: str) -> Iterator[None]:
    """Use the data: nobody resets it meanwhile. Waits while it is being reset, or whoever reset it has it alone."""
    with ExitStack() as held:
        with _locked(stack, "turn", fcntl.LOCK_EX):
            held.enter_context(_locked(stack, "data", fcntl.LOCK_SH))
        yield


@contextmanager
def alone(stack: str, *, wait: bool = True) -> Iterator[None]:
    """Have the data alone, to reset it and to go on with it. Waits for those who use it; those who come later wait for
    this one. Without ``wait``: :class:`InputError` while anybody uses it."""
    with _locked(stack, "turn", fcntl.LOCK_EX, wait=wait), _locked(stack, "data", fcntl.LOCK_EX, wait=wait):
        yield


class _Handle(ServiceHandle):
    """A service in a container that is known: nobody has to be asked for each command."""

    def __init__(self, client: DockerClient, stack: str, name: str, outputs: ServiceOutputs, container: str) -> None:
        super().__init__(client, stack, name, outputs)
        self._container = container

    @property
    def container(self) -> str:
        return self._container


def _remember(
    client: DockerClient, workspace: Workspace, outputs: EnvironmentOutputs, made_of: dict[str, str]
) -> dict[str, Remembered]:
    services = _with_data(outputs)

    def one(name: str) -> Remembered:
        container = made_of.get(name, "")
        try:
            handle = _Handle(client, outputs.stack, name, services[name], container)
            return Remembered(container=container, given=_data(workspace, services[name]).remember(handle))
        except (EphemeraError, DockerException, OSError) as error:
            return Remembered(container=container, problem=str(error))

    found = _at_once(one, services)
    kept = {name: vars(known) for name, known in found.items()}
    _write(outputs.stack, {"ready": _ready(outputs, made_of), "services": kept})
    return found


def _known(client: DockerClient, stack: str, name: str) -> Remembered:
    found = _read(stack).get("services", {}).get(name)
    if found is None:
        raise InputError(f"the data of {name!r} in {stack} was not remembered", remedy=_REMEDY_REMEMBER)
    known = _remembered(found)
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


def _refuse_incomplete(
    client: DockerClient, workspace: Workspace, outputs: EnvironmentOutputs, only: Collection[str]
) -> None:
    # What a service keeps is known by the mounts of its container: without it, there would seem to be nothing.
    asked = {name: service for name, service in outputs.services.items() if not only or name in only}
    found = containers(client, outputs.stack)
    system = find_system(workspace.catalog, outputs.system)
    refuse_missing(found, outputs.model_copy(update={"services": asked}), system)


def _refuse_unprotected(client: DockerClient, outputs: EnvironmentOutputs, only: Collection[str]) -> None:
    found = []
    for item in containers(client, outputs.stack):
        name = item["Labels"].get(labels.SERVICE, "")
        volumes = [mount["Name"] for mount in item["Mounts"] if mount["Type"] == "volume"]
        if volumes and name in outputs.services and not outputs.services[name].data and (not only or name in only):
            found.append(f"{name!r} (volume {volumes[0]})")
    if found:
        raise InputError(
            f"nothing can bring the data of {', '.join(found)} back",
            remedy="give its Container `data`, NO_DATA where it does not matter; or reset others with --only",
        )


def _data(workspace: Workspace, service: ServiceOutputs) -> Data:
    put_on_path(workspace.project)
    return load_data(service.data)


def _ready(outputs: EnvironmentOutputs, made_of: Mapping[str, str]) -> dict[str, list[str]]:
    """What tells one ready state from another: the containers, and who is to bring their data back."""
    return {name: [made_of.get(name, ""), service.data] for name, service in outputs.services.items()}


def _with_data(outputs: EnvironmentOutputs) -> dict[str, ServiceOutputs]:
    return {name: service for name, service in outputs.services.items() if service.data}


def _made_of(client: DockerClient, stack: str) -> dict[str, str]:
    """Container of each service."""
    return {item["Labels"].get(labels.SERVICE, ""): item["Id"] for item in containers(client, stack)}


def _at_once(work: Callable[[str], Any], names: Collection[str]) -> dict[str, Any]:
    """``work`` of each name, side by side; raises the first error when all of them have ended."""
    if not names:
        return {}
    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(work, names), strict=True))


def _folder(stack: str) -> Path:
    # Of the files that are kept for a stack, those beneath here go with it, however it ends.
    return state_dir() / "scratch" / stack / "data"


def _read(stack: str) -> dict[str, Any]:
    return documents.read(_folder(stack) / "remembered.json", _checked) or {}


def _checked(document: dict[str, Any]) -> dict[str, Any]:
    for found in document.get("services", {}).values():
        _remembered(found)
    return document


def _remembered(found: Mapping[str, Any]) -> Remembered:
    known = Remembered(**{key: found[key] for key in ("container", "given", "problem") if key in found})
    if not all(isinstance(text, str) for text in vars(known).values()):
        raise TypeError("what was remembered is no text")
    return known


def _write(stack: str, document: Mapping[str, Any]) -> None:
    documents.write_whole(_folder(stack) / "remembered.json", json.dumps(document))


@contextmanager
def _locked(stack: str, what: str, kind: int, *, wait: bool = True) -> Iterator[None]:
    """The kernel's lock on a file of the stack: who waits is woken, and a dead holder's is free."""
    folder = _folder(stack)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / f"{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"tests are using the data of {stack}",
                remedy="try again when they have ended",
            ) from None
        yield
    finally:
        os.close(descriptor)
        if leases.read(stack) is None:  # it was taken down meanwhile
            scratch.remove(stack)
