"""Engines behind SSH: one connection of the machine's own ``ssh`` leads from a local socket to the engine's.

``ssh`` decides with its own configuration, agent and known hosts; nobody is asked for a password. The connection serves
all commands of a user and ends a minute after the last one. Nothing but an SSH login is needed over there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import socket
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ephemera.host import surroundings
from ephemera.host.ownership import check
from ephemera.model.errors import InputError, MachineError

CONNECT_SECONDS = 3
"""How long ``ssh`` may take to log in."""
_IDLE_SECONDS = 60
_REMOTE_SOCKET = "/var/run/docker.sock"
_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_SECONDS - 1}",
    "ControlMaster=yes",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "StreamLocalBindUnlink=yes",
)
_LONGEST_FOLDER = 50
"""A socket's path has 107 characters at most, of which ours and what ssh adds to it take 55."""
_NO_SOCKET, _NOT_ALLOWED = 41, 42


@dataclass(frozen=True, kw_only=True)
class Login:
    """``ssh://user@host:port/path/of/docker.sock``, taken apart. ``target``: what ``ssh`` is told to connect to."""

    target: str
    port: int | None
    socket: str

    @staticmethod
    def of(url: str) -> Login:
        """Raises :class:`InputError` for one without a host, or with a password."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if not parts.hostname or parts.password or port == -1 or parts.hostname.startswith("-"):
            raise InputError(f"{url!r} is no SSH address", remedy="give it as ssh://user@host:port, without a password")
        # As it was written: ssh compares names of its configuration as they are, and urlsplit lowers them.
        name = parts.netloc.rpartition("@")[2]
        name = name[: -len(f":{port}")] if port else name
        user = f"{unquote(parts.username)}@" if parts.username else ""
        path = parts.path if parts.path not in ("", "/") else _REMOTE_SOCKET
        return Login(target=f"{user}{name.strip('[]')}", port=port, socket=path)

    @property
    def arguments(self) -> Sequence[str]:
        """At the end of ssh's command line, before a command."""
        return (*(("-p", str(self.port)) if self.port else ()), "--", self.target)


def socket_of(url: str) -> Path:
    """A local socket that leads to the engine behind ``url``; raises :class:`MachineError` within 3 s."""
    login = Login.of(url)
    path = folder() / f"{digest(url)}.sock"
    if not accepts(path):
        # Under a name of its own first: of two at once each has a whole one, and the last one stays.
        own = folder() / f"{digest(url)}-{secrets.token_hex(3)}"
        _open(login, own)
        own.with_suffix(".sock").replace(path)
    return path


def explain(url: str) -> MachineError:
    """Why an engine does not answer behind a connection that is there."""
    login = Login.of(url)
    quoted = shlex.quote(login.socket)
    asked = f"test -S {quoted} || exit {_NO_SOCKET}; test -w {quoted} || exit {_NOT_ALLOWED}"
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_SECONDS}", *login.arguments, asked]
    try:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=ssh_environment(),
            timeout=CONNECT_SECONDS,
            check=False,
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        code = -1
    where = f"{login.socket} on {login.target}"
    if code == _NOT_ALLOWED:
        return MachineError(
            f"the user that ssh logs in as may not use {where}", remedy="add it to the docker group over there"
        )
    if code == _NO_SOCKET:
        remedy = "start Docker there; a socket elsewhere is named in the address, ssh://host/run/user/1000/docker.sock"
        return MachineError(f"there is no {where}", remedy=remedy)
    return MachineError(f"no Docker engine answers at {where}", remedy="see to it that it runs there")


def open_connection(login: Login, own: Path, *options: str) -> list[str]:
    """Command line of a connection that forwards ``own.sock`` to the engine and is controlled through ``own.ctl``."""
    given = [argument for option in (*_OPTIONS, *options) for argument in ("-o", option)]
    return [
        "ssh", "-T", *given, "-o", f"ControlPath={own.with_suffix('.ctl')}", "-E", str(own.with_suffix(".log")),
        "-L", f"{own.with_suffix('.sock')}:{login.socket}",
    ]  # fmt: skip


def accepts(path: Path) -> bool:
    """Whether somebody listens on that socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def folder() -> Path:
    """Where sockets are: short, since a socket's path is, and nobody else's."""
    runtime = surroundings.variables().get("XDG_RUNTIME_DIR", "")
    fits = 0 < len(runtime) <= _LONGEST_FOLDER and Path(runtime).is_dir()
    path = Path(runtime, "ephemera") if fits else Path("/tmp", f"ephemera-{os.getuid()}")  # noqa: S108 - checked below
    check(path.parent, "set XDG_RUNTIME_DIR to a folder that only you can change", leads_on=True)
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise MachineError(f"{path} is not this user's alone", remedy="remove it, or set XDG_RUNTIME_DIR")
    return path


def digest(text: str) -> str:
    """A short name for ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ssh_environment() -> dict[str, str]:
    """The process environment without what is ours: a connection is no part of the run that opened it."""
    return {key: value for key, value in surroundings.variables().items() if not key.startswith("EPHEMERA_")}


def why(login: Login, log: Path) -> MachineError:
    """The error for a login that failed, from what ``ssh`` said."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()] if log.exists() else []
    said = " ".join(lines)
    by_hand = f"`ssh {' '.join(('-p', str(login.port), login.target) if login.port else (login.target,))}`"
    remedy = f"try {by_hand}"
    if "Host key verification failed" in said or "REMOTE HOST IDENTIFICATION HAS CHANGED" in said:
        remedy = f"connect once by hand with {by_hand} and check its host key"
    elif "Permission denied" in said:
        remedy = f"load a key that it accepts with `ssh-add`: no password is asked for; then try {by_hand}"
    cause = lines[-1] if lines else f"no answer within {CONNECT_SECONDS} s"
    return MachineError(f"ssh cannot log in to {login.target} ({cause[:200]})", remedy=remedy)


def _open(login: Login, own: Path) -> None:
    log = own.with_suffix(".log")
    command = [*open_connection(login, own, f"ControlPersist={_IDLE_SECONDS}"), "-f", "-N", *login.arguments]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ssh_environment(),
            start_new_session=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )
        if done.returncode != 0 or not own.with_suffix(".sock").exists():
            raise why(login, log)
    except FileNotFoundError as error:
        raise MachineError(
            f"ssh is not installed, and the Docker engine is at {login.target}", remedy="install OpenSSH's client"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise why(login, log) from error
    finally:
        log.unlink(missing_ok=True)
