"""Development mode: which services a changed file is code of, and bringing the change to life."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError

from ephemera.contract.catalog import Manifest, Source
from ephemera.contract.errors import InputError, NotReadyError
from ephemera.contract.images import ServiceImage
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.settings import Settings
from ephemera.driver.services import ServiceHandle
from ephemera.host.development import mounted
from ephemera.host.probes import from_description
from ephemera.images.context import files

_INTERVAL_SECONDS = 0.03
# Longer than a polite server needs, and not so long that one with open connections keeps anybody waiting.
_GRACE_SECONDS = 1
# Between the end of a process that was reloaded and the start of the next one.
_SUCCESSION_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class Reload:
    """What came of one service's reload: ``problem`` is empty when the change is live; ``superseded``: another change
    came before anybody could know."""

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
        """Those of the services to start."""
        builds = tuple(image for image in system.images if isinstance(image, ServiceImage))
        return Sources(mounts=mounted(system, settings), builds=builds, suite=suite)

    @property
    def trees(self) -> set[Path]:
        """Folders whose files are watched, with all that is below."""
        return {source.path for source in self.mounts.values()} | ({self.suite} if self.suite else set())

    @property
    def folders(self) -> set[Path]:
        """Folders in which files lie that only a build brings to life."""
        return {
            folder for image in self.builds for folder in (image.context, (image.context / image.dockerfile).parent)
        }

    def changed(self, files: Iterable[Path]) -> dict[str, list[str]]:
        """Services whose code is among ``files``, each with those files' paths in its folder."""
        found = {
            service: sorted(str(file.relative_to(source.path)) for file in files if source.uses(file))
            for service, source in self.mounts.items()
        }
        return {service: names for service, names in found.items() if names}

    def tests_changed(self, files: Iterable[Path]) -> bool:
        """Whether a file of the suite is among them."""
        return self.suite is not None and any(file.is_relative_to(self.suite) for file in files)

    def to_build(self, files: Iterable[Path]) -> dict[str, list[str]]:
        """Images, by name, that hold some of the files, which nothing mounts: only a build brings them to life."""
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
        self._outputs = outputs
        self._system = system
        self._superseded = superseded
        self._client = client
        self._sources = {service: source for service, source in mounts.items() if not self._finishes(service)}
        self._cancelled = False
        # Of those that reload themselves, the processes that were there when the last change was live.
        self._processes = {service: self._running(service) for service in self._by_themselves()}

    def reload(
        self, services: Iterable[str], tell: Callable[[Reload], None], timeout_seconds: float = 30.0
    ) -> list[Reload]:
        """Have these services run what their folders hold now, all at once; returns when each is live, has failed, or
        another change came. ``tell`` is called with each as soon as it is known, from threads. One-shots have done what
        they are for: they are left alone.

        One that fails while services that it requires come up is started once more when those are there.
        """
        wanted = [service for service in services if service in self._sources]
        futures: dict[str, Future[Reload]] = {}
        with ThreadPoolExecutor(max(len(wanted), 1), thread_name_prefix="reload") as pool:
            for service in self._ordered(wanted):
                needed = [futures[name] for name in self._needs(service) if name in futures]
                futures[service] = pool.submit(self._reload, service, needed, tell, timeout_seconds)
            try:
                return [futures[service].result() for service in wanted]
            except BaseException:
                self._cancelled = True  # the pool waits for its threads, which need not wait any more
                raise

    def _reload(
        self,
        service: str,
        needed: Sequence[Future[Reload]],
        tell: Callable[[Reload], None],
        timeout_seconds: float,
    ) -> Reload:
        started = time.monotonic()
        found = self._attempt(service, needed, started, timeout_seconds)
        if found.problem and needed and all(each.result().live for each in needed):
            found = self._attempt(service, needed, started, timeout_seconds, again=True)
        tell(found)
        return found

    def _attempt(
        self,
        service: str,
        needed: Sequence[Future[Reload]],
        started: float,
        timeout_seconds: float,
        *,
        again: bool = False,
    ) -> Reload:
        handle = self._handle(service)
        try:
            running = handle.inspect()["State"]["Running"]
            if not running or again or service not in self._processes:
                handle.restart(grace_seconds=_GRACE_SECONDS)
            problem = self._awaited(handle, needed, time.monotonic() + timeout_seconds)
        except (NotReadyError, InputError) as error:  # somebody else stops, removes or replaces it
            problem = str(error)
        seconds = time.monotonic() - started
        if problem is None:
            return Reload(service=service, seconds=seconds, superseded=True)
        return Reload(service=service, seconds=seconds, problem=problem)

    def _awaited(self, handle: ServiceHandle, needed: Sequence[Future[Reload]], deadline: float) -> str | None:
        """What keeps it from being live, nothing when it is; None when another change came first."""
        alone_since: float | None = None
        while True:
            state = handle.inspect()["State"]
            if not state["Running"]:
                return f"it exited with code {state['ExitCode']}"
            before = self._processes.get(handle.name)
            processes = frozenset() if before is None else self._running(handle.name)
            anew = before is None or not processes <= before
            if anew and handle.ask() is not None:
                if before is not None:
                    self._processes[handle.name] = processes
                return ""
            if before is not None and processes < before:
                alone_since = alone_since or time.monotonic()
                if time.monotonic() - alone_since > _SUCCESSION_SECONDS:
                    return "its process ended, and no other took its place"
            else:
                alone_since = None
            if self._cancelled or self._superseded():
                return None
            ended = [each.result() for each in needed if each.done()]
            if failed := [each.service for each in ended if each.problem]:
                return f"it waits for {', '.join(failed)}"
            if time.monotonic() > deadline:
                return "it does not answer" if anew else "its command has not reloaded it"
            time.sleep(_INTERVAL_SECONDS)

    def _by_themselves(self) -> list[str]:
        return [service for service, source in self._sources.items() if source.reload == "command"]

    def _running(self, service: str) -> frozenset[str]:
        """Ids of its processes; none of health checks and other visitors."""
        handle = self._handle(service)
        try:
            first = str(handle.inspect()["State"]["Pid"])
            found = self._client.api.top(handle.container, ps_args="-eo pid,ppid")["Processes"]
        except (APIError, InputError):  # it does not run
            return frozenset()
        family = {first}
        for _ in found:  # as many generations as there can be
            family |= {process for process, parent in found if parent in family}
        return frozenset(process for process, _ in found if process in family)

    def _finishes(self, service: str) -> bool:
        return bool(from_description(self._outputs.service(service).readiness).finishes)

    def _handle(self, service: str) -> ServiceHandle:
        return ServiceHandle(self._client, self._outputs.stack, service, self._outputs.service(service))

    def _needs(self, service: str) -> set[str]:
        """Services that it requires, and those that they require."""
        direct = self._system.services[service].requires
        return set(direct).union(*(self._needs(name) for name in direct))

    def _ordered(self, services: Iterable[str]) -> list[str]:
        """Each after what it requires."""
        return sorted(services, key=lambda service: len(self._needs(service)))


def _made_of(image: ServiceImage) -> Iterable[str]:
    try:
        return files(image.context, image.dockerfile)
    except InputError:  # its Dockerfile is gone, or on its way from one name to the other
        return [image.dockerfile]
