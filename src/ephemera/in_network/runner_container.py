"""A runner's container: hardened like every container, given its work over standard input, gone when that ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.types import DriverConfig, LogConfig, Mount
from pydantic import BaseModel, Field, ValidationError
from requests.exceptions import RequestException

from ephemera.docker import streams
from ephemera.host import clock
from ephemera.inside.run_suite import ACCOUNT, GRACE_SECONDS, RESULTS, ROOT
from ephemera.lifecycle import removal
from ephemera.model import labels
from ephemera.model.errors import InputError, ServiceFailedError
from ephemera.model.images import is_root
from ephemera.model.names import random_suffix
from ephemera.model.runner import Runner
from ephemera.model.text import lines

_TAIL_LINES = 20
_TAIL_BYTES = 8192
_REMOVED_SECONDS = 20.0
_MEBIBYTE = 1024 * 1024

# Reads the archive with what it runs from standard input. Nothing of it is in the command.
_LOADER = f"""\
import os, sys, tarfile
os.umask(0o077)
tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall({str(ROOT)!r}, filter="data")
sys.path.insert(0, {str(ROOT / "lib")!r})
from ephemera.inside.run_suite import main
main()
"""


class Test(BaseModel):
    """A phase of a test: when it ran (seconds since the epoch), how it ended, and the text of its failure."""

    nodeid: str
    phase: str
    start: float
    stop: float
    outcome: str
    text: str


class Account(BaseModel):
    """How a suite ended, as its container tells. ``exit_code``, ``counts``: pytest's own. ``missing``: packages that
    the image lacks; then nothing ran."""

    exit_code: int = 0
    counts: Mapping[str, int] = Field(default_factory=dict)
    tests: Sequence[Test] = ()
    missing: Sequence[str] = ()


@dataclass(kw_only=True)
class RunnerContainer:
    """The container of one run, as a context that removes it.

    ``identity``: the environment's; ``redacted``: hides its credentials in a text; ``show``: shows output as it comes.
    """

    client: DockerClient
    service: str
    runner: Runner
    identity: labels.Identity
    redacted: Callable[[str], str]
    show: Callable[[bytes], object]
    _id: str = ""
    _stream: Any = None
    _tail: bytes = b""

    def __enter__(self) -> RunnerContainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if not self._id:
            return
        try:
            if self._stream is not None and kind is not None and not issubclass(kind, ServiceFailedError | InputError):
                self._interrupt()
        finally:
            if self._stream is not None:
                streams.close(self._stream)
            removal.remove_one(self.client, "container", self._id)
            with suppress(NotFound, APIError, RequestException):  # it may be gone by now
                self.client.api.wait(self._id, timeout=_REMOVED_SECONDS, condition="removed")

    def run(self, reference: str, archive: bytes) -> Account:
        """Start it from an image, give it ``archive``, and return how its suite ended; it then waits to be removed.

        Raises :class:`ServiceFailedError` when the container ended first, and :class:`InputError` when it cannot be
        started, or its image would run as root or lacks what it needs.
        """
        api, runner = self.client.api, f"runner {self.service!r}"
        if is_root(str(api.inspect_image(reference)["Config"]["User"])):
            raise InputError(f"{runner} is to run as root", remedy="give its image another user: USER 1000:1000")
        try:
            self._id = self._create(reference)
            self._stream = api.attach_socket(self._id, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            api.start(self._id)
        except APIError as error:
            raise InputError(f"{runner} cannot be started", remedy=str(error.explanation or error).strip()) from error
        connection: socket.socket = getattr(self._stream, "_sock", self._stream)
        with suppress(OSError):  # it has ended: what comes from it says why
            connection.sendall(archive)
        account = self._account()
        if account is None:
            raise self._failed()
        if account.missing:
            raise InputError(
                f"{runner} cannot run a suite: its image has no {' and no '.join(account.missing)}",
                remedy="install it there",
            )
        return account

    def results(self) -> Iterable[bytes]:
        """Return its results folder, as a tar archive."""
        chunks: Iterable[bytes] = self.client.api.get_archive(self._id, str(RESULTS))[0]
        return chunks

    def _account(self) -> Account | None:
        """Show output until the account of its suite comes; None when the container ends without one."""
        rest = b""
        for kind, data in streams.frames(self._stream):
            if kind == streams.STDOUT:
                self._say(data)
                continue
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                if (account := read(line)) is not None:
                    return account
                self._say(line + b"\n")  # before anything of ours could run in it
        return None

    def _say(self, data: bytes) -> None:
        self.show(data)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]

    def _failed(self) -> ServiceFailedError:
        """Return why the container is gone. Docker has removed it, and keeps its last events for a while."""
        filters = {"container": self._id, "event": ["die", "oom"]}
        found = list(self.client.api.events(since=0, until=int(clock.now()) + 1, filters=filters, decode=True))
        code = next((int(each["Actor"]["Attributes"]["exitCode"]) for each in found if each["Action"] == "die"), None)
        cause = "ended before its suite had"
        if any(each["Action"] == "oom" for each in found):
            cause = f"ran out of memory ({self.runner.memory_mb} MiB)"
        if code is not None:
            cause += f" (exit code {code})"
        tail = lines(self.redacted(self._tail.decode(errors="replace")))[-_TAIL_LINES:]
        return ServiceFailedError(self.service, cause, container_exit_code=code, log_tail=tail)

    def _interrupt(self) -> None:
        """Have pytest end in order, and show its output until it has."""
        threading.Thread(target=self._stop, daemon=True).start()
        with suppress(OSError):
            self._account()

    def _stop(self) -> None:
        with suppress(NotFound, APIError, RequestException):
            self.client.api.stop(self._id, timeout=int(GRACE_SECONDS) + 1)

    def _create(self, reference: str) -> str:
        marks = {**self.identity.labels(), labels.SERVICE: self.service, labels.RUNNER: self.service}
        # In memory, so of a size; and a volume, since the engine's archives show nothing of other mounts.
        in_memory = DriverConfig("local", {"type": "tmpfs", "device": "tmpfs", "o": "size=64m,mode=1777"})
        api, network = self.client.api, self.identity.stack
        created = api.create_container(
            reference,
            [self.runner.python, "-u", "-c", _LOADER],
            name=f"{network}-{self.service}-{random_suffix()}",
            hostname=self.service,
            entrypoint=[],
            healthcheck={"test": ["NONE"]},
            stdin_open=True,
            working_dir="/tmp",  # noqa: S108 - in the container
            labels=marks,
            use_config_proxy=False,
            networking_config=api.create_networking_config({network: api.create_endpoint_config()}),
            host_config=api.create_host_config(
                network_mode=network,
                auto_remove=True,
                init=True,
                read_only=True,
                tmpfs={"/tmp": "size=256m", str(ROOT.parent): "size=64m,mode=1777"},  # noqa: S108 - in the container
                mounts=[Mount(str(RESULTS), None, type="volume", labels=marks, driver_config=in_memory)],
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                mem_limit=self.runner.memory_mb * _MEBIBYTE,
                memswap_limit=self.runner.memory_mb * _MEBIBYTE,
                nano_cpus=int(self.runner.cpus * 1e9),
                pids_limit=self.runner.pids,
                log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            ),
        )
        return str(created["Id"])


def read(line: bytes) -> Account | None:
    """Return the account in a line of standard error, which is not trusted; None if it is another line."""
    if not line.startswith(ACCOUNT):
        return None
    try:
        return Account.model_validate_json(line.removeprefix(ACCOUNT))
    except ValidationError:
        return None
