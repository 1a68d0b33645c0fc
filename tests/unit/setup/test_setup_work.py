"""Child processes: their lines, their failures, their end; and locks between processes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ephemera.home.locks import locked
from ephemera.home.paths import cache_dir
from ephemera.setup.work import CancelledError, Children, CommandFailedError, Work

DEADLINE_SECONDS = 20.0


def work(children: Children | None = None) -> tuple[Work, list[str]]:
    lines: list[str] = []
    return Work("some step", lines.append, children), lines


def test_every_line_is_said_and_logged() -> None:
    doing, lines = work()
    assert doing.run(["bash", "-c", "printf 'one\\rtwo\\n'; echo three >&2"]) == ["one", "two", "three"]
    assert lines == ["one", "two", "three"]
    assert "three" in doing.log.read_text()
    assert doing.log.name == "some-step.log"


def test_a_failure_carries_code_and_last_lines() -> None:
    doing, _ = work()
    with pytest.raises(CommandFailedError) as caught:
        doing.run(["bash", "-c", "echo cannot link; exit 3"])
    assert caught.value.code == 3
    error = caught.value.as_machine_error("the engine cannot be built", "try again")
    assert str(error) == f"the engine cannot be built (cannot link): try again (full log: {doing.log})"
    assert error.exit_code == 5


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("write /x: No space left on device", "free some disk space"),
        ("dial tcp: lookup example: no such host", "check the network"),
        ("Temporary failure resolving 'example'", "check the network"),
    ],
)
def test_a_known_cause_has_a_remedy_of_its_own(said: str, remedy: str) -> None:
    doing, _ = work()
    with pytest.raises(CommandFailedError) as caught:
        doing.run(["bash", "-c", f'echo "{said}"; exit 1'])
    error = caught.value.as_machine_error("failed", "something else")
    assert error.remedy.startswith(remedy)
    assert "something else" not in str(error)


def test_cancelling_ends_a_child_with_its_descendants(tmp_path: Path) -> None:
    children = Children()
    started, ended = threading.Event(), threading.Event()

    def say(_: str) -> None:
        started.set()

    doing = Work("some step", say, children)
    script = f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/pid; echo up; wait"

    def body() -> None:
        with pytest.raises(CancelledError):
            doing.run(["bash", "-c", script])
        ended.set()

    thread = threading.Thread(target=body)
    thread.start()
    assert started.wait(DEADLINE_SECONDS)
    grandchild = os.pidfd_open(int((tmp_path / "pid").read_text()))
    children.cancel()
    thread.join(DEADLINE_SECONDS)
    assert ended.is_set()
    assert select.select([grandchild], [], [], DEADLINE_SECONDS)[0] == [grandchild], "it has ended"
    os.close(grandchild)


def test_nothing_starts_after_cancelling() -> None:
    children = Children()
    children.cancel()
    with pytest.raises(CancelledError):
        work(children)[0].run(["true"])


def test_the_second_process_waits_and_says_so() -> None:
    path = cache_dir() / "locks" / "engine.lock"
    path.parent.mkdir(parents=True)
    script = (
        "import sys; from pathlib import Path; from ephemera.home.locks import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder, holder.stdin:
        assert holder.stdout.readline() == "held\n"
        said = threading.Event()
        lines: list[str] = []
        got = threading.Event()

        def say(line: str) -> None:
            lines.append(line)
            said.set()

        def body() -> None:
            with Work("engine", say).alone("engine"):
                got.set()

        thread = threading.Thread(target=body)
        thread.start()
        assert said.wait(DEADLINE_SECONDS)
        assert not got.is_set()
        holder.stdin.close()
        assert got.wait(DEADLINE_SECONDS)
        thread.join()
    assert lines == ["another ephemera is at it, waiting for it to finish"]
    assert not path.exists()


def test_waiting_for_a_lock_ends_when_cancelled() -> None:
    children = Children()
    waiting = threading.Event()
    outcome: list[BaseException] = []

    def say(_: str) -> None:
        waiting.set()

    def body() -> None:
        try:
            with Work("engine", say, children).alone("engine"):
                pass
        except CancelledError as error:
            outcome.append(error)

    with locked(cache_dir() / "locks" / "engine.lock"):
        thread = threading.Thread(target=body)
        thread.start()
        assert waiting.wait(DEADLINE_SECONDS)
        children.cancel()
        thread.join(DEADLINE_SECONDS)
    assert len(outcome) == 1
