"""The forwarder: a process that brings the published ports of one environment here, from an engine behind SSH.

``python -m ephemera.docker.forwarder URL STACK BACKEND``: for each port that a container of the stack publishes on a
loopback address over there, listens on the same address and port here. It follows the engine's events, connects again
when the connection is lost, and ends when the stack's network is gone: nobody has to end it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ephemera.docker import tunnel
from ephemera.host.processes import start_detached
from ephemera.model import labels

_LOGIN_SECONDS = 10.0
_POLL_SECONDS = 0.05
_PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 600.0
"""An engine that is out of reach for that long is given up; the next ``up`` starts another forwarder."""

Forward = tuple[str, int]


def hold(url: str, stack: str, backend: str) -> None:
    """Have a forwarder for the stack whose network is there; one that runs is left alone."""
    with _alone(url, stack) as ours:
        if not ours:
            return
    log = _own(url, stack).with_suffix(".out")
    log.unlink(missing_ok=True)
    arguments = (url, stack, backend)
    with log.open("a") as output:
        start_detached("ephemera.docker.forwarder", arguments, output, tunnel.ssh_environment()).returncode = 0


def main(arguments: list[str]) -> int:
    """Forward until the stack's network is gone."""
    url, stack, backend = arguments
    own = _own(url, stack)
    with _alone(url, stack) as ours:
        if not ours:
            return 0
        lost = time.monotonic()
        while time.monotonic() - lost < _PATIENCE_SECONDS:
            with _login(url, own) as there:
                if there:
                    if _follow(url, own, stack, backend):
                        own.with_suffix(".out").unlink(missing_ok=True)
                        return 0
                    lost = time.monotonic()
            time.sleep(_PAUSE_SECONDS)
    print(f"{url} is out of reach for {_PATIENCE_SECONDS:g} s", flush=True)
    return 1


def _follow(url: str, own: Path, stack: str, backend: str) -> bool:
    """Forward what there is after every event; True when the network is gone, False when the connection is."""
    import docker
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    forwarded: set[Forward] = set()
    try:
        client = docker.DockerClient(base_url=f"unix://{own.with_suffix('.sock')}", version="auto")
    except DockerException as error:
        print(error, flush=True)
        return False
    try:
        # Asked for before the first look, so that nothing happens in between.
        events = client.api.events(decode=True, filters={"event": ["start", "die", "destroy"]})
        while True:
            wanted = _published(client, stack, backend)
            if wanted is None:
                return True
            for forward in sorted(wanted - forwarded):
                _control(url, own, "forward", forward)
            for forward in sorted(forwarded - wanted):
                _control(url, own, "cancel", forward)
            forwarded = wanted
            if next(events, None) is None:
                return False
    except (DockerException, RequestException, OSError) as error:
        print(error, flush=True)
        return False
    finally:
        client.close()


def _published(client: Any, stack: str, backend: str) -> set[Forward] | None:
    """Loopback addresses and ports that the stack's containers publish over TCP, since SSH forwards nothing else; None
    when its network is gone."""
    filters = labels.filters(backend, stack)
    if not client.api.networks(filters=filters):
        return None
    return {
        (port["IP"], port["PublicPort"])
        for container in client.api.containers(filters=filters)
        for port in container["Ports"]
        if "PublicPort" in port and port["Type"] == "tcp" and port["IP"].startswith("127.")
    }


@contextmanager
def _login(url: str, own: Path) -> Iterator[bool]:
    """A connection of its own while the block runs; whether there is one."""
    login = tunnel.Login.of(url)
    for suffix in (".sock", ".ctl"):
        own.with_suffix(suffix).unlink(missing_ok=True)
    # `cat` ends with its standard input, so with this process, and the connection with it: also after SIGKILL.
    process = subprocess.Popen(
        [*tunnel.open_connection(login, own), *login.arguments, "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _LOGIN_SECONDS
        while not (there := tunnel.accepts(own.with_suffix(".sock"))):
            if process.poll() is not None or time.monotonic() > deadline:
                print(tunnel.why(login, own.with_suffix(".log")), flush=True)
                break
            time.sleep(_POLL_SECONDS)
        yield there
    finally:
        process.kill()
        process.communicate()
        for suffix in (".sock", ".ctl", ".log"):
            own.with_suffix(suffix).unlink(missing_ok=True)


def _control(url: str, own: Path, action: str, forward: Forward) -> None:
    address, port = forward
    command = ["ssh", "-S", str(own.with_suffix(".ctl")), "-O", action, "-L", f"{address}:{port}:{address}:{port}"]
    done = subprocess.run(
        [*command, *tunnel.Login.of(url).arguments], capture_output=True, text=True, timeout=_LOGIN_SECONDS, check=False
    )
    if done.returncode != 0:
        print(f"{action} {address}:{port}: {done.stderr.strip()}", flush=True)


@contextmanager
def _alone(url: str, stack: str) -> Iterator[bool]:
    """Whether no other process is the stack's forwarder; nobody else becomes it while the block runs."""
    path = _own(url, stack).with_suffix(".lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            ours = False
        try:
            yield ours
        finally:
            if ours:
                path.unlink(missing_ok=True)


def _own(url: str, stack: str) -> Path:
    return tunnel.folder() / f"{tunnel.digest(url)}-{tunnel.digest(stack)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
