"""Commands in containers: start one, exchange its input and output, and end it."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import APIError

from ephemera.docker import streams
from ephemera.docker.connection import is_local

MARK = "EPHEMERA_EXEC"
"""Variable of a command that can be ended, and of all that it starts: Docker itself cannot signal a command."""

_REFUSED = b"OCI runtime exec failed: "
_GRACE_SECONDS = 2.0
_LOOK_SECONDS = 0.02
# All that carry the mark. This one does not: it stands in its command, and not among its variables.
_END = 'for p in /proc/[0-9]*; do grep -qs "$1" "$p/environ" && kill -s "$2" "${p#/proc/}"; done 2>/dev/null; exit 0'


class Execution:
    """A command that was started. ``source``: what it reads, or the descriptor that it comes from. ``marked``: whether
    :meth:`end` can find it. ``refusal``: Docker's reason when it cannot start the command. Closed, the command goes on.
    """

    def __init__(
        self,
        client: DockerClient,
        container: str,
        command: Sequence[str],
        source: bytes | int | None,
        *,
        marked: bool = False,
    ) -> None:
        self._client = client
        self._container = container
        self._mark = f"{MARK}={secrets.token_hex(8)}" if marked else ""
        given: dict[str, Any] = {"environment": [self._mark]} if marked else {}
        self._id = client.api.exec_create(container, list(command), stdin=source is not None, **given)["Id"]
        try:
            self._stream = client.api.exec_start(self._id, socket=True)
        except BaseException:
            if marked:  # interrupted: it may have begun
                self._signal("KILL")
            raise
        self._conversation = streams.Conversation(self._stream, source)
        self.refusal = ""

    def close(self) -> None:
        """Close its connection."""
        streams.close(self._stream)

    def run(self, show: Callable[[int, bytes], object], timeout_seconds: float | None = None) -> int:
        """Call ``show`` with ``STDOUT`` or ``STDERR`` and the command's output as it comes; return its exit code.

        Raises :class:`TimeoutError` when it has not ended after ``timeout_seconds``.
        """

        def said(kind: int, part: bytes) -> None:
            if kind != streams.STDERR and part.startswith(_REFUSED) and not self._inspected()["Pid"]:
                self.refusal = part.removeprefix(_REFUSED).decode(errors="replace").strip()
            else:
                show(kind, part)

        self._conversation.run(said, timeout_seconds)
        while (state := self._inspected())["Running"] or state["ExitCode"] is None:
            time.sleep(_LOOK_SECONDS)  # it has closed its streams, or Docker is about to see its end
        return int(state["ExitCode"])

    def end(self, number: int, show: Callable[[int, bytes], object]) -> bool:
        """Send signal ``number`` to a marked command and all that it started, and show their last output; kill them
        after 2 s. Return whether the command has ended."""
        self._conversation.close_input()
        for name in (signal.Signals(number).name, signal.SIGKILL.name):
            if self._inspected()["Running"]:
                self._signal(name.removeprefix("SIG"))
                with suppress(TimeoutError):
                    self._conversation.run(show, _GRACE_SECONDS)
        return not self._inspected()["Running"]

    def _signal(self, name: str) -> None:
        api = self._client.api
        try:
            killer = api.exec_create(self._container, ["sh", "-c", _END, "sh", self._mark, name])["Id"]
            # Detached: Docker may not see it end before the command's output is taken.
            api.exec_start(killer, detach=True)
        except APIError:
            # An image without a shell: from here, where Docker's processes are this machine's.
            process = self._inspected()["Pid"]
            with suppress(OSError):
                if is_local() and process and self._mark.encode() in Path(f"/proc/{process}/environ").read_bytes():
                    os.kill(process, getattr(signal, f"SIG{name}"))

    def _inspected(self) -> dict[str, Any]:
        document: dict[str, Any] = self._client.api.exec_inspect(self._id)
        return document
