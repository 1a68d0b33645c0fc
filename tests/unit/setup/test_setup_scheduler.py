"""Chains of steps run side by side, the first failure ends the rest, and progress is shown."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import scheduler
from ephemera.setup.scheduler import make_ready
from ephemera.setup.work import CancelledError, Work

DEADLINE_SECONDS = 20.0


class FakeStep:
    def __init__(self, name: str, *, done: bool = False, does: Callable[[Work], None] | None = None) -> None:
        self.name = name
        self.done = done
        self.runs = 0
        self._does = does

    def check(self) -> bool:
        return self.done

    def run(self, work: Work) -> None:
        self.runs += 1
        if self._does:
            self._does(work)
        self.done = True


def run(*chains: Sequence[FakeStep]) -> str:
    """Makes them ready; what was shown."""
    stream = io.StringIO()
    make_ready(*chains, stream=stream)
    return stream.getvalue()


def test_steps_of_a_chain_run_one_after_the_other() -> None:
    order: list[str] = []
    run([FakeStep(name, does=lambda work: order.append(work.log.stem)) for name in ("docker", "base", "images")])
    assert order == ["docker", "base", "images"]


def test_independent_steps_run_side_by_side() -> None:
    together = threading.Barrier(3, timeout=DEADLINE_SECONDS)

    def meet(_: Work) -> None:
        together.wait()

    run(*([FakeStep(name, does=meet)] for name in ("a", "b", "c")))


def test_nothing_is_shown_and_nothing_runs_when_everything_is_done() -> None:
    step = FakeStep("a", done=True)
    assert run([step], []) == ""
    assert step.runs == 0


def test_only_what_is_not_done_is_told_and_run() -> None:
    docker, images, told = FakeStep("docker", done=True), FakeStep("images"), []  # type: ignore[var-annotated]
    make_ready([docker, images], tell=told.append, stream=io.StringIO())
    assert told == [["images"]]
    assert (docker.runs, images.runs) == (0, 1)


def test_a_failure_ends_the_commands_of_the_others_and_is_raised() -> None:
    running = threading.Event()
    ended: list[type[BaseException]] = []

    def long(work: Work) -> None:
        try:
            work.say("about to start")
            running.set()
            work.run(["sleep", "600"])
        except CancelledError as error:
            ended.append(type(error))
            raise

    def fail(_: Work) -> None:
        assert running.wait(DEADLINE_SECONDS)
        raise MachineError("no network", remedy="plug it in")

    after = FakeStep("after")
    with pytest.raises(MachineError, match="no network: plug it in"):
        run([FakeStep("long", does=long)], [FakeStep("fails", does=fail), after])
    assert ended == [CancelledError]
    assert after.runs == 0


def test_an_operating_system_error_names_the_step() -> None:
    def full(_: Work) -> None:
        raise OSError(28, "No space left on device", "/cache/x")

    with pytest.raises(MachineError, match=r"engine: .*No space left on device.*: free some disk space"):
        run([FakeStep("engine", does=full)])


def test_a_step_that_ran_but_is_not_done_is_an_error() -> None:
    class Broken(FakeStep):
        def check(self) -> bool:
            return False

    with pytest.raises(MachineError, match="engine was made but is not usable"):
        run([Broken("engine")])


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_say_start_and_end() -> None:
    first, last = run([FakeStep("engine")]).splitlines()
    assert first == "engine: started"
    assert last.startswith("engine: done after ")


def test_a_long_step_is_heard_of_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_PLAIN_EVERY_SECONDS", 0)
    progress = scheduler.Progress(stream := io.StringIO())
    with progress.showing("engine") as say:
        say("compiling")
        progress.refresh()
    assert stream.getvalue().splitlines()[1] == "engine: 0 s, compiling"


def test_a_terminal_shows_each_step_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    progress = scheduler.Progress(stream := Terminal())
    with progress.showing("engine") as say, progress.showing("docker") as of_docker:
        say("compiling\x1b[31m")
        of_docker("x" * 200)
        progress.refresh()
        engine, docker = stream.getvalue().rpartition("\x1b[2A")[2].rstrip("\n").split("\n")
    assert engine.startswith("\r\x1b[2K… engine")
    assert engine.endswith("compiling [31m")
    assert docker.startswith("\r\x1b[2K… docker")
    assert len(docker) == 59 + len("\r\x1b[2K")


@pytest.mark.parametrize(
    ("error", "mark", "word"),
    [(None, "✓", "done"), (MachineError("no network"), "✗", "failed"), (CancelledError(), "✗", "stopped")],
)
def test_done_failed_and_stopped_are_told_apart(error: Exception | None, mark: str, word: str) -> None:
    for stream, shown in ((Terminal(), f"{mark} engine"), (io.StringIO(), f"engine: {word} after")):
        with suppress(MachineError, CancelledError), scheduler.Progress(stream).showing("engine"):
            if error:
                raise error
        assert shown in stream.getvalue().splitlines()[-1]
