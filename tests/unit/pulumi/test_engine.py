from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ephemera.home import leases
from ephemera.host.processes import ProcessId
from ephemera.model.catalog import from_document
from ephemera.model.errors import EngineError, ServiceFailedError
from ephemera.model.progress import Event
from ephemera.pulumi import engine
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY, SHOP

_DOCUMENT = {"schema_version": 1, "stack": "shop-main", "system": "shop", "branch": "main", "services": {}}

Script = Callable[[str], None]


@pytest.fixture
def pulumi(workspace: Workspace) -> Script:
    """Makes a ``pulumi`` that runs the given shell lines."""

    def make(text: str) -> None:
        _script(workspace.project.parent / "bin" / "pulumi", text)

    return make


@pytest.fixture
def program(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Makes a child process that runs the given shell lines in place of the project's program."""

    def make(text: str) -> None:
        path = workspace.project.parent / "python"
        _script(path, text)
        monkeypatch.setattr(sys, "executable", str(path))

    return make


def _script(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def _saying(*events: Event) -> str:
    return "\n".join(f"cat <<'END'\n{json.dumps(event)}\nEND" for event in events)


def test_cli_is_run_on_the_stack_and_answers(workspace: Workspace, pulumi: Script) -> None:
    pulumi('echo "$PULUMI_BACKEND_URL"; echo "$@"; pwd; echo noise >&2')
    backend, arguments, folder = engine.run(workspace, "shop-main", ["stack", "output"]).splitlines()
    assert backend == workspace.exported()["PULUMI_BACKEND_URL"]
    assert arguments == "stack output --stack shop-main --non-interactive --color never"
    assert folder == str(workspace.project)


def test_failed_cli_tells_its_error_and_last_lines(workspace: Workspace, pulumi: Script) -> None:
    pulumi("seq 60; echo 'warning: x'; echo '    error: no such stack' >&2; exit 255")
    with pytest.raises(EngineError, match=r"`pulumi destroy --yes .*` failed for shop-main: no such stack") as caught:
        engine.destroy(workspace, "shop-main")
    assert len(caught.value.output) == 40
    assert caught.value.output[-1] == "    error: no such stack"


def test_stack_outlives_its_checkout(workspace: Workspace, pulumi: Script) -> None:
    assert workspace.name == "demo"
    pulumi("cat Pulumi.yaml")
    (workspace.project / "Pulumi.yaml").unlink()
    assert engine.run(workspace, "shop-main", ["destroy"]) == "name: demo\nruntime: python\n"


def test_outputs_come_from_the_stacks_state(workspace: Workspace, pulumi: Script) -> None:
    pulumi(_saying({"environment": _DOCUMENT}))
    assert engine.outputs(workspace, "shop-main").document() == _DOCUMENT
    pulumi("echo '{}'")
    with pytest.raises(EngineError, match="shop-main has no outputs: it is not up"):
        engine.outputs(workspace, "shop-main")


def test_program_reports_as_it_runs_and_gives_its_outputs(workspace: Workspace, program: Script) -> None:
    gate = {"type": "gate", "service": "db", "state": "ready", "seconds": 1.0, "detail": ""}
    program(_saying(gate, {"type": "outputs", "document": _DOCUMENT}))
    seen: list[Event] = []
    assert engine.up(workspace, "shop-main", seen.append, catalog={}).document() == _DOCUMENT
    assert seen == [gate]


def test_program_is_told_the_manifest_and_gets_no_other_input(workspace: Workspace, program: Script) -> None:
    program("cat > request; " + _saying({"type": "outputs", "document": _DOCUMENT}))
    engine.up(workspace, "shop-main", lambda _: None, catalog={"shop": SHOP})
    (told,) = json.loads((workspace.project / "request").read_text()).items()
    assert (told[0], from_document(told[1])) == ("shop", SHOP)


def test_timed_run_tells_what_is_made_after_what_also_of_what_it_deleted(workspace: Workspace, program: Script) -> None:
    state = workspace.state_file("shop-main")
    state.parent.mkdir(parents=True)
    provider = {"urn": "urn:provider", "type": "pulumi:providers:docker", "custom": True}
    old = {"urn": "urn:old", "type": "docker:index/container:Container", "custom": True, "dependencies": ["urn:db"]}
    new = {"urn": "urn:new", "custom": True, "type": "x", "parent": "urn:component", "provider": "urn:provider::1-2"}

    def write(*resources: dict[str, Any]) -> str:
        return json.dumps({"checkpoint": {"latest": {"resources": list(resources)}}})

    state.write_text(write(provider, old))
    program(
        f"cat > {state} <<'END'\n{write(provider, new)}\nEND\n"
        + 'for last; do :; done; echo "{\\"type\\": \\"notice\\", \\"message\\": \\"$last\\"}"\n'
        + _saying({"type": "outputs", "document": _DOCUMENT})
    )
    seen: list[Event] = []
    engine.up(workspace, "shop-main", seen.append, catalog={}, timed=True)
    assert seen == [
        {"type": "notice", "message": "events"},
        {
            "type": "dependencies",
            "of": {"urn:provider": [], "urn:old": ["urn:db"], "urn:new": ["urn:component", "urn:provider"]},
        },
    ]


def test_failed_gate_is_raised_without_waiting_for_the_engine(workspace: Workspace, program: Script) -> None:
    error = ServiceFailedError("api", "exited", container_exit_code=3, log_tail=["no database"])
    program(_saying({"type": "failed", "error": error.document()["error"]}) + "\nsleep 60")
    started = time.monotonic()
    with pytest.raises(ServiceFailedError) as caught:
        engine.up(workspace, "shop-main", lambda _: None, catalog={})
    assert time.monotonic() - started < 10
    assert caught.value.document() == error.document()


def test_failed_engine_tells_its_error(workspace: Workspace, program: Script) -> None:
    output = ["updating", "    error: port is taken", *["done"] * 100]
    program(_saying({"type": "engine_failed", "output": output}) + "\nexit 1")
    with pytest.raises(EngineError, match="could not bring up shop-main: port is taken") as caught:
        engine.up(workspace, "shop-main", lambda _: None, catalog={})
    assert caught.value.output == tuple(output)


def test_program_that_crashes_tells_its_last_line(workspace: Workspace, program: Script) -> None:
    program("echo 'Traceback' >&2; echo 'NameError: x' >&2; exit 1")
    with pytest.raises(EngineError, match="could not bring up shop-main: NameError: x"):
        engine.up(workspace, "shop-main", lambda _: None, catalog={})


def test_program_without_outputs_is_told_how_to_end(workspace: Workspace, program: Script) -> None:
    program("exit 0")
    with pytest.raises(EngineError, match=r"exports no 'environment': end __main__.py with ephemera.run"):
        engine.up(workspace, "shop-main", lambda _: None, catalog={})


def test_engine_that_runs_is_in_the_lease_and_ends_as_a_whole(workspace: Workspace, program: Script) -> None:
    """Whatever ends the driver's wait ends the engine, its plugin and its language host."""
    leases.first_seen("shop-main", "demo", str(workspace.project), IDENTITY)
    notice = {"type": "notice", "message": "$!"}
    # The child's own child says its pid and lives on; both must be gone afterwards.
    program(f"sleep 60 &\necho '{json.dumps(notice)}' | sed s/[$]!/$!/\nwait")
    left: list[ProcessId] = []

    def report(event: Event) -> None:
        lease = leases.read("shop-main")
        assert lease is not None
        assert lease.engine is not None
        left.extend([lease.engine, ProcessId.of(int(event["message"]))])
        assert all(process.alive() for process in left)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.up(workspace, "shop-main", report, catalog={})
    assert len(left) == 2
    assert not any(process.alive() for process in left)
    lease = leases.read("shop-main")
    assert lease is not None
    assert lease.engine is None
