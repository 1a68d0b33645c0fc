"""From samples to what people read: medians, ratios, a document and tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from benchmarks import load
from benchmarks.rounds import Failure, Record, Sample

TIMES: Mapping[str, str] = {
    "first_up": "first up",
    "up": "up",
    "unchanged": "unchanged",
    "change": "change",
    "down": "down",
}
BESIDES: Mapping[str, str] = {
    "claim": "claim",
    "reset_command": "reset",
    "reset": "reset in a test",
    "database": "database for a test",
}
"""What only some tools can do."""
COSTS: Mapping[str, str] = {"up_cpu": "CPU of up", "down_cpu": "CPU of down", "memory_mib": "memory"}
"""Of one environment, with headings; of n at once: ``parallel<n>``, ``parallel<n>_each``, ``parallel<n>_down``."""
_OURS = "ephemera"
_COMPARED: Mapping[str, tuple[str, ...]] = {
    "compose": ("up", "unchanged", "change", "down", "parallel8", "first_up", "claim"),
    "compose_tuned": ("up", "unchanged", "change", "down", "parallel8", "first_up", "claim"),
    "testcontainers": ("up", "first_up", "claim"),
    "docker_api": ("up", "down"),
}
_AGAINST = {"first_up": "up", "claim": "up"}
"""Measures of ours that are compared with another one of theirs."""
_DIGITS = 3

Medians = Mapping[str, Mapping[str, float]]


def medians(samples: Sequence[Sample], failures: Sequence[Failure]) -> dict[str, Medians]:
    """Workload → tool → measure → median. A measure that a tool failed at even once has none: what is left of its
    samples would be those that went well."""
    failed = {(each.workload, each.tool, each.during) for each in failures}
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for each in samples:
        if (each.workload, each.tool, _root(each.measure)) not in failed:
            tools = values.setdefault(each.workload, {})
            tools.setdefault(each.tool, {}).setdefault(each.measure, []).append(each.value)
    return {
        workload: {
            tool: {measure: round(statistics.median(found), _DIGITS) for measure, found in measures.items()}
            for tool, measures in tools.items()
        }
        for workload, tools in values.items()
    }


def ratios(found: Medians) -> dict[str, dict[str, float]]:
    """ephemera's medians as parts of the other tools': below 1 it is faster. What is not known of both is left out.
    A claim is compared with the other tool's ``up``."""
    ours = found.get(_OURS, {})
    every = {
        tool: {
            measure: round(ours[measure] / theirs[_AGAINST.get(measure, measure)], _DIGITS)
            for measure in measures
            if measure in ours and theirs.get(_AGAINST.get(measure, measure))
        }
        for tool, measures in _COMPARED.items()
        if (theirs := found.get(tool))
    }
    return {tool: each for tool, each in every.items() if each}


def document(record: Record, machine: Mapping[str, Any], runs: int) -> dict[str, Any]:
    """The whole run; what was not measured is not in it."""
    found = medians(record.samples, record.failures)
    return {
        "machine": dict(machine),
        "load": load.summary([each.before for each in record.samples]),
        "runs": runs,
        "workloads": {
            workload: {"medians": tools, "ratios": ratios(tools)} for workload, tools in sorted(found.items())
        },
        "failures": [asdict(each) for each in record.failures],
        "samples": [_plain(each) for each in record.samples],
    }


def tables(result: Mapping[str, Any]) -> list[RenderableType]:
    """One table a workload and group of measures, with what failed; in brackets, ephemera's part of that tool's."""
    shown: list[RenderableType] = []
    failed = {(each["workload"], each["tool"], each["during"]) for each in result["failures"]}
    for workload in sorted({*result["workloads"], *(each["workload"] for each in result["failures"])}):
        parts = result["workloads"].get(workload, {"medians": {}, "ratios": {}})
        present = {measure for tool in parts["medians"].values() for measure in tool}
        present |= {measure for name, _, measure in failed if name == workload}
        parallel = sorted((each for each in present if each.startswith("parallel")), key=_of_many)
        tools = sorted(
            {*parts["medians"], *(tool for name, tool, _ in failed if name == workload)}, key=lambda tool: _place(tool)
        )
        for headings in (TIMES, BESIDES, COSTS, {measure: _heading(measure) for measure in parallel}):
            columns = [measure for measure in headings if measure in present]
            if not columns:
                continue
            table = Table(title=f"{workload}: medians in s, memory in MiB", box=SIMPLE_HEAD)
            table.add_column("tool", no_wrap=True)
            for measure in columns:
                table.add_column(heading := headings[measure], justify="right", min_width=len(heading.split()[-1]))
            for tool in tools:
                table.add_row(
                    tool, *(_cell(parts, tool, each, (workload, tool, _root(each)) in failed) for each in columns)
                )
            shown.append(table)
    return shown


def _cell(parts: Mapping[str, Any], tool: str, measure: str, failed: bool) -> str:
    if failed:
        return "failed"
    value = parts["medians"].get(tool, {}).get(measure)
    ratio = parts["ratios"].get(tool, {}).get(measure)
    if value is None:
        return "" if ratio is None else f"({ratio:.2f})"
    text = f"{value:.0f}" if measure.endswith("_mib") else f"{value:.2f}"
    return text if ratio is None else f"{text} ({ratio:.2f})"


def _root(measure: str) -> str:
    """What had to succeed for it to be known: ``up`` for ``up_cpu``."""
    return {"up_cpu": "up", "down_cpu": "down", "memory_mib": "down"}.get(measure, measure.removesuffix("_each"))


def _of_many(measure: str) -> tuple[int, str]:
    count, _, rest = measure.removeprefix("parallel").partition("_")
    return int(count), rest


def _heading(measure: str) -> str:
    count, rest = _of_many(measure)
    return {"": f"{count} at once", "each": "each", "down": f"{count} down"}[rest]


def _place(tool: str) -> tuple[int, str]:
    names = (_OURS, *_COMPARED)
    return (names.index(tool) if tool in names else len(names), tool)


def _plain(sample: Sample) -> dict[str, Any]:
    return {
        "workload": sample.workload,
        "tool": sample.tool,
        "measure": sample.measure,
        "round": sample.round,
        "value": round(sample.value, _DIGITS),
        "busy": [round(sample.before.busy, _DIGITS), round(sample.after.busy, _DIGITS)],
        "average": [round(sample.before.average, 2), round(sample.after.average, 2)],
    }
