"""A rootless Docker engine, as an ordinary user starts it: rootlesskit, in namespaces of that user's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import psutil

from ephemera.docker.connection import connected
from ephemera.docker.tunnel import accepts
from tests.driver_command import until

from .person import Person

_START_SECONDS = 60
_STOP_SECONDS = 20
_SCRIPTS = ("/usr/share/docker.io/contrib", "/usr/bin", "/usr/local/bin")
_NEEDED = {
    "rootlesskit": "rootlesskit",
    "newuidmap": "uidmap",
    "slirp4netns": "slirp4netns",
    "fuse-overlayfs": "fuse-overlayfs",
}


@contextmanager
def rootless_engine(person: Person, *references: str) -> Iterator[str]:
    """The engine's URL; it has those images of the machine's engine."""
    for program, package in _NEEDED.items():
        assert shutil.which(program), f"install {package} for these tests"
    script = shutil.which("dockerd-rootless.sh", path=os.pathsep.join(_SCRIPTS))
    assert script, "install docker.io or docker-ce-rootless-extras for these tests"
    runtime = Path(person.entry.pw_dir, "run")
    runtime.mkdir(mode=0o700)
    os.chown(runtime, person.entry.pw_uid, person.entry.pw_gid)
    log = Path(person.entry.pw_dir, "dockerd.log")
    # The privileges that newuidmap has are what it is there for.
    command = [part for part in person.command([script], program="/bin/bash") if part != "--no-new-privs"]
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [*command, "--storage-driver=fuse-overlayfs"],
            cwd="/",
            env={**person.environment(), "XDG_RUNTIME_DIR": str(runtime)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        socket = runtime / "docker.sock"
        until(lambda: accepts(socket) or daemon.poll() is not None, _START_SECONDS)
        assert daemon.poll() is None, log.read_text()[-2000:]
        client = docker.DockerClient(base_url=f"unix://{socket}", timeout=120)
        with connected() as machine:
            for reference in references:
                said = list(client.api.load_image(machine.api.get_image(reference)))
                assert not [each for each in said if "error" in each], said
        client.close()
        yield f"unix://{socket}"
    finally:
        daemon.terminate()
        theirs = _processes(person)
        _, alive = psutil.wait_procs(theirs, timeout=_STOP_SECONDS)
        for process in alive:
            process.kill()
        daemon.wait()


def _processes(person: Person) -> list[psutil.Process]:
    """What runs as the user, or as one of those that are theirs inside of the engine."""
    lines = [line.split(":") for line in Path("/etc/subuid").read_text().splitlines()]
    first = next(int(start) for name, start, _ in lines if name == person.entry.pw_name)
    found = psutil.process_iter(["uids"])
    return [
        process
        for process in found
        if process.info["uids"].real == person.entry.pw_uid or first <= process.info["uids"].real < first + 65536
    ]
