"""The controller's side of a run: makes one environment for each system that is asked for, and takes them down.

Workers of xdist ask over a Unix socket: one JSON line ``{"system"}``, one answer ``{"stack"}`` or ``{"error"}``.
"""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ephemera.contract.errors import EphemeraError, InterruptedByUserError, NoSuchEnvironmentError, NotReadyError
from ephemera.contract.names import random_suffix
from ephemera.contract.progress import Event
from ephemera.driver import lifecycle
from ephemera.driver.failures import error_from_document
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.host.processes import end_group


class Broker:
    """One for a run. ``attached``: a stack to use instead of making one. ``tell``: shows a line to the user."""

    def __init__(self, folder: Path, attached: str | None, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._attached = attached
        self._tell = tell
        self._lock = threading.Lock()
        self._stacks: dict[str, str] = {}
        self._failures: dict[str, EphemeraError] = {}
        self._coming_up: str | None = None
        self._closing = False
        self._server: socketserver.ThreadingUnixStreamServer | None = None
        self._socket_folder: str | None = None

    def environment(self, system: str) -> str:
        """The stack of the run's environment of ``system``, made when first asked for.

        Raises what kept it from coming up; a second ask does not try again.
        """
        with self._lock:
            if system in self._failures:
                raise self._failures[system]
            if system not in self._stacks:
                if self._closing:
                    raise InterruptedByUserError("the run is ending, no environment is made any more")
                try:
                    self._stacks[system] = self._attach(system) if self._attached else self._make(system)
                except EphemeraError as error:
                    self._failures[system] = error
                    raise
            return self._stacks[system]

    def listen(self) -> str:
        """Answer workers; the socket's path."""
        if self._server is None or self._socket_folder is None:
            self._socket_folder = tempfile.mkdtemp(prefix="ephemera-")
            self._server = _server(f"{self._socket_folder}/broker", self)
            threading.Thread(target=self._server.serve_forever, name="ephemera-broker", daemon=True).start()
        return f"{self._socket_folder}/broker"

    def close(self, *, keep: bool) -> tuple[list[str], list[str]]:
        """Take every environment down, or let go of them; lines for the user, and what was left behind."""
        self._closing = True
        if self._coming_up is not None and (lease := leases.read(self._coming_up)) and lease.engine:
            end_group(lease.engine)  # its thread sees the engine's end, and cleans up
        lines: list[str] = []
        leftovers: list[str] = []
        with self._lock:
            for stack in () if self._attached else self._stacks.values():
                try:
                    line, left = self._let_go(stack) if keep else self._take_down(stack)
                except EphemeraError as error:
                    line, left = f"ephemera: {stack} is LEFT BEHIND: {error}", [stack]
                lines.append(line)
                leftovers += left
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder)
        return lines, leftovers

    def _let_go(self, stack: str) -> tuple[str, Sequence[str]]:
        lifecycle.let_go(stack)
        return f"ephemera: {stack} is kept; `ephemera down {stack}` ends it", ()

    def _take_down(self, stack: str) -> tuple[str, Sequence[str]]:
        try:
            gone = lifecycle.down(self._workspace, stack)
        except NoSuchEnvironmentError:
            return f"ephemera: {stack} was taken down by somebody else, nothing left", ()
        left = f"LEFT BEHIND: {', '.join(gone.leftovers)}" if gone.leftovers else "nothing left"
        return f"ephemera: {stack} is gone after {gone.seconds:.1f} s, {left}", gone.leftovers

    @property
    def _workspace(self) -> Workspace:
        return Workspace.find(self._folder)

    def _make(self, system: str) -> str:
        request = lifecycle.Request(system=system, suffix=random_suffix(), phase="disposable")
        stack, *_ = lifecycle.plan(self._workspace, request)
        self._coming_up = stack
        try:
            ready = lifecycle.up(self._workspace, request, self._report)
        finally:
            self._coming_up = None
        self._tell(f"ephemera: {ready.outputs.stack} is ready after {ready.seconds:.1f} s")
        return ready.outputs.stack

    def _attach(self, system: str) -> str:
        outputs = lifecycle.outputs(self._workspace, self._attached or "")
        if outputs.system != system:
            raise lifecycle.wrong_system(outputs, system)
        return outputs.stack

    def _report(self, event: Event) -> None:
        if event["type"] == "notice":
            self._tell(f"ephemera: {event['message']}")


def ask(path: str, system: str) -> str:
    """A worker's question: the stack of the run's environment of ``system``; raises what kept it from coming up."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            with connection.makefile("rw") as stream:
                stream.write(json.dumps({"system": system}) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
    except (OSError, json.JSONDecodeError) as error:  # it broke, or has ended
        raise NotReadyError(
            f"the run's controller brought up no {system!r}", remedy="its own output says why"
        ) from error
    if "error" in answer:
        raise error_from_document(answer["error"])
    return str(answer["stack"])


def _server(path: str, broker: Broker) -> socketserver.ThreadingUnixStreamServer:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            system = json.loads(self.rfile.readline())["system"]
            try:
                answer = {"stack": broker.environment(system)}
            except EphemeraError as error:
                answer = error.document()
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    server = socketserver.ThreadingUnixStreamServer(path, Handler)
    server.daemon_threads = True
    return server
