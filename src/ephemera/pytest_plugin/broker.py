"""The controller's side of a run: makes one environment for each system that is asked for, and takes them down.

Workers of xdist ask over an abstract Unix socket, which vanishes with the controller: one JSON line with project and
system, one answer ``{"outputs"}`` or ``{"error"}``. Either side checks that the other one is the same user's.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from docker.errors import DockerException

from ephemera import lifecycle
from ephemera.docker import services
from ephemera.docker.connection import connected
from ephemera.docker.mounts import in_ci
from ephemera.home import leases
from ephemera.host.processes import end_group
from ephemera.lifecycle import listing, placement, removal
from ephemera.lifecycle.way_in import way_into
from ephemera.model.catalog import Manifest, find_system
from ephemera.model.errors import (
    EphemeraError,
    InputError,
    InterruptedByUserError,
    NoSuchEnvironmentError,
    NotReadyError,
)
from ephemera.model.names import random_suffix
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.model.settings import meant_for
from ephemera.pulumi.failures import error_from_document
from ephemera.pulumi.workspace import Workspace
from ephemera.pytest_plugin.environments import RunningEnvironment, Seed, SeedError, load_seed
from ephemera.pytest_plugin.systems import Wanted

_CREDENTIALS = struct.Struct("3i")  # of the kernel's: process, user, group


class Broker:
    """Makes and takes down the environments of a run. ``attached``: a stack to use instead of making one.
    ``keep_on_failure``: leave what did not become ready. ``config``: settings of what it makes, key → text as in Pulumi
    config. ``tell``: shows a line to the user."""

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
        self._kept: set[str] = set()
        self._cut_short: list[str] = []
        self._uses = ExitStack()
        self._closing = False
        self._server: _Server | None = None

    def environment(self, wanted: Wanted) -> EnvironmentOutputs:
        """Return the run's environment of that system, made and seeded when first asked for.

        Raises the error that kept it from coming up; a second call does not try again. Systems come up side by side.
        """
        with self._lock:
            first = wanted not in self._answers
            answer = self._answers.setdefault(wanted, Future())
        if first:
            try:
                answer.set_result(self._attach(wanted) if self._attached else self._make(wanted))
            except BaseException as error:
                answer.set_exception(error)
                raise
        return answer.result()

    def listen(self) -> str:
        """Answer workers from now on; return the address for :func:`ask`."""
        if self._server is None:
            self._server = _Server(self)
            threading.Thread(target=self._server.serve_forever, name="ephemera-broker", daemon=True).start()
        return self._server.name

    def close(self, *, keep: bool) -> tuple[list[str], pytest.ExitCode]:
        """Take every environment down, or ``keep`` them; return lines for the user, and the exit status of this end.

        When it is interrupted, guardians take down the rest as soon as this process has ended.
        """
        lines: list[str] = []
        status = pytest.ExitCode.OK
        try:
            self._end_starts()
            lines += (f"ephemera: {stack} is gone before it was ready, nothing left" for stack in self._cut_short)
            for stack, workspace in list(self._there.items()):
                if keep and stack not in self._kept:
                    lifecycle.let_go(stack)
                if keep or stack in self._kept:
                    lines += _told_how_to_get_in(workspace, stack)
                else:
                    line, clean = self._take_down(workspace, stack)
                    lines.append(line)
                    status = status if clean else pytest.ExitCode.TESTS_FAILED
                del self._there[stack]
        except KeyboardInterrupt:
            status = pytest.ExitCode.INTERRUPTED
            left_alone = ", ".join((*self._coming_up, *self._there))
            lines.append(f"ephemera: interrupted again, so {left_alone} is taken down in the background")
        self._uses.close()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        return lines, status

    def _end_starts(self) -> None:
        """Cut short what comes up, and wait until its thread has cleaned up."""
        with self._lock:
            self._closing = True
            coming_up = dict(self._coming_up)
        for stack in coming_up:
            if (lease := leases.read(stack)) and lease.engine:
                end_group(lease.engine)  # its thread sees the engine's end, and cleans up
        for ended in coming_up.values():
            ended.wait()

    def _take_down(self, workspace: Workspace, stack: str) -> tuple[str, bool]:
        """Return a line for the user, and whether nothing is left."""
        try:
            gone = lifecycle.down(workspace, stack, self._notice)
        except NoSuchEnvironmentError:
            return f"ephemera: {stack} was taken down by another command, nothing left", True
        except Exception as error:  # noqa: BLE001 - tests may have changed this process, and the others are next
            return f"ephemera: {stack} is LEFT BEHIND: {error}", False
        left = f"LEFT BEHIND: {', '.join(gone.leftovers)}" if gone.leftovers else "nothing left"
        return f"ephemera: {stack} is gone after {gone.seconds:.1f} s, {left}", not gone.leftovers

    def _make(self, wanted: Wanted) -> EnvironmentOutputs:
        workspace = Workspace(wanted.project)
        system = find_system(workspace.catalog, wanted.system)
        seed = load_seed(system)
        request = lifecycle.Request(
            system=wanted.system,
            suffix=random_suffix(),
            config=meant_for(system, workspace.catalog, self._config),
            phase="disposable",
            keep_on_failure=self._keep_on_failure,
        )
        planned, *_ = lifecycle.plan(workspace, request)
        stack = planned
        ended = threading.Event()
        with self._lock:
            if self._closing:
                raise InterruptedByUserError("the run is ending, no environment is made any more")
            self._coming_up[planned] = ended
        try:
            ready = lifecycle.up(workspace, request, self._progress)
        except BaseException as error:
            if self._keep_on_failure and not self._closing and isinstance(error, NotReadyError):
                self._kept.add(stack)
            if stack in self._kept or leases.read(stack) is not None:  # it could not be cleaned up yet
                self._there[stack] = workspace
            elif self._closing or isinstance(error, KeyboardInterrupt):
                self._cut_short.append(stack)
            raise
        else:
            stack = ready.outputs.stack  # of a pool's, when it was claimed
            self._there[stack] = workspace
        finally:
            self._coming_up.pop(planned, None)
            ended.set()
        source = ", claimed from its pool" if ready.claimed else ""
        self._tell(f"ephemera: {stack} is ready after {ready.seconds:.1f} s{source}")
        try:
            self._seed(workspace, system, seed, ready.outputs)
        except SeedError:
            if not self._closing and stack in self._there:  # else the run's end takes it down
                if self._keep_on_failure:
                    lifecycle.let_go(stack)
                    self._kept.add(stack)
                else:
                    self._tell(self._take_down(self._there.pop(stack), stack)[0])
            raise
        return ready.outputs

    def _seed(self, workspace: Workspace, system: Manifest, function: Seed | None, outputs: EnvironmentOutputs) -> None:
        if function is not None:
            seconds = RunningEnvironment(outputs, workspace).seed(system.seed, function)
            self._tell(f"ephemera: {outputs.stack} is seeded by {system.seed} after {seconds:.1f} s")

    def _attach(self, wanted: Wanted) -> EnvironmentOutputs:
        workspace = Workspace(wanted.project)
        outputs = lifecycle.outputs(workspace, lifecycle.called(workspace, self._attached or ""))
        if outputs.system != wanted.system:
            raise lifecycle.wrong_system(outputs, wanted.system)
        system = find_system(workspace.catalog, wanted.system)
        with placement.connected(workspace, outputs.stack) as client:
            containers = services.containers(client, outputs.stack)
            services.refuse_missing(containers, outputs, system)
        if developed := ", ".join(services.developed(containers)):
            what = f"{outputs.stack} is in development mode: {developed}, from source folders"
            if in_ci():
                raise InputError(what, remedy="bring it up with `ephemera up`, which runs what images hold")
            self._tell(f"ephemera: {what}")
        seed = load_seed(system)
        with leases.exclusive(outputs.stack):  # of several runs that attach, one seeds
            lease = leases.read(outputs.stack)
            if lease is None:  # made by plain `pulumi up`
                with connected() as client:
                    identity = removal.identity_of(client, outputs.stack)
                lease = listing.first_seen(workspace, outputs.stack, identity)
            self._uses.enter_context(leases.using(outputs.stack))
            if not lease.seeded:
                self._seed(workspace, system, seed, outputs)
        return outputs

    def _progress(self, event: Event) -> None:
        if event["type"] != "notice":
            if self._closing:
                raise InterruptedByUserError("the run is ending")
        elif not self._closing:  # an engine that we ended leaves nothing worth telling
            self._notice(event)

    def _notice(self, event: Event) -> None:
        if event["type"] == "notice":
            self._tell(f"ephemera: {event['message']}")


def ask(address: str, wanted: Wanted) -> EnvironmentOutputs:
    """Ask the controller for the run's environment of a system, for a worker; raise the error that it met."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(f"\0{address}")
            _refuse_others(connection)
            with connection.makefile("rw") as stream:
                stream.write(json.dumps([str(wanted.project), wanted.system]) + "\n")
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


def _refuse_others(connection: socket.socket) -> None:
    """Raise :class:`PermissionError` if a process of another user is at the other end."""
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if user != os.geteuid():
        raise PermissionError(f"user {user} is not the run's")


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        _refuse_others(self.connection)
        line = self.rfile.readline()
        if not line:
            return
        project, system = json.loads(line)
        try:
            answer = {
                "outputs": self.server.broker.environment(Wanted(project=Path(project), system=system)).document(
                    show_secrets=True
                )
            }
        except EphemeraError as error:
            answer = error.document()
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.name = f"ephemera-{secrets.token_hex(16)}"
        super().__init__(f"\0{self.name}", _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a worker that died, or another user
            super().handle_error(request, client_address)
