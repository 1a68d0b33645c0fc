"""State folders with one damaged document: each command gives the right result or one clear error, and touches no other
environment."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from ephemera.cli import commands_lifecycle
from ephemera.cli.main import main
from ephemera.docker import connection as docker_engine
from ephemera.home import addresses, leases
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import holding, pool, reaper, removal
from ephemera.model import labels
from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import EngineError
from ephemera.model.outputs import EXPORT, EnvironmentOutputs, ServiceOutputs
from ephemera.pulumi import engine, engine_locks, known, process_variables, state
from ephemera.pulumi import workspace as workspace_module
from ephemera.pulumi.workspace import Workspace
from ephemera.resources.manifests import KNOWN
from ephemera.setup.toolchain import Toolchain
from tests.driver_command import Done
from tests.fuzz.state_folders import DAMAGED, DUE, STACKS, Damage, Files, damaged, fill, whole
from tests.surroundings import follow
from tests.unit.doubles import FakeClient, marks

_SEED = 9
_CATALOG = """
from ephemera import System
SYSTEMS = [System("data"), System("web")]
"""
_KNOWN = {
    name: Manifest(suite="tests", services={service: Service()})
    for name, service in (("data", "postgres"), ("web", "web"))
}
_BACKEND = "212ead31adc1"


class Machine:
    """A machine whose Docker engine and Pulumi are played; ``root`` holds the state and the checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docker = FakeClient()

    def reset(self, damage: Damage) -> None:
        """As it was before any command."""
        damage.files.write(self.root)
        self.docker.close()
        self.docker = FakeClient()
        fill(self.docker)

    def __call__(self, *arguments: str) -> Done:
        """Run the command, here."""
        out, err = io.StringIO(), io.StringIO()
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(sys, "argv", ["ephemera", *arguments])
            for number in (signal.SIGINT, signal.SIGTERM):
                stack.callback(signal.signal, number, signal.getsignal(number))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            with pytest.raises(SystemExit) as ended:
                main()
        return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def objects(self, stack: str) -> set[str]:
        """Names of what Docker holds of it."""
        api = self.docker.api
        found = [*api.listed_containers, *api.listed_networks, *api.listed_volumes]
        return {str(item.get("Name") or item["Names"][0]) for item in found if item["Labels"][labels.STACK] == stack}


class Pulumi:
    """Its engine, as far as the driver sees it: it reads the state, and makes or removes what is in it."""

    def __init__(self, machine: Callable[[], FakeClient]) -> None:
        self._docker = machine

    def up(
        self, workspace: Workspace, stack: str, _report: Any, *, ready: Any = lambda _: None, **_how: Any
    ) -> EnvironmentOutputs:
        if not state.resources(workspace, stack):
            workspace.state_file(stack).write_text(json.dumps({"version": 3, "checkpoint": {"latest": {}}}))
        addresses.allocate(stack, pool="10.213.0.0/16")
        api = self._docker().api
        if not api.networks({"label": f"{labels.STACK}={stack}"}):
            api.add("network", stack, marks(stack, _BACKEND))
        if not api.containers(all=True, filters={"label": f"{labels.STACK}={stack}"}):
            api.add("container", f"{stack}-postgres", marks(stack, _BACKEND, "postgres"))
        found = self._outputs(stack)
        ready(found)
        return found

    def run(self, workspace: Workspace, stack: str, arguments: list[str]) -> str:
        if not state.resources(workspace, stack):
            raise EngineError(f"`pulumi {' '.join(arguments)}` failed for {stack}")
        if arguments[0] == "refresh":
            return ""  # what is missing is made again by the update
        if arguments[0] == "destroy":
            api = self._docker().api
            for items in (api.listed_containers, api.listed_networks, api.listed_volumes):
                items[:] = [item for item in items if item["Labels"][labels.STACK] != stack]
            workspace.state_file(stack).unlink()
            return ""
        return json.dumps({EXPORT: self._outputs(stack).document()})

    def _outputs(self, stack: str) -> EnvironmentOutputs:
        container = ServiceOutputs(container=f"{stack}-postgres", image="", data="ephemera.model.data:NO_DATA")
        return EnvironmentOutputs(stack=stack, system="data", branch="main", services={"postgres": container})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of state and checkout: the same one for all, since documents name it."""
    root = tmp_path_factory.mktemp("machine") / "root"
    (root / "shop").mkdir(parents=True)
    (root / "shop" / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (root / "shop" / "pyproject.toml").write_text('[tool.ephemera]\ncatalog = "fuzzed_catalog:SYSTEMS"\n')
    (root / "shop" / "fuzzed_catalog.py").write_text(_CATALOG)
    return root


@pytest.fixture
def machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """The machine; no process is started or ended on it."""
    machine = Machine(root)
    pulumi = Pulumi(lambda: machine.docker)
    toolchain = Toolchain(pulumi=root / "bin/pulumi", bin_dir=root / "bin", pulumi_home=root / "pulumi")
    for variable in [name for name in os.environ if name.startswith(("EPHEMERA_", "PULUMI_", "DOCKER_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_STATE_HOME", str(root / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "cache"))
    monkeypatch.setenv("EPHEMERA_BRANCH", "main")
    monkeypatch.chdir(root / "shop")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(docker_engine, "connect", lambda: machine.docker)
    monkeypatch.setattr(workspace_module, "located", lambda: toolchain)
    monkeypatch.setattr(engine, "up", pulumi.up)
    monkeypatch.setattr(engine, "run", pulumi.run)
    monkeypatch.setattr(holding, "keep", lambda _project, _stack, record: record(ProcessId.of_started(2**22 - 1)))
    monkeypatch.setattr(commands_lifecycle, "make_ready", lambda *_, **__: 0.0)
    for module, name in ((engine, "end_all"), (removal, "end_group"), (removal, "end_tree")):
        monkeypatch.setattr(module, name, lambda _: 0)
    for module in (reaper, pool):
        monkeypatch.setattr(module, "start_if_due", lambda: None)
    # Nothing has to be waited for: no engine is at work that was killed a moment before.
    monkeypatch.setattr(removal, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(engine_locks, "_WRITING_SECONDS", 0.0)
    # What is known is compared with what is there as if nothing else had changed.
    monkeypatch.setattr(known, "_state_is", lambda *_: True)
    monkeypatch.setattr(process_variables, "digest", lambda **_: "")
    told = KNOWN.set(_KNOWN)
    yield machine
    KNOWN.reset(told)
    machine.docker.close()


@pytest.fixture(scope="module")
def undamaged(root: Path) -> Files:
    """The folder as it is before it is damaged."""
    with pytest.MonkeyPatch.context() as patch:
        follow(patch)
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        return whole(root)


@pytest.fixture(scope="module")
def folders(undamaged: Files) -> list[Damage]:
    """All of them."""
    return list(damaged(undamaged, _SEED))


_PARTS = 8


def test_five_hundred_folders_with_every_kind_of_document(folders: list[Damage]) -> None:
    assert len(folders) >= 500
    kinds = {damage.document.removeprefix("state/ephemera/").partition("/")[0] for damage in folders}
    assert kinds >= {
        *("leases", "addresses.json", "machine.json", "pools", "known", "recordings", "pulumi", "scratch"),
        *("backend-id", "key", "passphrase", "derived-keys", "guardians", "operations", "shop"),
    }


def test_whole_folder_is_worked_with_as_ever(machine: Machine, undamaged: Files) -> None:
    whole_one = Damage("state/ephemera/none", "not damaged", undamaged)
    machine.reset(whole_one)
    for check in (_listed, _brought_up, _taken_down, _reaped):
        machine.reset(whole_one)
        done = check(machine, whole_one)
        assert (done.code, _errors(done)) == (0, []), done


@pytest.mark.parametrize("part", range(_PARTS))
def test_damaged_folder_gives_the_right_result_or_one_clear_error(
    machine: Machine, folders: list[Damage], part: int
) -> None:
    for damage in folders[part::_PARTS]:
        for check in (_listed, _brought_up, _taken_down, _reaped):
            machine.reset(damage)
            before = {stack: machine.objects(stack) for stack in STACKS}
            try:
                done = check(machine, damage)
                _is_clear(done)
                after = Files.of(machine.root)
                spared = {stack for stack in STACKS if stack != DAMAGED and stack not in damage.document}
                for stack in spared if check is not _reaped else spared - set(DUE):
                    assert machine.objects(stack) == before[stack], f"objects of {stack}"
                    assert after.about(stack) == damage.files.about(stack), f"records of {stack}"
            except BaseException as error:
                error.add_note(f"{check.__name__} with {damage}")
                raise


def _listed(machine: Machine, damage: Damage) -> Done:
    done = machine("ls", "--output", "json")
    if done.code == 0:
        assert {item["stack"] for item in done.json} == set(STACKS)
    else:
        assert damage.blocks or damage.forges, done
        assert set(done.json["error"]) >= {"kind", "message", "remedy"}
    return done


def _brought_up(machine: Machine, damage: Damage) -> Done:
    before = machine.objects(DAMAGED)
    done = machine("up", "data")
    assert machine.objects(DAMAGED) >= before, "an environment that was there is not destroyed"
    if done.code == 0 and not damage.blocks:
        found = leases.read(DAMAGED)
        assert found is not None
        assert (found.phase, found.holder) == ("kept", None)
    return done


def _taken_down(machine: Machine, damage: Damage) -> Done:
    before = machine.objects(DAMAGED)
    done = machine("down", DAMAGED)
    if damage.forges and done.code != 0:
        assert machine.objects(DAMAGED) == before
    elif not damage.blocks:
        assert machine.objects(DAMAGED) == set(), done
    if done.code == 0:
        assert machine.objects(DAMAGED) == set()
        assert Files.of(machine.root).about(DAMAGED) == {}
    return done


def _reaped(machine: Machine, damage: Damage) -> Done:
    done = machine("reap")
    assert done.code == 0 or damage.blocks or damage.forges, done
    if done.code == 0 and not damage.forges:
        there = {stack for stack in STACKS if machine.objects(stack)}
        known = {stack for stack in STACKS if stack not in damage.document}
        assert there & known == known - set(DUE)
    return done


def _is_clear(done: Done) -> None:
    assert done.code in (0, 2, 3, 4, 5), done
    assert "Traceback" not in done.out + done.err
    errors = _errors(done)
    if done.code == 0:
        assert errors == [], done
    elif not done.out.startswith("{"):
        said = errors or [line for line in done.err.splitlines() if "; " in line and "gone after" not in line]
        assert len(said) == len({line.partition(":")[0] for line in said}) > 0, "one of the command, or of each stack"


def _errors(done: Done) -> list[str]:
    """Lines that tell an error, rather than what was found on the way."""
    told = re.compile(r"cannot be read \(.*(\)|; kept as \S+)$|stays taken: |is not recorded: ")
    lines = [line for line in done.err.splitlines() if line.startswith("ephemera: ")]
    return [line for line in lines if not told.search(line)]
