"""What is remembered and when, what is refused before anything is changed, and who waits for whom."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ephemera.docker import connection as host_engine
from ephemera.home import identity, leases, scratch
from ephemera.home.paths import state_dir
from ephemera.lifecycle import resetting
from ephemera.model.data import NO_DATA, DataError
from ephemera.model.errors import InputError, NotReadyError, UnknownNameError
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import FakeClient, lease_of, marks

_STACK = "shop-main"
_DATA = """
CALLS = []

class Kept:
    def remember(self, service):
        CALLS.append(("remember", service.name, service.container))
        if service.name == "broken":
            raise __import__("ephemera.model.data", fromlist=["x"]).DataError("it is broken", remedy="mend it")
        return f"state of {service.name}"

    def restore(self, service, remembered):
        CALLS.append(("restore", service.name, remembered))
        return "done"

KEPT = Kept()
"""


class World:
    """An environment of services with data, as the engine and its outputs tell of it."""

    def __init__(self, workspace: Workspace, docker: FakeClient) -> None:
        self.workspace = workspace
        self.docker = docker
        self.services: dict[str, ServiceOutputs] = {}
        self.told: list[str] = []

    @property
    def outputs(self) -> EnvironmentOutputs:
        return EnvironmentOutputs(stack=_STACK, system="shop", branch="main", services=self.services)

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """What the implementation was asked since the last time."""
        module = sys.modules.get("kept_data")
        calls: list[tuple[str, str, str]] = list(module.CALLS) if module else []
        if module:
            module.CALLS.clear()
        return calls

    def add(self, name: str, data: str = "kept_data:KEPT", *, volume: str = "", container: str = "") -> None:
        """A service; ``container``: instead of the one that it had."""
        listed = self.docker.api.listed_containers
        listed[:] = [item for item in listed if item["Labels"]["ephemera.service"] != name]
        mounts = [{"Type": "volume", "Name": volume}] if volume else [{"Type": "tmpfs", "Name": ""}]
        labels = marks(_STACK, identity.backend_id(), name)
        self.docker.api.add("container", container or f"{_STACK}-{name}", labels, Mounts=mounts)
        self.services[name] = ServiceOutputs(container=f"{_STACK}-{name}", image="sha256:1", data=data)

    def ready(self, *, again: bool = False) -> None:
        """It has become ready."""
        resetting.remember_ready(
            self.workspace, self.outputs, lambda event: self.told.append(event["message"]), again=again
        )

    def reset(self, *only: str) -> list[str]:
        return [each.service for each in resetting.reset(self.workspace, self.outputs, only)]


@pytest.fixture
def world(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (workspace.project / "kept_data.py").write_text(_DATA)
    docker = FakeClient()
    monkeypatch.setattr(host_engine, "connect", lambda: docker)
    leases.write(lease_of(_STACK))
    made = World(workspace, docker)
    made.add("db")
    yield made
    sys.modules.pop("kept_data", None)


def test_each_is_remembered_once_and_brought_back_with_what_it_gave(world: World) -> None:
    world.add("cache")
    world.add("api", data="")
    world.ready()
    assert sorted(world.calls) == [
        ("remember", "cache", "shop-main-cache-id"),
        ("remember", "db", "shop-main-db-id"),
    ]
    assert world.reset() == ["db", "cache"]
    assert sorted(world.calls) == [("restore", "cache", "state of cache"), ("restore", "db", "state of db")]
    assert world.reset("cache") == ["cache"]
    assert world.calls == [("restore", "cache", "state of cache")]
    assert world.told == []


def test_same_containers_are_not_remembered_again_unless_asked(world: World) -> None:
    world.add("api", data="")
    world.ready()
    world.ready()
    assert len(world.calls) == 1
    world.ready(again=True)
    assert len(world.calls) == 1
    world.add("api", data="", container="another")  # its migrations may have changed the data
    world.ready()
    assert len(world.calls) == 1
    world.add("db", data="kept_data:CALLS")
    world.ready()
    assert "'kept_data:CALLS' is a list: it must be a Data" in world.told[0]


def test_what_is_kept_is_for_the_user_alone_and_goes_with_the_stack(world: World) -> None:
    world.ready()
    (kept,) = state_dir().glob("scratch/shop-main/data/*.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "state of db" in kept.read_text()
    scratch.remove(_STACK)
    assert not list(state_dir().glob("scratch/*"))


def test_data_that_nothing_brings_back_is_refused_by_name(world: World) -> None:
    world.add("files", data="", volume="shop-main-files")
    world.add("nothing", data=NO_DATA, volume="shop-main-nothing")
    world.ready()
    assert world.calls
    with pytest.raises(
        InputError, match=r"nothing can bring the data of 'files' \(volume shop-main-files\) back.*--only"
    ):
        world.reset()
    assert world.calls == []
    assert world.reset("db") == ["db"]
    with pytest.raises(InputError, match="'files'"):
        world.reset("files")
    with pytest.raises(UnknownNameError, match="did you mean 'files'"):
        world.reset("file")


def test_what_was_not_remembered_or_is_no_more_is_refused(world: World) -> None:
    with pytest.raises(InputError, match=r"the data of 'db' in shop-main was not remembered: .*--remember"):
        world.reset()
    world.ready()
    world.add("db", container="another")
    with pytest.raises(InputError, match="'db' in shop-main is another container than the one"):
        world.reset()
    assert resetting.remember(world.workspace, world.outputs) == ["db"]
    assert world.reset() == ["db"]


def test_what_cannot_be_remembered_fails_nothing_and_is_told_when_it_is_wanted(world: World) -> None:
    world.add("broken")
    world.add("lost", data="kept_data:LOST")
    world.ready()
    assert sorted(told.partition(":")[0] for told in world.told) == ["broken cannot be reset", "lost cannot be reset"]
    with pytest.raises(InputError, match="broken cannot be reset: it is broken: mend it"):
        world.reset()
    assert [call for call in world.calls if call[0] == "restore"] == []
    assert world.reset("db") == ["db"]
    with pytest.raises(DataError, match="cannot be reset"):
        resetting.remember(world.workspace, world.outputs)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"services": {}}'])
def test_file_that_is_none_counts_as_nothing_remembered(world: World, text: str) -> None:
    world.ready()
    (kept,) = state_dir().glob("scratch/shop-main/data/*.json")
    kept.write_text(text)
    with pytest.raises(InputError, match="was not remembered"):
        world.reset()
    world.ready()
    assert json.loads(kept.read_text())["services"]["db"]["given"] == "state of db"


def test_environment_without_data_needs_no_engine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.services = {"api": ServiceOutputs(container="shop-main-api", image="sha256:1")}
    monkeypatch.setattr(host_engine, "connect", lambda: pytest.fail("asked"))
    world.ready()


@pytest.mark.parametrize("service", ["db", "api"])
def test_service_that_makes_no_databases_is_refused(world: World, service: str) -> None:
    world.add("api", data="")
    world.ready()
    refused = resetting.databases(world.workspace, world.outputs, service)
    with pytest.raises(InputError, match=f"service '{service}' makes no databases"), refused:
        pass


class Users:
    """Threads that use data, each as a process of its own would: the kernel tells them apart by their open files."""

    def __init__(self) -> None:
        self.entered: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._leave: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def start(self, kind: str, name: str) -> None:
        leave = self._leave[name] = threading.Event()

        def use() -> None:
            with resetting.alone(_STACK) if kind == "alone" else resetting.using(_STACK):
                self.entered.put(name)
                leave.wait(30)

        self._threads.append(threading.Thread(target=use))
        self._threads[-1].start()

    def end(self, name: str) -> None:
        self._leave[name].set()

    def next(self) -> str:
        return self.entered.get(timeout=30)

    def close(self) -> None:
        for leave in self._leave.values():
            leave.set()
        for thread in self._threads:
            thread.join(30)


@pytest.mark.parametrize("only", [(), ("web",)])
def test_container_that_is_missing_is_named(world: World, only: tuple[str, ...]) -> None:
    world.add("web", data="", volume="shop-main-web")
    world.ready()
    world.docker.api.listed_containers.pop()
    with pytest.raises(NotReadyError, match="service 'web' of shop-main has no container: bring it back"):
        resetting.reset(world.workspace, world.outputs, only)
    with pytest.raises(NotReadyError, match="'web'"):
        resetting.remember(world.workspace, world.outputs)
    resetting.reset(world.workspace, world.outputs, ["db"])


@pytest.fixture
def users(world: World) -> Iterator[Users]:
    made = Users()
    yield made
    made.close()


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _waiting() -> int:
    """How many wait for a lock of the stack, as the kernel tells."""
    files = {path.stat().st_ino for path in state_dir().glob(f"scratch/{_STACK}/data/*.lock")}
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return sum(int(line.split()[6].rpartition(":")[2]) in files for line in waiting)


def test_those_who_use_it_do_so_together_and_who_resets_it_has_it_alone(users: Users) -> None:
    users.start("using", "first")
    users.start("using", "second")
    assert {users.next(), users.next()} == {"first", "second"}
    with pytest.raises(InputError, match="tests are using the data of shop-main"), resetting.alone(_STACK, wait=False):
        pass
    users.start("alone", "reset")
    _until(lambda: _waiting() == 1)
    users.start("using", "late")  # it came later: it waits, or the reset could wait for ever
    _until(lambda: _waiting() == 2 or not users.entered.empty())
    users.end("first")
    assert users.entered.empty()
    users.end("second")
    assert users.next() == "reset"
    assert users.entered.empty()
    users.end("reset")
    assert users.next() == "late"


def test_who_is_killed_keeps_nobody_out(world: World) -> None:
    script = (
        "import sys; from ephemera.lifecycle import resetting\n"
        f"with resetting.alone({_STACK!r}): print('in', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with pytest.raises(InputError), resetting.alone(_STACK, wait=False):
            pass
        process.kill()
    with resetting.alone(_STACK, wait=False):
        pass


def test_lock_leaves_nothing_of_a_stack_that_is_gone(world: World) -> None:
    with resetting.using(_STACK):
        leases.remove(_STACK)
    assert not list(Path(state_dir()).glob("scratch/*"))
