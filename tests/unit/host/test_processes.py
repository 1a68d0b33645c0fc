from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

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
    assert not ProcessId(pid=now.pid, started=now.started - 60).alive()


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


def test_foreign_group_with_the_leaders_number_is_left_alone(
    family: tuple[subprocess.Popen[str], list[ProcessId]],
) -> None:
    leader, children = family
    foreign = ProcessId.of(leader.pid)
    end_group(ProcessId(pid=leader.pid, started=foreign.started - 60))
    gone, _ = psutil.wait_procs([psutil.Process(each.pid) for each in (foreign, *children)], timeout=0.2)
    assert gone == []


def test_tree_ends_and_a_foreign_one_with_its_number_does_not(
    family: tuple[subprocess.Popen[str], list[ProcessId]],
) -> None:
    leader, children = family
    identity = ProcessId.of(leader.pid)
    end_tree(ProcessId(pid=leader.pid, started=identity.started - 60))
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
