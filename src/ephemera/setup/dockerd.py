"""The Docker engine: one that answers is used as it is; where there is none, root on Debian gets one."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ephemera.docker.address import Tls, configured
from ephemera.docker.connection import DEFAULT_HOST, docker_host
from ephemera.home.paths import state_dir
from ephemera.model.errors import MachineError
from ephemera.setup import apt
from ephemera.setup.work import CommandFailedError, Work

MAY_NOT_USE = "run `sudo usermod -aG docker $USER` and log in again"
"""The remedy for a user outside of Docker's group."""
_PING_SECONDS = 2.0
_START_SECONDS = 60.0
_POLL_SECONDS = 0.1
_SYSTEMD = Path("/run/systemd/system")
_PROCESSES = Path("/proc")
_PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}


class DockerEngine:
    """An engine that answers."""

    name = "docker"

    def __init__(self) -> None:
        self._problem: Exception | None = None

    def check(self) -> bool:
        self._problem = answers()
        return self._problem is None

    def run(self, work: Work) -> None:
        with work.alone("docker"):
            host = docker_host()
            # Only this machine's engine may have been started meanwhile; a dead one elsewhere is not waited for twice.
            problem = (self._problem if host != DEFAULT_HOST else None) or answers()
            if problem is None:
                return
            if host != DEFAULT_HOST:
                raise MachineError(
                    f"no Docker engine answers at {host} ({problem})",
                    remedy="start it, or unset DOCKER_HOST and the Docker context to use the local one",
                )
            if isinstance(problem, PermissionError):
                raise MachineError("this user may not use Docker", remedy=MAY_NOT_USE)
            if shutil.which("dockerd") is None:
                if not apt.available():
                    remedy = "install Docker Engine (as root on Debian or Ubuntu ephemera does it)"
                    raise MachineError("Docker is not installed", remedy=remedy)
                # debootstrap comes with it: a machine without Docker is likely to make its own base image.
                apt.install(work, ("docker.io", "iptables", *apt.DEBOOTSTRAP))
            if os.geteuid() != 0:
                raise MachineError("Docker is not running", remedy="start it with `sudo systemctl start docker`")
            _start(work)
            _spread()


def _start(work: Work) -> None:
    daemon, log = None, work.log
    if _SYSTEMD.is_dir():
        try:
            work.run(["systemctl", "start", "docker"])
        except CommandFailedError as failure:
            raise failure.as_machine_error("systemd cannot start Docker", "see `journalctl -u docker`") from failure
    else:
        log = state_dir() / "logs" / "dockerd.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale_pid_files()
        work.say("starting dockerd")
        with log.open("ab") as output:
            # A daemon of the machine: it outlives this process and its terminal.
            daemon = subprocess.Popen(
                ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True
            )
    deadline = time.monotonic() + _START_SECONDS
    while (problem := answers()) is not None:
        if daemon is not None and daemon.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise MachineError(f"dockerd ended with {daemon.returncode} ({' '.join(last)[:200]})", remedy=f"see {log}")
        if time.monotonic() > deadline:
            raise MachineError(f"Docker does not answer after {_START_SECONDS:g} s ({problem})", remedy=f"see {log}")
        work.pause(_POLL_SECONDS)


def _remove_stale_pid_files() -> None:
    """Remove PID files of daemons that were killed: their number may be another process's, and dockerd would not
    start."""
    for path, daemon in _PID_FILES.items():
        try:
            name = (_PROCESSES / path.read_text().strip() / "comm").read_text().strip()
        except OSError:
            name = ""
        if name != daemon:
            path.unlink(missing_ok=True)


def _spread() -> None:
    """Have ext4 place new volumes, and new layers of images and containers, apart from each other.

    Without a journal it gives out no number of a file that was deleted in the last minutes, and tries those nearby one
    after the other: shortly after others were removed, a new volume takes a fraction of the time in a place of its own.
    """
    with suppress(OSError, http.client.HTTPException):
        _, info = request("GET", "/info")
        folders = [Path(info["DockerRootDir"]) / name for name in ("volumes", info["Driver"])]
        subprocess.run(["chattr", "+T", *folders], capture_output=True, check=False)  # other file systems refuse it


def answers() -> Exception | None:
    """Return None when the engine answers a ping, else the error."""
    try:
        status, _ = request("GET", "/_ping")
    except (OSError, http.client.HTTPException, MachineError) as error:
        return error
    return None if status == http.client.OK else ConnectionError(f"ping was answered with {status}")


def request(
    method: str, path: str, body: dict[str, Any] | None = None, *, timeout_seconds: float = _PING_SECONDS
) -> tuple[int, Any]:
    """Return status and decoded answer of one API call; an engine behind SSH is not asked: 200 and nothing."""
    address = configured()
    url = urlsplit(address.url)
    if url.scheme == "ssh":
        return http.client.OK, {}
    connection = _connection(url, address.tls, timeout_seconds)
    try:
        if url.scheme == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(timeout_seconds)
            connection.sock.connect(url.path)
        encoded = None if body is None else json.dumps(body)
        connection.request(method, path, encoded, {"Content-Type": "application/json"} if encoded else {})
        answer = connection.getresponse()
        content = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(content) if is_json and content else None
    finally:
        connection.close()


def _connection(url: SplitResult, tls: Tls | None, timeout: float) -> http.client.HTTPConnection:
    if url.scheme == "unix":
        return http.client.HTTPConnection("localhost", timeout=timeout)
    if url.scheme not in ("tcp", "http", "https") or not url.hostname:
        remedy = "use unix:///path, tcp://host:port or ssh://user@host"
        raise MachineError(f"DOCKER_HOST {url.geturl()!r} is no address", remedy=remedy)
    if tls is None:
        return http.client.HTTPConnection(url.hostname, url.port or 2375, timeout=timeout)
    return http.client.HTTPSConnection(url.hostname, url.port or 2376, timeout=timeout, context=tls.context())
