"""The box under fire: waits for a moment of its life, kills somebody, and counts what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from docker import DockerClient

from ephemera.docker.connection import connected
from ephemera.home import leases
from ephemera.home.leases import Lease
from ephemera.home.paths import cache_dir
from ephemera.model import labels
from tests.driver_command import Ephemera, until

CLEAN_SECONDS = 15.0
"""Whatever was killed: after that nothing is left."""
_MOMENT_SECONDS = 90.0
_EVENT_SECONDS = 0.05

NOBODY = "nobody"
"""Who was killed when the strike came too late: what ended well is counted too, and is none of the kills."""

Moment = Literal["lease", "build", "network", "volume", "container", "gate", "tests", "destroy", "replacement"]
Victim = Literal["owner", "engine", "plugin", "guardian"]
_ENGINE_PROCESSES = {"engine": "pulumi", "plugin": "pulumi-resource-docker"}
# Where a command that was killed before it held anything leaves files, until the next one.
_OF_NOTHING = ("operations", "guardians")


@dataclass(frozen=True)
class Outcome:
    """One kill: whom, when, how long until nothing was left, or what still was after that."""

    victim: str
    moment: str
    seconds: float
    left: tuple[str, ...]

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def parse(text: str) -> Outcome:
        """Read it back."""
        return Outcome(**json.loads(text))


@dataclass
class Box:
    """``command``: ephemera in a project and state of the test's own. ``image``: name of the image that is built.
    ``record``: takes every outcome."""

    command: Ephemera
    image: str
    record: Callable[[Outcome], None]

    @property
    def stack(self) -> str:
        """The only stack of this user; empty while there is none."""
        folder = self.command.state / "ephemera" / "leases"
        return next((path.stem for path in folder.glob("*.json")), "")

    def lease(self) -> Lease | None:
        """Its lease."""
        return leases.read_file(self.command.state / "ephemera" / "leases" / f"{self.stack}.json")

    @contextmanager
    def at(self, moment: Moment) -> Iterator[Callable[[], None]]:
        """Gives a function that returns when that moment has come; to be entered before it can."""
        if moment in ("lease", "tests"):
            path = self.command.project / "testing"
            reached = (lambda: self.lease() is not None) if moment == "lease" else path.exists
            yield lambda: until(reached, _MOMENT_SECONDS)
            return
        with connected() as client, _events(client) as events:
            yield lambda: _wait(events, lambda event: self._is(moment, event))

    def kill(self, victim: Victim, owner: subprocess.Popen[str]) -> bool:
        """SIGKILL; False when there is nobody of that kind just now."""
        if victim == "owner":
            owner.kill()
            return True
        if victim == "guardian":
            lease = self.lease()
            return lease is not None and lease.guardian is not None and _kill(lease.guardian.pid)
        found = [process.pid for process in self.processes() if _name(process) == _ENGINE_PROCESSES[victim]]
        killed = [_kill(pid) for pid in found]  # all of them, not up to the first
        return any(killed)

    def processes(self) -> list[psutil.Process]:
        """Every process that works for this user."""
        return [process for process in psutil.process_iter() if _works_for(process, str(self.command.state))]

    def left(self) -> list[str]:
        """Everything that nobody should leave: objects, state, leases, locks, addresses, processes, build's rests."""
        with connected() as client:
            return [*self.command.left(), *self._processes(), *self._intermediates(client)]

    def is_clean(self, victim: str, moment: str) -> None:
        """Assert that nothing is left within 15 s from now, and write it down."""
        started = time.monotonic()
        left = self.left()
        while left and time.monotonic() - started < CLEAN_SECONDS:
            time.sleep(_EVENT_SECONDS)
            left = self.left()
        if left and not self.stack and all(Path(path).parent.name in _OF_NOTHING for path in left):
            assert self.command("reap").code == 0  # as any command does that makes, lists or ends environments
            left = self.left()
        outcome = Outcome(victim, moment, round(time.monotonic() - started, 2), tuple(left))
        self.record(outcome)
        assert left == [], f"{victim} killed at {moment}: after {outcome.seconds} s there still was {', '.join(left)}"

    def _is(self, moment: Moment, event: dict[str, Any]) -> bool:
        attributes = event["Actor"]["Attributes"]
        found = f"{event['Type']} {event['Action']}"
        if moment == "build":
            return found == "container start" and bool(attributes.get(labels.IMAGE) == self.image)
        if moment == "network":
            return found == "network create" and bool(attributes.get("name") == self.stack)
        if moment == "volume":
            return found == "volume create" and str(event["Actor"]["ID"]).startswith(self.stack or "?")
        wanted = {
            "container": "container create",
            "gate": "container start",
            "destroy": "container die",
            "replacement": "container destroy",
        }[moment]
        ours = attributes.get(labels.BACKEND) == self.command.backend and labels.STACK in attributes  # no build's step
        return found == wanted and bool(ours)

    def _processes(self) -> list[str]:
        return [f"process {process.pid} {_name(process)}" for process in self.processes()]

    def _intermediates(self, client: DockerClient) -> list[str]:
        wanted = {"label": f"{labels.IMAGE}={self.image}"}
        containers = [item["Id"] for item in client.api.containers(all=True, filters=wanted)]
        layers = [item["Id"] for item in client.api.images(filters={**wanted, "dangling": True})]
        locks = [path.name for path in (cache_dir() / "locks").glob(f"*{self.image}*")]
        return [
            *(f"build's container {item[:12]}" for item in containers),
            *(f"layer {item}" for item in layers),
            *locks,
        ]


def killed(process: subprocess.Popen[str]) -> None:
    """SIGKILL a command, and wait for its end; not for its output, which what it started may hold open."""
    process.kill()
    process.wait(10)


def remove_images(image: str) -> None:
    """Remove every image that was built under that name."""
    with connected() as client:
        for item in client.api.images(filters={"label": f"{labels.IMAGE}={image}"}):
            client.api.remove_image(item["Id"], force=True)


@contextmanager
def _events(client: DockerClient) -> Iterator[Iterator[dict[str, Any]]]:
    # From now on, though the stream may be opened a little later.
    stream = client.api.events(since=int(time.time()), decode=True)
    deadline = threading.Timer(_MOMENT_SECONDS, stream.close)
    deadline.start()
    try:
        yield stream
    finally:
        deadline.cancel()
        stream.close()


def _wait(events: Iterator[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool]) -> None:
    assert any(wanted(event) for event in events), f"it did not come within {_MOMENT_SECONDS} s"


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _name(process: psutil.Process) -> str:
    try:
        command: Sequence[str] = process.cmdline()
        return Path(command[0]).name if command else ""
    except psutil.NoSuchProcess:
        return ""


def _works_for(process: psutil.Process, state: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get("XDG_STATE_HOME") == state or _is_fork_for(process, Path(state).parent)
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False


def _is_fork_for(process: psutil.Process, folder: Path) -> bool:
    """Whether it is a fork of the warm process that works in ``folder``, or writes there: its variables do not tell."""
    if "ephemera.warm.server" not in process.cmdline():
        return False
    places = [process.cwd(), *(file.path for file in process.open_files())]
    return any(Path(place).is_relative_to(folder) for place in places)
