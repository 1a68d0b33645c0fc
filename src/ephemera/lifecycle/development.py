"""Development mode: which services a changed file belongs to, and bringing the change to life."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError

from ephemera.docker.mounts import mounted
from ephemera.docker.services import ServiceHandle
from ephemera.host.deadline import turns
from ephemera.images.context import files
from ephemera.model.catalog import Manifest, Source
from ephemera.model.errors import InputError, NotReadyError
from ephemera.model.images import ServiceImage
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.settings import Settings

_INTERVAL_SECONDS = 0.03
# Enough for a server that stops when asked; short, since one with open connections may not.
_GRACE_SECONDS = 1
# Between the end of a process that was reloaded and the start of the next one.
_SUCCESSION_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Reload:
    """The outcome of one service's reload: ``problem`` is empty when the change is live; ``superseded``: another change
    came first."""

    service: str
    seconds: float
    problem: str = ""
    superseded: bool = False

    @property
    def live(self) -> bool:
        """Whether the service answers, with the change."""
        return not self.problem and not self.superseded


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What is watched for an environment in development mode. ``mounts``: sources, by service; ``builds``: images that
    are made of files which are not mounted; ``suite``: folder of tests, None when they are not run."""

    mounts: Mapping[str, Source]
    builds: Sequence[ServiceImage]
    suite: Path | None

    @staticmethod
    def of(system: Manifest, settings: Settings, suite: Path | None) -> Sources:
        """Return those of the services to start."""
        builds = tuple(image for image in system.images if isinstance(image, ServiceImage))
        return Sources(mounts=mounted(system, settings), builds=builds, suite=suite)

    @property
    def trees(self) -> set[Path]:
        """Folders whose files are watched, with all that is below."""
        return {source.path for source in self.mounts.values()} | ({self.suite} if self.suite else set())

    @property
    def folders(self) -> set[Path]:
        """Folders of files that only a build brings to life."""
        return {
            folder for image in self.builds for folder in (image.context, (image.context / image.dockerfile).parent)
        }

    def changed(self, files: Iterable[Path]) -> dict[str, list[str]]:
        """Return the services whose code is among ``files``, each with the files' paths in its folder."""
        found = {
            service: sorted(str(file.relative_to(source.path)) for file in files if source.uses(file))
            for service, source in self.mounts.items()
        }
        return {service: names for service, names in found.items() if names}

    def tests_changed(self, files: Iterable[Path]) -> bool:
        """Return whether a file of the suite is among them."""
        return self.suite is not None and any(file.is_relative_to(self.suite) for file in files)

    def to_build(self, files: Iterable[Path]) -> dict[str, list[str]]:
        """Return the images, by name, that hold some of the files, which nothing mounts."""
        trees, recipes = self.trees, {image.context / image.dockerfile for image in self.builds}
        loose = [file for file in files if file in recipes or not any(file.is_relative_to(tree) for tree in trees)]
        found: dict[str, list[str]] = {}
        for image in self.builds if loose else ():
            made_of = {image.context / name for name in _made_of(image)}
            if names := sorted(str(file.relative_to(image.context)) for file in loose if file in made_of):
                found[image.name] = names
        return found


class Reloader:
    """Brings changes of an environment's services to life. ``superseded``: whether another change waits already."""

    def __init__(
        self,
        client: DockerClient,
        outputs: EnvironmentOutputs,
        system: Manifest,
        mounts: Mapping[str, Source],
        superseded: Callable[[], bool],
    ) -> None:
        self._system = system
        self._superseded = superseded
        self._handles = {
            service: handle
            for service in mounts
            if not (handle := ServiceHandle(client, outputs.stack, service, outputs.service(service))).probe.finishes
        }
        self._cancelled = False
        # Of those that reload themselves, the processes that were there when the last change was live.
        self._processes = {
            service: _processes(handle)
            for service, handle in self._handles.items()
            if mounts[service].reload == "command"
        }

    def reload(
        self, services: Iterable[str], tell: Callable[[Reload], None], timeout_seconds: float = 30.0
    ) -> list[Reload]:
        """Have these services run what their folders hold now, all at once; return when each is live, has failed, or
        another change came. Threads call ``tell`` with each outcome as soon as it is known. One-shots have done their
        work, and are left alone.

        One that fails while services that it requires come up is started once more when those are there.
        """
        # Each after what it requires.
        wanted = sorted(
            (service for service in services if service in self._handles), key=lambda service: len(self._needs(service))
        )
        futures: dict[str, Future[Reload]] = {}
        with ThreadPoolExecutor(max(len(wanted), 1), thread_name_prefix="reload") as pool:
            try:
                for service in wanted:
                    needed = [futures[name] for name in self._needs(service) if name in futures]
                    futures[service] = pool.submit(self._reload, service, needed, tell, timeout_seconds)
                return [future.result() for future in futures.values()]
            except BaseException:
                self._cancelled = True  # the pool waits for its threads, which need not wait any more
                raise

    def _reload(
        self, service: str, needed: Sequence[Future[Reload]], tell: Callable[[Reload], None], timeout_seconds: float
    ) -> Reload:
        started = time.monotonic()
        problem = self._attempt(service, needed, timeout_seconds)
        if problem and needed and all(each.result().live for each in needed):
            problem = self._attempt(service, needed, timeout_seconds, again=True)
        seconds = time.monotonic() - started
        found = Reload(service=service, seconds=seconds, problem=problem or "", superseded=problem is None)
        tell(found)
        return found

    def _attempt(
        self, service: str, needed: Sequence[Future[Reload]], timeout_seconds: float, *, again: bool = False
    ) -> str | None:
        """Return why it is not live, an empty text when it is; None when another change came first."""
        handle = self._handles[service]
        try:
            if again or service not in self._processes or not handle.inspect()["State"]["Running"]:
                handle.restart(grace_seconds=_GRACE_SECONDS)
            return self._awaited(handle, needed, timeout_seconds)
        except (NotReadyError, InputError) as error:  # another command stops, removes or replaces it
            return str(error)

    def _awaited(self, handle: ServiceHandle, needed: Sequence[Future[Reload]], timeout_seconds: float) -> str | None:
        before = self._processes.get(handle.name)
        alone_since = math.inf
        anew = False
        for _ in turns(timeout_seconds, _INTERVAL_SECONDS):
            state = handle.inspect()["State"]
            if not state["Running"]:
                return f"it exited with code {state['ExitCode']}"
            processes = frozenset() if before is None else _processes(handle)
            anew = before is None or not processes <= before
            if anew and handle.ask() is not None:
                if before is not None:
                    self._processes[handle.name] = processes
                return ""
            ended = before is not None and processes < before
            alone_since = min(alone_since, time.monotonic()) if ended else math.inf
            if time.monotonic() - alone_since > _SUCCESSION_SECONDS:
                return "its process ended, and no other took its place"
            if self._cancelled or self._superseded():
                return None
            if failed := [each.result().service for each in needed if each.done() and each.result().problem]:
                return f"it waits for {', '.join(failed)}"
        return "it does not answer" if anew else "its command has not reloaded it"

    def _needs(self, service: str) -> set[str]:
        """Return the services that it requires, and those that they require."""
        direct = self._system.services[service].requires
        return set(direct).union(*(self._needs(name) for name in direct))


def _processes(handle: ServiceHandle) -> frozenset[str]:
    """Return the ids of the service's processes, without those of health checks and other visitors."""
    try:
        first = str(handle.inspect()["State"]["Pid"])
        found = handle.client.api.top(handle.container, ps_args="-eo pid,ppid")["Processes"]
    except (APIError, InputError):  # it does not run
        return frozenset()
    family = {first}
    for _ in found:  # as many generations as there can be
        family |= {process for process, parent in found if parent in family}
    return frozenset(process for process, _ in found if process in family)


def _made_of(image: ServiceImage) -> Iterable[str]:
    try:
        return files(image.context, image.dockerfile)
    except InputError:  # its Dockerfile is gone, or on its way from one name to the other
        return [image.dockerfile]
