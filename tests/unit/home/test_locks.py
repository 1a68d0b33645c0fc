from __future__ import annotations

import fcntl
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from ephemera.home.locks import LockTimeoutError, locked
from tests.unit.processes import heard, python, tell

_HOLDER = """
import sys
from pathlib import Path
from ephemera.home.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""


def test_lock_keeps_another_process_out_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "one.lock"
    with python(_HOLDER, str(path)) as holder:
        assert heard(holder) == "held"
        with (
            pytest.raises(LockTimeoutError, match=r"held by another process for 0\.05 s"),
            locked(path, timeout_seconds=0.05),
        ):
            pytest.fail("it was let in")
        tell(holder)
        with locked(path, timeout_seconds=5):
            assert heard(holder) == "released"


def test_kernel_drops_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    with python(_HOLDER, str(path)) as holder:
        assert heard(holder) == "held"
        holder.kill()
        with locked(path, timeout_seconds=5):
            pass


def test_lock_is_released_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    with pytest.raises(ZeroDivisionError), locked(path):
        raise ZeroDivisionError
    with locked(path, timeout_seconds=0):
        pass


def test_lock_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    with locked(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_file_deleted_while_waited_for_locks_nobody_out_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited on a file that was deleted must queue up at the new one: two at once would be two holders."""
    path = tmp_path / "one.lock"
    inside = threading.Event()
    tries: list[threading.Event] = [threading.Event(), threading.Event()]
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        if threading.current_thread() is waiter:
            next(event for event in tries if not event.is_set()).set()
        real(descriptor, operation)

    def wait() -> None:
        with locked(path):
            inside.set()

    waiter = threading.Thread(target=wait)
    monkeypatch.setattr(fcntl, "flock", flock)
    with ExitStack() as old:
        old.enter_context(locked(path))
        waiter.start()
        assert tries[0].wait(5)
        path.unlink()
        with locked(path):
            old.close()
            assert tries[1].wait(5), "it took the lock of the deleted file for the lock"
            assert not inside.is_set()
    waiter.join(5)
    assert inside.is_set()


def test_holder_may_delete_the_file(tmp_path: Path) -> None:
    path = tmp_path / "one.lock"
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with locked(path, timeout_seconds=0):
            path.unlink()
    assert not path.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
