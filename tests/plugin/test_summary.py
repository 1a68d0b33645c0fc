"""``--ephemera-summary``: the counts are those that pytest prints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.doubles import Project

_ALL_KINDS = """
import pytest

@pytest.fixture
def no_start(): 1 / 0

@pytest.fixture
def no_end():
    yield
    1 / 0

def test_passes(): pass
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_parametrized(number): assert number != 3
def test_no_start(no_start): pass
def test_no_end(no_end): pass
def test_fails_and_no_end(no_end): assert 0
@pytest.mark.skip
def test_skipped(): pass
def test_skips(): pytest.skip("not now")
@pytest.mark.xfail
def test_known(): assert 0
@pytest.mark.xfail(strict=False)
def test_mended(): pass
@pytest.mark.xfail(strict=True)
def test_mended_in_silence(): pass
"""


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"test_1.py": _ALL_KINDS}, 1),
        ({"test_1.py": "def test_passes(): pass"}, 0),
        ({"test_1.py": "def test_passes(): pass", "test_2.py": "1 / 0"}, 2),
        ({"test_1.py": ""}, 5),
    ],
    ids=["every kind", "all well", "a module that cannot be imported", "nothing"],
)
def test_counts_are_pytests_own(project: Project, files: dict[str, str], code: int) -> None:
    project.write({f"suites/shop/{name}": text for name, text in files.items()})
    result = project.run("--ephemera-summary", "summary.json")
    assert result.ret == code
    counts = _summary(project)
    assert counts.pop("evidence") is None
    assert counts == result.parseoutcomes()


def test_evidence_of_a_failure(project: Project) -> None:
    project.write({"suites/shop/test_1.py": "def test_fails(environment): assert 0\ndef test_passes(): pass"})
    result = project.run("--ephemera-summary", "summary.json")
    summary = _summary(project)
    result.stdout.fnmatch_lines([f"ephemera: evidence in {summary['evidence']}"])
    assert {"failed": 1, "passed": 1}.items() <= summary.items()


def test_written_when_the_run_is_ended(project: Project) -> None:
    project.write({"suites/shop/test_1.py": "def test_passes(): pass\ndef test_ends(): raise KeyboardInterrupt"})
    project.run("--ephemera-summary", "summary.json")
    assert _summary(project) == {"passed": 1, "evidence": None}


def _summary(project: Project) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((project.folder / "summary.json").read_text())
    return summary
