"""A runner's container: hardened like every container, told what to do over its standard input, gone when that ends."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.types import DriverConfig, LogConfig, Mount
from requests.exceptions import RequestException

from ephemera.contract import labels
from ephemera.contract.errors import InputError, ServiceFailedError
from ephemera.contract.images import is_root
from ephemera.contract.names import random_suffix
from ephemera.contract.runner import Runner
from ephemera.contract.text import lines
from ephemera.driver import removal, streams
from ephemera.driver.in_network import account
from ephemera.driver.in_network.account import Account
from ephemera.host import clock
from ephemera.inside.main import GRACE_SECONDS, RESULTS, ROOT

_TAIL_LINES = 20
_TAIL_BYTES = 8192
_REMOVED_SECONDS = 20.0
_MEBIBYTE = 1024 * 1024
_STDOUT, _STDERR = 1, 2
_TAKEN = b"\n"

# What it runs is in what it is handed: its length as a line, then the archive. Nothing of it is in the command.
_LOADER = f"""\
import io, os, sys, tarfile
os.umask(0o077)
given = sys.stdin.buffer.read(int(sys.stdin.buffer.readline()))
tarfile.open(fileobj=io.BytesIO(given)).extractall({str(ROOT)!r}, filter="data")
sys.path.insert(0, {str(ROOT / "lib")!r})
from ephemera.inside.main import main
sys.exit(main())
"""


class RunnerContainer:
    """One run's. ``identity``: the environment's; ``redacted``: hides its credentials in a text. Use it as a context:
    whatever happens in it, the container goes."""

    def __init__(
        self,
        client: DockerClient,
        service: str,
        runner: Runner,
        reference: str,
        identity: labels.Identity,
        redacted: Callable[[str], str],
    ) -> None:
        self._client = client
        self._redacted = redacted
        self._service = service
        self._memory_mb = runner.memory_mb
        self._tail = b""
        _refuse_root(client, service, reference)
        self._id = _create(client, service, runner, reference, identity)
        self._stream: Any = None

    def __enter__(self) -> RunnerContainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        try:
            if self._stream is not None and kind is not None and not issubclass(kind, ServiceFailedError):
                self._stop()
        finally:
            if self._stream is not None:
                streams.close(self._stream)
            removal.remove_one(self._client, "container", self._id)

    def run(self, archive: bytes, show: Callable[[bytes], object]) -> Account:
        """Hand ``archive`` in, ``show`` what pytest says as it says it, and return when it has ended; the container
        then waits for :meth:`dismiss`.

        Raises :class:`ServiceFailedError` when the container ended first, and :class:`InputError` when its image lacks
        what it needs.
        """
        api = self._client.api
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._stream = api.attach_socket(self._id, params=wanted)
        self._show = show
        try:
            api.start(self._id)
        except APIError as error:
            raise InputError(
                f"runner {self._service!r} cannot be started", remedy=str(error.explanation or error).strip()
            ) from error
        threading.Thread(target=self._send, args=(b"%d\n" % len(archive) + archive,), daemon=True).start()
        for line in self._lines():
            if (told := account.read(line)) is not None:
                return self._checked(told)
            self._said(line + b"\n")  # before anything of ours could run in it
        raise self._failed(*self._cause_of_death())

    def results(self) -> Iterable[bytes]:
        """Its results folder, as a tar archive."""
        chunks: Iterable[bytes] = self._client.api.get_archive(self._id, str(RESULTS))[0]
        return chunks

    def dismiss(self) -> None:
        """Its results were taken: it ends, and the engine removes it with all that it held."""
        self._send(_TAKEN)
        # Between its end and its removal there is nothing to wait for; and it may be gone by now.
        with suppress(NotFound, APIError, RequestException):
            self._client.api.wait(self._id, timeout=_REMOVED_SECONDS, condition="removed")

    def _lines(self) -> Iterable[bytes]:
        """What comes on standard error, by line; pytest's output is shown on the way."""
        rest = b""
        for kind, data in streams.frames(self._stream):
            if kind == _STDERR:
                *whole, rest = (rest + data).split(b"\n")
                yield from whole
            elif kind == _STDOUT:
                self._said(data)

    def _said(self, data: bytes) -> None:
        self._show(data)
        self._tail = (self._tail + data)[-_TAIL_BYTES:]

    def _checked(self, told: Account) -> Account:
        if told.missing:
            raise InputError(
                f"runner {self._service!r} cannot run a suite: its image has no {' and no '.join(told.missing)}",
                remedy="install it there",
            )
        if told.exit_code < 0:
            raise self._failed("was killed before it had ended", 128 - told.exit_code, told.out_of_memory)
        return told

    def _cause_of_death(self) -> tuple[str, int | None, bool]:
        """Why the container is gone. The engine has removed it, and keeps its last events for a while."""
        filters = {"container": self._id, "event": ["die", "oom"]}
        found = list(self._client.api.events(since=0, until=int(clock.now()) + 1, filters=filters, decode=True))
        code = next((int(each["Actor"]["Attributes"]["exitCode"]) for each in found if each["Action"] == "die"), None)
        return "ended before its suite had", code, any(each["Action"] == "oom" for each in found)

    def _failed(self, cause: str, exit_code: int | None, out_of_memory: bool) -> ServiceFailedError:
        if out_of_memory:
            cause = f"ran out of memory ({self._memory_mb} MiB)"
        code = f" (exit code {exit_code})" if exit_code is not None else ""
        tail = lines(self._redacted(self._tail.decode(errors="replace")))[-_TAIL_LINES:]
        return ServiceFailedError(self._service, f"{cause}{code}", container_exit_code=exit_code, log_tail=tail)

    def _stop(self) -> None:
        """Ask it to end, and show what it has to say until it has."""
        threading.Thread(target=self._stop_politely, daemon=True).start()
        with suppress(OSError):
            for _ in self._lines():
                pass

    def _stop_politely(self) -> None:
        with suppress(NotFound, APIError, RequestException):
            self._client.api.stop(self._id, timeout=int(GRACE_SECONDS) + 1)

    def _send(self, data: bytes) -> None:
        connection: socket.socket = getattr(self._stream, "_sock", self._stream)
        with suppress(OSError):  # it has ended: what comes from it says why
            connection.sendall(data)


def _create(client: DockerClient, service: str, runner: Runner, reference: str, identity: labels.Identity) -> str:
    marks = {**identity.labels(), labels.SERVICE: service, labels.RUNNER: service}
    results = Mount(
        str(RESULTS),
        None,
        type="volume",
        labels=marks,
        # In memory, so of a size; and a volume, since the engine's archives show nothing of other mounts.
        driver_config=DriverConfig("local", {"type": "tmpfs", "device": "tmpfs", "o": "size=64m,mode=1777"}),
    )
    network = identity.stack
    try:
        created = client.api.create_container(
            reference,
            [runner.python, "-c", _LOADER],
            name=f"{identity.stack}-{service}-{random_suffix()}",
            hostname=service,
            entrypoint=[],
            healthcheck={"test": ["NONE"]},
            stdin_open=True,
            working_dir="/tmp",  # noqa: S108 - in the container
            labels=marks,
            use_config_proxy=False,
            networking_config=client.api.create_networking_config({network: client.api.create_endpoint_config()}),
            host_config=client.api.create_host_config(
                network_mode=network,
                auto_remove=True,
                init=True,
                read_only=True,
                tmpfs={"/tmp": "size=256m", str(ROOT.parent): "size=64m,mode=1777"},  # noqa: S108 - in the container
                mounts=[results],
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                mem_limit=runner.memory_mb * _MEBIBYTE,
                memswap_limit=runner.memory_mb * _MEBIBYTE,
                nano_cpus=int(runner.cpus * 1e9),
                pids_limit=runner.pids,
                log_config=LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            ),
        )
    except APIError as error:
        raise InputError(
            f"no container can be made for runner {service!r} of {identity.stack}",
            remedy=str(error.explanation or error).strip(),
        ) from error
    return str(created["Id"])


def _refuse_root(client: DockerClient, service: str, reference: str) -> None:
    if is_root(str(client.api.inspect_image(reference)["Config"]["User"])):
        raise InputError(f"runner {service!r} is to run as root", remedy="give its image another user: USER 1000:1000")
