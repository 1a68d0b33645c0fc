"""The controller's side of a run: makes one environment for each system that is asked for, and takes them down.

Workers of xdist ask over a Unix socket in the user's state: one JSON line ``{"project", "system"}``, one answer
``{"outputs"}`` or ``{"error"}``.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from docker.errors import DockerException

from ephemera.contract.catalog import Manifest, find_system
from ephemera.contract.errors import (
    EphemeraError,
    InputError,
    InterruptedByUserError,
    NoSuchEnvironmentError,
    NotReadyError,
)
from ephemera.contract.names import random_suffix
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.progress import Event
from ephemera.contract.settings import meant_for
from ephemera.driver import lifecycle, listing, placement, removal, services
from ephemera.driver.failures import error_from_document
from ephemera.driver.way_in import way_into
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.home.paths import state_dir
from ephemera.host.development import in_ci
from ephemera.host.engine import connected
from ephemera.host.processes import end_group, pid_alive
from ephemera.host.sockets import short_path
from ephemera.plugin import seeding
from ephemera.plugin.running import RunningEnvironment
from ephemera.plugin.seeding import Seed
from ephemera.plugin.systems import Wanted


@dataclass(frozen=True, kw_only=True)
class Closed:
    """How a run's environments ended: ``lines`` for the user, what was left behind, whether it was cut short."""

    lines: tuple[str, ...]
    leftovers: tuple[str, ...]
    interrupted: bool


class Broker:
    """One for a run. ``attached``: a stack to use instead of making one. ``keep_on_failure``: leave what did not become
    ready. ``config``: settings of what it makes, key → text as in Pulumi config. ``tell``: shows a line to the user."""

    def __init__(
        self,
        attached: str | None,
        tell: Callable[[str], None],
        *,
        keep_on_failure: bool = False,
        config: Mapping[str, str] | None = None,
    ) -> None:
        self._config = config or {}
        self._attached = attached
        self._keep_on_failure = keep_on_failure
        self._tell = tell
        self._lock = threading.Lock()
        self._answers: dict[Wanted, Future[EnvironmentOutputs]] = {}
        self._coming_up: dict[str, threading.Event] = {}
        self._there: dict[str, Workspace] = {}
        self._kept: dict[str, Workspace] = {}
        self._cut_short: list[str] = []
        self._uses = ExitStack()
        self._closing = False
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self._socket: Path | None = None

    def environment(self, wanted: Wanted) -> EnvironmentOutputs:
        """The run's environment of that system, made and seeded when first asked for.

        Raises what kept it from coming up; a second ask does not try again. Systems do not wait for each other.
        """
        with self._lock:
            first = wanted not in self._answers
            answer = self._answers.setdefault(wanted, Future())
        if first:
            try:
                answer.set_result(self._attach(wanted) if self._attached else self._make(wanted))
            except KeyboardInterrupt:
                answer.set_exception(InterruptedByUserError("the run was interrupted"))
                raise
            except BaseException as error:
                answer.set_exception(error)
                raise
        return answer.result()

    def listen(self) -> str:
        """Answer workers; the socket's path."""
        if self._server is None or self._socket is None:
            self._socket = _folder() / f"{os.getpid()}-{random_suffix()}.sock"
            with short_path(self._socket) as path:
                self._server = _Server(path, _handler(self))
            threading.Thread(target=self._server.serve_forever, name="ephemera-broker", daemon=True).start()
        return str(self._socket)

    def close(self, *, keep: bool) -> Closed:
        """Take every environment down, or let go of them.

        Interrupted once more, it leaves the rest to their guardians, which act as soon as this process has ended.
        """
        lines: list[str] = []
        leftovers: list[str] = []
        interrupted = False
        try:
            self._end_what_comes_up()
            lines += (f"ephemera: {stack} is gone before it was ready, nothing left" for stack in self._cut_short)
            for stack, workspace in list(self._there.items()):
                if keep:
                    lifecycle.let_go(stack)
                    self._kept[stack] = workspace
                else:
                    line, left = self._take_down(workspace, stack)
                    lines.append(line)
                    leftovers += left
                self._there.pop(stack, None)
            for stack, workspace in self._kept.items():
                lines += _told_how_to_get_in(workspace, stack)
        except KeyboardInterrupt:
            interrupted = True
            left_alone = ", ".join((*self._coming_up, *self._there))
            lines.append(f"ephemera: interrupted again, so {left_alone} is taken down in the background")
        self._uses.close()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._socket is not None:
            self._socket.unlink(missing_ok=True)
        return Closed(lines=tuple(lines), leftovers=tuple(leftovers), interrupted=interrupted)

    def _end_what_comes_up(self) -> None:
        with self._lock:
            self._closing = True
            coming_up = dict(self._coming_up)
        for stack in coming_up:
            if (lease := leases.read(stack)) and lease.engine:
                end_group(lease.engine)  # its thread sees the engine's end, and cleans up
        for ended in coming_up.values():
            ended.wait()

    def _take_down(self, workspace: Workspace, stack: str) -> tuple[str, Sequence[str]]:
        try:
            gone = lifecycle.down(workspace, stack, self._notice)
        except NoSuchEnvironmentError:
            return f"ephemera: {stack} was taken down by somebody else, nothing left", ()
        except Exception as error:  # noqa: BLE001 - whatever tests left changed in this process, all others are next
            return f"ephemera: {stack} is LEFT BEHIND: {error}", [stack]
        left = f"LEFT BEHIND: {', '.join(gone.leftovers)}" if gone.leftovers else "nothing left"
        return f"ephemera: {stack} is gone after {gone.seconds:.1f} s, {left}", gone.leftovers

    def _make(self, wanted: Wanted) -> EnvironmentOutputs:
        workspace = Workspace(wanted.project)
        system = find_system(workspace.catalog, wanted.system)
        seed = seeding.load(system)
        request = lifecycle.Request(
            system=wanted.system,
            suffix=random_suffix(),
            config=meant_for(system, workspace.catalog, self._config),
            phase="disposable",
            keep_on_failure=self._keep_on_failure,
        )
        stack, *_ = lifecycle.plan(workspace, request)
        ended = threading.Event()
        with self._lock:
            if self._closing:
                raise InterruptedByUserError("the run is ending, no environment is made any more")
            self._coming_up[stack] = ended
        try:
            ready = lifecycle.up(workspace, request, self._progress)
        except BaseException as error:
            if self._keep_on_failure and not self._closing and isinstance(error, NotReadyError):
                self._kept[stack] = workspace
            elif leases.read(stack) is not None:  # it could not be cleaned up yet
                self._there[stack] = workspace
            elif self._closing or isinstance(error, KeyboardInterrupt):
                self._cut_short.append(stack)
            raise
        else:
            self._there[ready.outputs.stack] = workspace
        finally:
            del self._coming_up[stack]
            ended.set()
        source = ", claimed from its pool" if ready.claimed else ""
        self._tell(f"ephemera: {ready.outputs.stack} is ready after {ready.seconds:.1f} s{source}")
        if seed is not None:
            self._seed_made(workspace, system, seed, ready.outputs)
        return ready.outputs

    def _seed_made(self, workspace: Workspace, system: Manifest, seed: Seed, outputs: EnvironmentOutputs) -> None:
        try:
            self._seed(workspace, system, seed, outputs)
        except seeding.SeedError:
            # Not while the run is ending: then it is the end's to take it down.
            if not self._closing and self._there.pop(outputs.stack, None) is not None:
                if self._keep_on_failure:
                    lifecycle.let_go(outputs.stack)
                    self._kept[outputs.stack] = workspace
                else:
                    self._tell(self._take_down(workspace, outputs.stack)[0])
            raise

    def _seed(self, workspace: Workspace, system: Manifest, seed: Seed, outputs: EnvironmentOutputs) -> None:
        seconds = seeding.seed(system.seed, seed, RunningEnvironment(outputs, workspace))
        self._tell(f"ephemera: {outputs.stack} is seeded by {system.seed} after {seconds:.1f} s")

    def _attach(self, wanted: Wanted) -> EnvironmentOutputs:
        workspace = Workspace(wanted.project)
        outputs = lifecycle.outputs(workspace, lifecycle.called(workspace, self._attached or ""))
        if outputs.system != wanted.system:
            raise lifecycle.wrong_system(outputs, wanted.system)
        system = find_system(workspace.catalog, wanted.system)
        with placement.connected(workspace, outputs.stack) as client:
            services.refuse_missing(services.containers(client, outputs.stack), outputs, system)
        self._tell_development(outputs.stack)
        seed = seeding.load(system)
        with leases.exclusive(outputs.stack):  # of several runs that attach, one seeds
            lease = leases.read(outputs.stack)
            if lease is None:  # made by plain `pulumi up`
                with connected() as client:
                    identity = removal.identity_of(client, outputs.stack)
                lease = listing.first_seen(workspace, outputs.stack, identity)
            self._uses.enter_context(leases.using(outputs.stack))
            if seed is not None and not lease.seeded:
                self._seed(workspace, system, seed, outputs)
        return outputs

    def _tell_development(self, stack: str) -> None:
        """Say that sources are tested and not images, which CI refuses."""
        with connected() as client:
            developed = ", ".join(services.developed(services.containers(client, stack)))
        if not developed:
            return
        what = f"{stack} is in development mode: {developed}, from source folders"
        if in_ci():
            raise InputError(what, remedy="bring it up with `ephemera up`, which runs what images hold")
        self._tell(f"ephemera: {what}")

    def _progress(self, event: Event) -> None:
        if event["type"] != "notice":
            if self._closing:
                raise InterruptedByUserError("the run is ending")
        elif not self._closing:  # what an engine that we ended leaves behind is no news
            self._notice(event)

    def _notice(self, event: Event) -> None:
        if event["type"] == "notice":
            self._tell(f"ephemera: {event['message']}")


def ask(path: str, wanted: Wanted) -> EnvironmentOutputs:
    """A worker's question: the run's environment of that system; raises what kept it from coming up."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            with short_path(Path(path)) as short:
                connection.connect(short)
            with connection.makefile("rw") as stream:
                stream.write(json.dumps({**asdict(wanted), "project": str(wanted.project)}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
    except (OSError, json.JSONDecodeError) as error:  # it broke, or has ended
        raise NotReadyError(
            f"the run's controller brought up no {wanted.system!r}", remedy="its own output says why"
        ) from error
    if "error" in answer:
        raise error_from_document(answer["error"])
    return EnvironmentOutputs.parse(answer["outputs"])


def _told_how_to_get_in(workspace: Workspace, stack: str) -> list[str]:
    try:
        first, *rest = way_into(workspace, stack)
    except (EphemeraError, DockerException, OSError) as error:
        return [f"ephemera: {stack} is kept, `ephemera down {stack}` ends it ({error})"]
    return [f"ephemera: {first}", *rest]


def _folder() -> Path:
    """Where brokers have their sockets, without those of brokers that were killed."""
    folder = state_dir() / "brokers"
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.glob("*.sock"):
        if not pid_alive(int(left.name.partition("-")[0])):
            left.unlink(missing_ok=True)
    return folder


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a worker that died does not hear the answer
            super().handle_error(request, client_address)


def _handler(broker: Broker) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            if not line:
                return
            question = json.loads(line)
            wanted = Wanted(project=Path(question["project"]), system=question["system"])
            try:
                # The socket is in a folder of mode 0700: no other user is told credentials.
                answer = {"outputs": broker.environment(wanted).document(show_secrets=True)}
            except EphemeraError as error:
                answer = error.document()
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    return Handler
