"""Steps run in the order of their needs, side by side, and the first failure ends the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import pytest

from ephemera.contract.errors import MachineError
from ephemera.machine.scheduler import make_ready
from ephemera.machine.work import CancelledError, Work

DEADLINE_SECONDS = 20.0


class Recorder:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []
        self.lines: list[str] = []

    def started(self, name: str) -> None:
        self.events.append(("started", name))

    def said(self, name: str, line: str) -> None:
        self.lines.append(f"{name}: {line}")

    def finished(self, name: str, error: str | None) -> None:
        self.events.append(("finished", name) if error is None else ("failed", name, error))

    def refresh(self) -> None:
        pass


class FakeStep:
    def __init__(
        self, name: str, needs: Collection[str] = (), *, done: bool = False, does: Callable[[Work], None] | None = None
    ) -> None:
        self.name = name
        self.done = done
        self.runs = 0
        self._needs = needs
        self._does = does

    def needs(self) -> Collection[str]:
        return self._needs

    def check(self) -> bool:
        return self.done

    def run(self, work: Work) -> None:
        self.runs += 1
        if self._does:
            self._does(work)
        self.done = True


def run(*steps: FakeStep, wanted: Collection[str] | None = None) -> Recorder:
    view = Recorder()
    make_ready({step.name: step for step in steps}, wanted or [step.name for step in steps], view)
    return view


def test_a_step_runs_after_everything_it_needs() -> None:
    view = run(FakeStep("images", ["venv", "docker"]), FakeStep("docker"), FakeStep("venv"))
    assert view.events.index(("started", "images")) > view.events.index(("finished", "venv"))
    assert view.events.index(("started", "images")) > view.events.index(("finished", "docker"))


def test_independent_steps_run_side_by_side() -> None:
    together = threading.Barrier(3, timeout=DEADLINE_SECONDS)

    def meet(_: Work) -> None:
        together.wait()

    run(*(FakeStep(name, does=meet) for name in ("a", "b", "c")))


def test_nothing_is_shown_and_nothing_runs_when_everything_is_done() -> None:
    steps = [FakeStep("a", done=True), FakeStep("b", ["a"], done=True)]
    assert run(*steps).events == []
    assert [step.runs for step in steps] == [0, 0]


def test_what_only_a_finished_step_needs_is_not_made() -> None:
    go = FakeStep("go")
    run(go, FakeStep("engine", ["go"], done=True), wanted=["engine"])
    assert go.runs == 0


def test_a_step_starts_when_what_it_needs_was_there_before() -> None:
    images = FakeStep("images", ["docker"])
    run(FakeStep("docker", done=True), images)
    assert images.runs == 1


def test_what_an_unfinished_step_needs_is_made_unasked() -> None:
    go = FakeStep("go")
    run(go, FakeStep("engine", ["go"]), wanted=["engine"])
    assert go.runs == 1


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

    after = FakeStep("after", ["fails"])
    with pytest.raises(MachineError, match="no network: plug it in"):
        run(FakeStep("long", does=long), FakeStep("fails", does=fail), after)
    assert ended == [CancelledError]
    assert after.runs == 0


def test_an_operating_system_error_names_the_step() -> None:
    def full(_: Work) -> None:
        raise OSError(28, "No space left on device", "/cache/x")

    with pytest.raises(MachineError, match=r"engine: .*No space left on device.*: free some disk space"):
        run(FakeStep("engine", does=full))


def test_a_step_that_ran_but_is_not_done_is_an_error() -> None:
    class Broken(FakeStep):
        def check(self) -> bool:
            return False

    with pytest.raises(MachineError, match="engine was made but is not usable"):
        run(Broken("engine"))


def test_steps_that_need_each_other_are_refused() -> None:
    with pytest.raises(RuntimeError, match="need each other: a, b"):
        run(FakeStep("a", ["b"]), FakeStep("b", ["a"]))
