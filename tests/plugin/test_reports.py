"""What a failing test's report says of its environment."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from docker.errors import NotFound

from tests.plugin.doubles import CREDENTIAL, Project

_FAILS = "def test_fails(environment): assert 0, 'no such order'"


def test_lines_of_the_guilty_and_evidence_are_shown_without_credentials(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _FAILS})
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"-+ shop-main-\w{6} -+",
            "web was not running: it had exited with 137 before this test:",
            r"web \| request 6",
            r"web \| request 24",
            r"web \| login with \*\*\*",
            r"evidence: .*/index\.html",
        ]
    )
    assert "request 5" not in result.stdout.str()
    assert CREDENTIAL not in result.stdout.str()
    folder = _evidence(result, project)
    assert "request 1\n" in (folder / "web.log").read_text()
    assert '"Name"' in (folder / "web.inspect.json").read_text()
    [test] = json.loads((folder / "tests.json").read_text())
    assert (test["nodeid"], test["outcome"]) == ("suites/shop/test_1.py::test_fails", "failed")
    assert "no such order" in test["text"]
    assert all(CREDENTIAL not in path.read_text() for path in folder.iterdir())


def test_own_environment_of_a_failing_test_is_shown_too(project: Project) -> None:
    project.write(
        {"suites/shop/test_1.py": "def test_fails(environment_factory):\n    environment_factory()\n    assert 0"}
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"-+ shop-main-\w{6} -+", r"web \| login with \*\*\*"])


def test_what_a_failing_test_has_replaced_does_not_end_the_session(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": """
                from ephemera.docker import connection

                def test_fails(environment, monkeypatch):
                    monkeypatch.setattr(connection, "connect", lambda: None)
                    assert 0, "no such order"

                def test_next(environment): pass
            """
        }
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines([r"-+ shop-main-\w{6} -+", "no evidence could be taken: .*"])


def test_environment_that_is_gone_is_not_shown(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": """
                def test_own(environment_factory): environment_factory()
                def test_fails(): assert 0
            """
        }
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.no_fnmatch_line("evidence: *")
    result.stdout.no_fnmatch_line("ephemera: evidence *")


def test_environment_of_another_system_is_not_shown(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _FAILS, "suites/bank/test_2.py": _FAILS})
    result = project.run()
    result.assert_outcomes(failed=2)
    headlines = [line.strip("- ")[:9] for line in result.outlines if re.fullmatch(r"-+ \w+-main-\w{6} -+", line)]
    assert sorted(headlines) == ["bank-main", "shop-main"]


def test_no_evidence_without_a_failure(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": """
                import pytest

                def test_passes(environment): pass
                @pytest.mark.xfail
                def test_known(environment): assert 0
                def test_skipped(environment): pytest.skip("not now")
            """
        }
    )
    result = project.run()
    result.assert_outcomes(passed=1, xfailed=1, skipped=1)
    result.stdout.no_fnmatch_line("evidence: *")
    result.stdout.no_fnmatch_line("ephemera: evidence *")
    assert not (project.folder / ".ephemera").exists()


def test_engine_in_trouble_does_not_end_the_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(container: str) -> None:
        raise NotFound(f"no such container: {container}")

    monkeypatch.setattr(project.driver.client.api, "inspect_container", refuse)
    project.write({"suites/shop/test_1.py": _FAILS, "suites/shop/test_2.py": "def test_next(environment): pass"})
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["E*no such order*", "container * could not be looked at: no such container: shop-main-*"]
    )
    assert project.driver.calls[-1] == "end: down shop"


def test_junit_file_names_the_evidence(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _FAILS})
    result = project.run("--junitxml", "junit.xml")
    folder = _evidence(result, project)
    assert f'<property name="ephemera_evidence" value="{folder}"' in (project.folder / "junit.xml").read_text()


def _evidence(result: pytest.RunResult, project: Project) -> Path:
    named = [line for line in result.outlines if line.startswith("ephemera: evidence in ")]
    assert len(named) == 1
    folder = Path(named[0].removeprefix("ephemera: evidence in "))
    assert folder.parent == project.folder / ".ephemera" / "artifacts"
    return folder
