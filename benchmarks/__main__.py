"""``python -m benchmarks``: measure, print tables, write the result as JSON.

Exit codes: 0 all was measured; 1 a tool failed at something; 2 bad input; 4 something was left behind; 5 the machine is
not ready; 130 interrupted, and everything taken down.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from benchmarks import installing, machine, processes, results
from benchmarks.observed import Observer
from benchmarks.recording import recorded
from benchmarks.rounds import Record, Rounds
from benchmarks.tools import ENVIRONMENT_LABEL, Compose, DockerApi, Ephemera, Testcontainers, Tool
from benchmarks.workload import WORKLOADS
from ephemera.docker.connection import connected
from ephemera.home.locks import LockTimeoutError, locked
from ephemera.model.errors import EphemeraError, InputError, InterruptedByUserError, LeftoversError, UnknownNameError

_ROOT = Path(__file__).resolve().parents[1]
_OWN = _ROOT / ".ephemera" / "bench"
_RESULTS = _ROOT / "benchmarks" / "results.json"
_TOOLS = ("ephemera", "compose", "compose_tuned", "testcontainers", "docker_api")
ENOUGH_RUNS = 5
"""Fewer tell little: such a result does not take the place of one that is kept."""
_TOGETHER = (4, 8)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        tools, workloads = chosen(options.only)
        target = options.output or (_RESULTS if _is_whole(options) else _OWN / "results.json")
        if options.output and not options.output.parent.is_dir():  # not after an hour
            raise InputError(f"{target} cannot be written", remedy=f"make the folder {target.parent}")
        with locked(_OWN / "lock", timeout_seconds=0):
            result = _measured(
                options, tools, workloads, lambda line: console.print(line, style="dim", highlight=False)
            )
    except LockTimeoutError:
        console.print("a benchmark is running already: two would measure each other")
        return InputError.exit_code
    except KeyboardInterrupt:
        console.print("interrupted; everything was taken down")
        return InterruptedByUserError.exit_code
    except (EphemeraError, processes.CommandFailedError) as error:
        console.print(str(error), markup=False, highlight=False)
        return error.exit_code if isinstance(error, EphemeraError) else 1
    target.write_text(json.dumps(result, indent=1) + "\n")
    _show(result, target)
    return 1 if result["failures"] else 0


def chosen(only: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the tools and of the workloads that are meant: all of a kind of which none is named."""
    workloads = tuple(workload.name for workload in WORKLOADS)
    for name in only:
        if name not in (*_TOOLS, *workloads):
            raise UnknownNameError("tool or workload", name, (*_TOOLS, *workloads))
    return (
        tuple(name for name in _TOOLS if name in only) or _TOOLS,
        tuple(name for name in workloads if name in only) or workloads,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ephemera beside other tools.")
    parser.add_argument("--runs", type=_positive, default=ENOUGH_RUNS, metavar="N", help="rounds that count (5)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help=f"{', '.join(_TOOLS)}, or a workload (repeatable)"
    )
    parser.add_argument(
        "--together", type=_counts, default=_TOGETHER, metavar="N,N", help="environments at once (4,8); 0 for none"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes")
    return parser


def _measured(
    options: argparse.Namespace, names: Sequence[str], workloads: Sequence[str], say: Callable[[str], None]
) -> dict[str, Any]:
    processes.adopt_orphans()
    ephemera = Ephemera(state=_OWN / "state")
    with connected() as client:
        observer = Observer(client)
        tools = [_tool(name, ephemera, say) for name in names]
        _clear(ephemera, tools, observer)
        record = Record()
        prefix = f"bench{secrets.token_hex(2)}"
        try:
            say("bringing up each workload once, to see what it is made of")
            known = [
                recorded(client, ephemera, workload, f"{prefix}-0")
                for workload in WORKLOADS
                if workload.name in workloads
            ]
            rounds = Rounds(observer, prefix, record, say)
            rounds.daemons[ephemera.name] = processes.adopted()  # nothing else has run so far
            rounds.run(tools, known, options.together, options.runs)
            left = [*observer.there(ENVIRONMENT_LABEL), *observer.there(ephemera.backend)]
        finally:
            _uninterrupted(lambda: _clear(ephemera, tools, observer))
        if left:
            raise LeftoversError("the benchmark", left)
        return results.document(record, machine.described(client, tools), options.runs)


def _tool(name: str, ephemera: Ephemera, say: Callable[[str], None]) -> Tool:
    if name == "compose":
        return Compose(name=name, executable=installing.compose(say), folder=_OWN / name, interval_seconds=1.0)
    if name == "compose_tuned":
        return Compose(
            name=name,
            executable=installing.compose(say),
            folder=_OWN / name,
            interval_seconds=0.25,
            stop_seconds=0,
        )
    if name == "testcontainers":
        return Testcontainers(python=installing.testcontainers(say), folder=_OWN / name)
    if name == "docker_api":
        return DockerApi(folder=_OWN / name)
    return ephemera


def _clear(ephemera: Ephemera, tools: Sequence[Tool], observer: Observer) -> None:
    """Take down whatever this run or an earlier one left; ephemera is needed even where it is not measured."""
    for tool in (ephemera, *(tool for tool in tools if tool is not ephemera)):
        tool.clear()
    for label in (ENVIRONMENT_LABEL, ephemera.backend):
        observer.sweep(label)


def _uninterrupted(work: Callable[[], None]) -> None:
    """To the end, however often somebody presses Ctrl-C."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        work()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(result: dict[str, Any], target: Path) -> None:
    console = Console()
    for table in results.tables(result):
        console.print(table)
    console.print("in brackets: ephemera as a part of that tool; below 1, ephemera is faster", style="dim")
    for failure in result["failures"]:
        console.print(f"{failure['tool']} failed at {failure['during']} of {failure['workload']}:", style="red")
        console.print(failure["reason"], markup=False, highlight=False)
    load = result["load"]
    if not load["quiet"]:
        console.print(
            f"The machine was not quiet before {load['not_quiet']} of {load['measurements']} measurements "
            f"(busy up to {load['busiest']:.0%}): these figures mean little.",
            style="yellow",
        )
    console.print(f"written to {target}", style="dim", highlight=False, soft_wrap=True)


def _is_whole(options: argparse.Namespace) -> bool:
    return not options.only and options.runs >= ENOUGH_RUNS and tuple(options.together) == _TOGETHER


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of at least 1")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return () if text == "0" else tuple(_positive(part) for part in text.split(","))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
