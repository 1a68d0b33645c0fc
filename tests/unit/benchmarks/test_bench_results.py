from __future__ import annotations

import json

from rich.console import Console

from benchmarks import results
from benchmarks.load import Load
from benchmarks.rounds import Record
from tests.unit.benchmarks.doubles import failure, sample

_MACHINE = {"cores": 2}


def test_median_is_the_middle_one_of_each_tool_and_measure() -> None:
    samples = [sample("compose", "up", value) for value in (9.0, 1.0, 2.0)] + [sample("compose", "down", 0.5)]
    assert results.medians(samples, []) == {"shop": {"compose": {"up": 2.0, "down": 0.5}}}


def test_ratio_is_ours_as_a_part_of_theirs() -> None:
    found = {"ephemera": {"up": 1.4, "down": 0.3}, "compose": {"up": 2.0, "down": 0.6}, "testcontainers": {"up": 2.8}}
    assert results.ratios(found) == {"compose": {"up": 0.7, "down": 0.5}, "testcontainers": {"up": 0.5}}


def test_ratio_of_what_was_not_measured_is_left_out() -> None:
    assert results.ratios({"compose": {"up": 2.0}}) == {}
    assert results.ratios({"ephemera": {"up": 1.0}, "compose": {"down": 2.0}}) == {}


def test_tool_that_failed_once_has_no_figure_for_it_and_no_ratio() -> None:
    record = Record(
        [sample("ephemera", "up", 0.1), sample("compose", "up", 2.0), sample("compose", "down", 0.4)],
        [failure("ephemera", "up")],
    )
    found = results.document(record, _MACHINE, 5)
    assert found["workloads"]["shop"] == {"medians": {"compose": {"up": 2.0, "down": 0.4}}, "ratios": {}}
    assert found["failures"][0]["reason"] == "`tool up` ended with 1"


def test_what_hangs_on_a_failed_measure_has_no_figure_either() -> None:
    samples = [sample("compose", each, 1.0) for each in ("up_cpu", "down", "memory_mib", "parallel8_each")]
    assert results.medians(samples, [failure("compose", "up"), failure("compose", "parallel8")]) == {
        "shop": {"compose": {"down": 1.0, "memory_mib": 1.0}}
    }


def test_document_has_the_shape_that_scripts_rely_on() -> None:
    measures = ("up", "unchanged", "change", "down", "parallel8")
    record = Record([sample(tool, each, 2.0) for tool in ("ephemera", "compose", "compose_tuned") for each in measures])
    record.samples.append(sample("testcontainers", "up", 4.0))
    found = json.loads(json.dumps(results.document(record, _MACHINE, 5)))
    assert (found["machine"], found["runs"], found["load"]["quiet"]) == (_MACHINE, 5, True)
    equal = dict.fromkeys(measures, 1.0)
    assert found["workloads"]["shop"]["ratios"] == {
        "compose": equal,
        "compose_tuned": equal,
        "testcontainers": {"up": 0.5},
    }
    assert not {"reset_ms", "database_ms"} & set(found), "what was not measured is not made up"


def test_one_busy_measurement_makes_the_run_one_of_a_busy_machine() -> None:
    record = Record([sample("compose", "up", 1.0), sample("compose", "up", 1.0, before=Load(busy=0.8, average=3.0))])
    assert results.document(record, _MACHINE, 5)["load"] == {
        "quiet": False,
        "measurements": 2,
        "not_quiet": 1,
        "busiest": 0.8,
        "highest_average": 3.0,
    }


def _printed(record: Record) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        for table in results.tables(results.document(record, _MACHINE, 5)):
            console.print(table)
    return captured.get()


def test_table_has_medians_with_ratios_ours_first() -> None:
    printed = _printed(
        Record(
            [
                sample("compose", "up", 2.0),
                sample("compose", "memory_mib", 61.6),
                sample("ephemera", "up", 1.0),
                sample("ephemera", "parallel8", 9.0),
                sample("ephemera", "parallel4", 5.0),
            ]
        )
    )
    assert "2.00 (0.50)" in printed
    assert " 62 " in printed
    assert printed.index("ephemera") < printed.index("compose")
    assert printed.index("4 at once") < printed.index("8 at once")


def test_table_says_failed_where_a_tool_failed() -> None:
    printed = _printed(
        Record([sample("compose", "up", 2.0), sample("ephemera", "up", 0.1)], [failure("ephemera", "up")])
    )
    assert "failed" in printed
    assert "0.10" not in printed
    assert "2.00" in printed
    assert "(" not in printed.partition("tool")[2], "no ratio with a tool that failed"


def test_table_of_a_tool_that_never_came_up_says_so() -> None:
    assert "failed" in _printed(Record([], [failure("ephemera", "up")]))
