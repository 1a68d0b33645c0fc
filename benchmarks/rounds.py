"""Rounds: in each, every tool does everything once, and no tool is always first."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from benchmarks import load, processes
from benchmarks.load import Load
from benchmarks.observed import NotSoError, Observer
from benchmarks.processes import Command, CommandFailedError, Measured, Process
from benchmarks.tools import Environment, Tool
from benchmarks.tools.tool import Extras
from benchmarks.workload import Workload

_SECONDS = 300.0
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement. ``value``: in the unit that the measure's name tells (``_mib``), else seconds. ``before``,
    ``after``: the machine's load."""

    workload: str
    tool: str
    measure: str
    round: int
    value: float
    before: Load
    after: Load


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What a tool did not do. ``during``: the measure."""

    workload: str
    tool: str
    during: str
    round: int
    reason: str


@dataclass
class Record:
    """Everything that was measured, and everything that failed."""

    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def order(things: Sequence[_T], number: int) -> list[_T]:
    """The things in the order of that round: each is first, second, … equally often."""
    start = number % len(things) if things else 0
    return [*things[start:], *things[:start]]


class Rounds:
    """Runs rounds. ``prefix``: of every environment's name. ``say``: told what is measured next."""

    def __init__(self, observer: Observer, prefix: str, record: Record, say: Callable[[str], None]) -> None:
        self._observer = observer
        self._prefix = prefix
        self._record = record
        self._say = say
        self._numbers: Iterator[int] = itertools.count(1)
        self.daemons: dict[str, frozenset[int]] = {}
        """By tool, what it left running to be faster the next time: it counts as a part of the tool."""

    def run(self, tools: Sequence[Tool], workloads: Sequence[Workload], together: Sequence[int], runs: int) -> None:
        """A round that does not count, then ``runs`` that do."""
        for workload in workloads:
            for tool in tools:
                self._say(f"{workload.name}: warm-up of {tool.name}")
                _Turn(self, tool, workload, None).life()
        for number in range(runs):
            for workload in workloads:
                for tool in order(tools, number):
                    self._say(f"{workload.name}: round {number + 1} of {runs}: {tool.name}")
                    turn = _Turn(self, tool, workload, number)
                    turn.life()
                    for count in together:
                        self._say(f"{workload.name}: round {number + 1} of {runs}: {tool.name}, {count} at once")
                        turn.together(count)

    def environment(self, workload: Workload) -> Environment:
        """One under a name that no other has."""
        return Environment(name=f"{self._prefix}-{next(self._numbers)}", workload=workload)

    @property
    def observer(self) -> Observer:
        """Who looks at the engine."""
        return self._observer

    @property
    def record(self) -> Record:
        """What was measured."""
        return self._record


class _Turn:
    """One tool's turn with one workload; ``number``: of the round, None when it does not count."""

    def __init__(self, rounds: Rounds, tool: Tool, workload: Workload, number: int | None) -> None:
        self._rounds = rounds
        self._tool = tool
        self._workload = workload
        self._number = number
        self._during = ""
        self._held: list[Process] = []

    def life(self) -> None:
        """Up, up again, a change, down."""
        environment = self._rounds.environment(self._workload)

        def first() -> None:
            processes.stop(self._rounds.daemons.pop(self._tool.name))
            self._up("first_up", [environment])
            self._remove([environment])

        if self._rounds.daemons.get(self._tool.name):
            self._guarded(first, [environment])

        def steps() -> None:
            up, loads = self._up("up", [environment])
            self._note("up_cpu", up.cpu_seconds, loads)
            if extras := self._tool.extras:
                self._data(extras, environment, loads)
            if self._tool.updates:
                self._up("unchanged", [environment])
                self._up("change", [replace(environment, variant=1)])
            down, loads = self._down("down", [environment])
            self._note("down_cpu", down.cpu_seconds, loads)

        if self._guarded(steps, [environment]):
            self._memory()
        if extras := self._tool.extras:
            self._claim(extras)

    def _memory(self) -> None:
        """Of a life that is not timed, since looking at what processes have slows them."""
        environment = self._rounds.environment(self._workload)

        def steps() -> None:
            self._during = "memory_mib"
            before = load.settled()
            commands = [self._tool.up(environment)]
            if self._tool.updates:
                commands.append(self._tool.up(replace(environment, variant=1)))
            if command := self._tool.down(environment):
                commands.append(command)
            peak = 0
            for command in commands:
                measured, self._held = self._run([command], watched=True)
                peak = max(peak, measured.peak_bytes)
            if self._held:
                held, self._held = self._held, []
                peak = max(peak, processes.finish(held, _SECONDS, watched=True).peak_bytes)
            self._note("memory_mib", peak / 2**20, (before, load.read()))

        self._guarded(steps, [environment])

    def _claim(self, extras: Extras) -> None:
        """One that is kept ready, given to whoever asks."""
        environment = self._rounds.environment(self._workload)

        def steps() -> None:
            self._run([extras.fill(self._workload)])

            def work() -> Measured:
                measured, _ = self._run([self._tool.up(environment)])
                extras.claimed(environment)
                waited = self._rounds.observer.until_ready(self._tool, [environment])
                return replace(measured, seconds=measured.seconds + waited)

            self._measured("claim", work)
            self._run([extras.empty(self._workload)])
            self._down("claimed_down", [environment])

        self._guarded(steps, [environment])

    def _data(self, extras: Extras, environment: Environment, loads: tuple[Load, Load]) -> None:
        """Resets by command, then resets and databases in a test run, of which the medians count."""
        self._during = "reset"
        with tempfile.TemporaryDirectory() as folder:
            times = Path(folder) / "times"
            self._run([extras.data(environment, times)])
            found: dict[str, list[float]] = {}
            for line in times.read_text().splitlines():
                each = json.loads(line)
                found.setdefault(each["measure"], []).append(each["seconds"])
        for measure, seconds in found.items():
            self._note(measure, statistics.median(seconds), loads)
        self._measured("reset_command", lambda: self._run([extras.reset(environment)])[0])

    def together(self, count: int) -> None:
        """``count`` environments up at once, then down at once."""
        environments = [self._rounds.environment(self._workload) for _ in range(count)]

        def steps() -> None:
            up, loads = self._up(f"parallel{count}", environments)
            self._note(f"parallel{count}_each", up.seconds / count, loads)
            self._down(f"parallel{count}_down", environments)

        self._guarded(steps, environments)

    def _up(self, measure: str, environments: Sequence[Environment]) -> tuple[Measured, tuple[Load, Load]]:
        def work(commands: Sequence[Command]) -> Measured:
            measured, self._held = self._run(commands)
            waited = self._rounds.observer.until_ready(self._tool, environments)
            return replace(measured, seconds=measured.seconds + waited)

        commands = [self._tool.up(environment) for environment in environments]
        return self._measured(measure, lambda: work(commands))

    def _down(self, measure: str, environments: Sequence[Environment]) -> tuple[Measured, tuple[Load, Load]]:
        commands = [command for each in environments if (command := self._tool.down(each)) is not None]

        def work() -> Measured:
            held, self._held = self._held, []
            measured = processes.finish(held, _SECONDS) if held else self._run(commands)[0]
            waited = self._rounds.observer.until_gone(self._tool, environments)
            return replace(measured, seconds=measured.seconds + waited)

        return self._measured(measure, work)

    def _run(self, commands: Sequence[Command], *, watched: bool = False) -> tuple[Measured, list[Process]]:
        daemons = self._rounds.daemons.get(self._tool.name, frozenset())
        measured, held = processes.run(commands, _SECONDS, daemons, watched=watched)
        self._rounds.daemons[self._tool.name] = daemons | measured.stayed
        return measured, held

    def _measured(self, measure: str, work: Callable[[], Measured]) -> tuple[Measured, tuple[Load, Load]]:
        self._during = measure
        before = load.settled()
        measured = work()
        loads = (before, load.read())
        self._note(measure, measured.seconds, loads)
        return measured, loads

    def _note(self, measure: str, value: float, loads: tuple[Load, Load]) -> None:
        if self._number is not None:
            self._rounds.record.samples.append(
                Sample(
                    workload=self._workload.name,
                    tool=self._tool.name,
                    measure=measure,
                    round=self._number,
                    value=value,
                    before=loads[0],
                    after=loads[1],
                )
            )

    def _guarded(self, steps: Callable[[], None], environments: Sequence[Environment]) -> bool:
        """A tool that fails is noted, what it made is removed, and the others go on. Whether it did not."""
        try:
            steps()
            return True
        except (CommandFailedError, NotSoError) as error:
            self._rounds.record.failures.append(
                Failure(
                    workload=self._workload.name,
                    tool=self._tool.name,
                    during=self._during,
                    round=-1 if self._number is None else self._number,
                    reason=str(error),
                )
            )
            self._remove(environments)
            return False
        except BaseException:
            self._remove(environments)
            raise

    def _remove(self, environments: Sequence[Environment]) -> None:
        processes.abandon(self._held)
        self._held = []
        for environment in environments:
            if command := self._tool.down(environment):
                with suppress(CommandFailedError):  # one that was never up, or is half gone
                    self._run([command])
            self._rounds.observer.sweep(self._tool.label(environment))
