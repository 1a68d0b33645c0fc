"""Real processes, of Python alone."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import processes
from benchmarks.processes import CommandFailedError
from tests.unit.benchmarks.doubles import python

_DEADLINE = 20.0
_BUSY = "import time\nwhile time.process_time() < {seconds}: pass\n"
_HOLDING = "import sys; print('starting'); print('ready', flush=True); sys.stdin.read()"


@pytest.fixture(autouse=True)
def _not_a_parent_of_orphans_afterwards() -> Iterator[None]:
    processes.adopt_orphans()
    yield
    ctypes.CDLL(None).prctl(processes._PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def test_time_is_from_the_first_start_to_the_last_end() -> None:
    measured, held = processes.run([python("import time; time.sleep(0.3)"), python("")], _DEADLINE)
    assert 0.3 <= measured.seconds < 5
    assert held == []


def test_cpu_and_memory_of_descendants_count() -> None:
    busy = "import time; text = b'x' * (80 << 20)\nwhile time.process_time() < 0.4: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    measured, _ = processes.run([python(child)], _DEADLINE, watched=True)
    assert 0.4 <= measured.cpu_seconds < 3
    assert 80 << 20 <= measured.peak_bytes < 400 << 20


def test_memory_is_not_looked_at_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_proportional", lambda _: pytest.fail("looked at"))
    measured, _ = processes.run([python("import time; time.sleep(0.2)")], _DEADLINE)
    assert measured.peak_bytes == 0


def test_what_a_tool_leaves_to_end_by_itself_counts_but_not_as_time() -> None:
    busy = _BUSY.format(seconds=2)
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {busy!r}], start_new_session=True)"
    measured, _ = processes.run([python(child)], _DEADLINE)
    assert measured.cpu_seconds >= 2
    assert measured.seconds < 2


def test_ready_is_when_it_says_so_and_its_end_is_measured_apart() -> None:
    busy = _BUSY.format(seconds=1) + _HOLDING + "\n" + _BUSY.format(seconds=1.5)
    measured, held = processes.run([python(busy, holds=True), python(_HOLDING, holds=True)], _DEADLINE)
    assert [process.code for process in held] == [None, None]
    assert 0.9 < measured.cpu_seconds < 1.5
    finished = processes.finish(held, _DEADLINE)
    assert [process.code for process in held] == [0, 0]
    assert 0.4 < finished.cpu_seconds < 1, "what was counted before is not counted again"


@pytest.mark.parametrize("holds", [True, False])
def test_failed_command_is_an_error_with_its_last_words(holds: bool) -> None:
    with pytest.raises(CommandFailedError, match=r"(?s)ended with 7.*no such image"):
        processes.run(
            [python("import sys; print('no such image', file=sys.stderr); sys.exit(7)", holds=holds)], _DEADLINE
        )


def test_one_that_ends_well_without_ever_being_ready_has_failed() -> None:
    with pytest.raises(CommandFailedError, match="ended with 0"):
        processes.run([python("print('hello')", holds=True)], _DEADLINE)


def test_failed_command_ends_those_beside_it() -> None:
    before = processes._children(os.getpid())  # of other tests
    started = time.monotonic()
    with pytest.raises(CommandFailedError, match="ended with 3"):
        processes.run([python("import time; time.sleep(60)"), python("import sys; sys.exit(3)")], _DEADLINE)
    assert time.monotonic() - started < _DEADLINE
    assert processes._children(os.getpid()) <= before


def test_command_that_takes_too_long_is_ended() -> None:
    before = processes._children(os.getpid())
    with pytest.raises(CommandFailedError, match=r"was not done after 0\.2 s"):
        processes.run([python("import time; time.sleep(60)")], 0.2)
    assert processes._children(os.getpid()) <= before


def test_ctrl_c_lets_the_tool_clean_up(tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    tool = f"import pathlib, time\ntry: time.sleep(60)\nfinally: pathlib.Path({str(cleaned)!r}).touch()"
    code = (
        "import os, signal, sys, threading, time\n"
        "from benchmarks import processes\n"
        "from tests.unit.benchmarks.doubles import python\n"
        "threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        f"processes.run([python({tool!r})], 30)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert cleaned.exists()


def test_what_stays_is_told_and_its_work_counts_for_those_it_works_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that burns as much time as it is asked for, through a pipe with a name, and says when it has."""
    orders, answers = tmp_path / "orders", tmp_path / "answers"
    for pipe in (orders, answers):
        os.mkfifo(pipe)
    daemon = (
        "import os, sys, time\n"
        "if os.fork(): sys.exit()\n"
        "os.setsid()\n"
        f"while True:\n"
        f"    with open({str(orders)!r}) as file: seconds = float(file.read())\n"
        "    if (worker := os.fork()) == 0:\n"
        "        while time.process_time() < seconds: pass\n"
        "        os._exit(0)\n"
        "    os.waitpid(worker, 0)\n"
        f"    open({str(answers)!r}, 'w').close()\n"
    )
    monkeypatch.setattr(processes, "_ORPHAN_SECONDS", 0.5)
    measured, _ = processes.run([python(daemon)], _DEADLINE)
    try:
        (stayed,) = measured.stayed
        ask = f"open({str(orders)!r}, 'w').write('0.4'); open({str(answers)!r}).read()"
        alone, _ = processes.run([python(ask)], _DEADLINE, watched=True)
        with_it, _ = processes.run([python(ask)], _DEADLINE, measured.stayed, watched=True)
        assert alone.cpu_seconds < 0.3
        assert 0.35 < with_it.cpu_seconds < 1.0
        assert with_it.peak_bytes > alone.peak_bytes
        assert with_it.stayed == frozenset()
    finally:
        processes.stop(measured.stayed)
    with pytest.raises(ProcessLookupError):
        os.kill(stayed, 0)
