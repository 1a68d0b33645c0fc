from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import psutil
import pytest

from ephemera.host.processes import ProcessId, end_group, end_marked, end_tree
from tests.unit.processes import heard, python

# A leader with one child in its group and one that left for a session of its own; both say so when they are there.
_FAMILY = "sh -c 'echo $$; exec sleep 60' & setsid sh -c 'echo $$; exec sleep 60' & wait"


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], list[ProcessId]]]:
    """A group's leader, not waited for, and its two children."""
    leader = subprocess.Popen(["sh", "-c", _FAMILY], stdout=subprocess.PIPE, text=True, start_new_session=True)
    children = [ProcessId.of(int(heard(leader))) for _ in range(2)]
    yield leader, children
    for pid in (leader.pid, *(child.pid for child in children if child.alive())):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
    leader.communicate()


def _gone(processes: list[ProcessId]) -> bool:
    psutil.wait_procs([psutil.Process(each.pid) for each in processes if each.alive()], timeout=5)
    return not any(each.alive() for each in processes)


def test_this_process_lives() -> None:
    assert ProcessId.of() == ProcessId.of(os.getpid())
    assert ProcessId.of().alive()


def test_ended_process_is_dead_even_before_it_is_waited_for() -> None:
    with python("input()") as process:
        identity = ProcessId.of(process.pid)
        assert identity.alive()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.alive(), "a zombie"
        process.wait()
        assert not identity.alive()


def test_another_process_with_the_same_number_is_not_it() -> None:
    now = ProcessId.of()
    assert not replace(now, ticks=now.ticks - 6000).alive()


def test_setting_the_clock_changes_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    me = ProcessId.of()
    monkeypatch.setattr(psutil, "boot_time", lambda: 0.0)
    monkeypatch.setattr(time, "time", lambda: 10.0)
    assert ProcessId.of() == me
    assert me.alive()


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({"namespace": "pid:[1]"}, "unknown"),
        ({"namespace": "pid:[1]", "host": "devcontainer/"}, "unknown"),
        ({"boot": "other", "host": "elsewhere/"}, "unknown"),
        ({"boot": "other"}, "dead"),
        ({"boot": "", "namespace": "", "host": "", "ticks": 0}, "unknown"),
    ],
    ids=["another namespace", "a container", "another host", "before a reboot", "of an earlier version"],
)
def test_process_that_cannot_be_seen_from_here_is_judged_only_where_that_is_certain(
    fields: dict[str, Any], fate: str
) -> None:
    assert replace(ProcessId.of(), **fields).fate() == fate


def test_process_is_not_judged_by_its_number_in_another_namespace() -> None:
    script = (
        "import json, sys; from ephemera.host.processes import ProcessId; "
        "print(ProcessId(**json.loads(sys.argv[1])).fate())"
    )
    inside = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        sys.executable,
        "-c",
        script,
        json.dumps(asdict(ProcessId.of())),
    ]
    done = subprocess.run(inside, capture_output=True, text=True, check=True)
    assert done.stdout == "unknown\n"


def test_group_ends_with_all_that_left_it(family: tuple[subprocess.Popen[str], list[ProcessId]]) -> None:
    leader, children = family
    groups = {os.getpgid(child.pid) for child in children}
    assert len(groups) == 2, "one of them left the group"
    identity = ProcessId.of(leader.pid)
    end_group(identity)
    assert not identity.alive()
    assert not any(child.alive() for child in children)


def test_group_ends_though_its_leader_died_first(family: tuple[subprocess.Popen[str], list[ProcessId]]) -> None:
    leader, children = family
    identity = ProcessId.of(leader.pid)
    in_group = [child for child in children if os.getpgid(child.pid) == leader.pid]
    leader.kill()
    leader.wait()
    end_group(identity)
    assert _gone(in_group)


def test_member_of_its_group_that_it_did_not_start_is_left_alone() -> None:
    """A group keeps its number while it has members; one that joined it from another session is not ours."""
    leader = subprocess.Popen(["sleep", "60"], process_group=0)
    joined = subprocess.Popen(["sleep", "60"], process_group=leader.pid)
    try:
        identity, foreign = ProcessId.of(leader.pid), ProcessId.of(joined.pid)
        leader.kill()
        leader.wait()
        end_group(identity)
        assert foreign.alive()
    finally:
        joined.kill()
        joined.wait()


def test_group_of_another_namespace_is_left_alone(family: tuple[subprocess.Popen[str], list[ProcessId]]) -> None:
    leader, children = family
    end_group(replace(ProcessId.of(leader.pid), namespace="pid:[1]"))
    assert ProcessId.of(leader.pid).alive()
    assert all(child.alive() for child in children)


def test_foreign_group_with_the_leaders_number_is_left_alone(
    family: tuple[subprocess.Popen[str], list[ProcessId]],
) -> None:
    leader, children = family
    foreign = ProcessId.of(leader.pid)
    end_group(replace(foreign, ticks=foreign.ticks - 6000))
    gone, _ = psutil.wait_procs([psutil.Process(each.pid) for each in (foreign, *children)], timeout=0.2)
    assert gone == []


def test_tree_ends_and_a_foreign_one_with_its_number_does_not(
    family: tuple[subprocess.Popen[str], list[ProcessId]],
) -> None:
    leader, children = family
    identity = ProcessId.of(leader.pid)
    end_tree(replace(identity, ticks=identity.ticks - 6000))
    assert identity.alive()
    end_tree(identity)
    assert not any(process.alive() for process in (identity, *children))
    end_tree(identity)


def test_group_that_is_gone_is_no_error() -> None:
    with python("pass") as process:
        identity = ProcessId.of(process.pid)
        process.wait()
    end_group(identity)


def test_marked_processes_are_ended_wherever_they_went() -> None:
    marked = subprocess.Popen(
        ["sh", "-c", _FAMILY],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "EPHEMERA_TEST_MARK": "this"},
    )
    children = [ProcessId.of(int(heard(marked))) for _ in range(2)]
    with python("print('there', flush=True); input()") as other:
        heard(other)
        assert end_marked("EPHEMERA_TEST_MARK", "that") == 0
        assert end_marked("EPHEMERA_TEST_MARK", "this") == 3
        assert other.poll() is None
    marked.wait(timeout=5)
    assert not any(child.alive() for child in children)
    marked.communicate()
