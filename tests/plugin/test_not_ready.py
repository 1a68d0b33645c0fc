"""An environment that does not come up: every test that needs it is an error that says why, and it is tried once."""

from __future__ import annotations

from ephemera.model.errors import MachineError, ServiceFailedError
from tests.plugin.doubles import Project, explanations

_TESTS = """
def test_one(environment): pass
def test_two(environment): pass
def test_without(): pass
"""


def test_every_test_that_needs_it_says_why(project: Project) -> None:
    project.driver.failure = ServiceFailedError(
        "web", "exited with code 7", container_exit_code=7, log_tail=["reading config", "cannot find the config"]
    )
    project.write({"suites/shop/test_1.py": _TESTS, "suites/shop/test_2.py": _TESTS})
    result = project.run()
    result.assert_outcomes(passed=2, errors=4)
    assert result.ret == 1
    assert project.driver.calls == ["test_one: up shop"]
    why = ["service 'web' exited with code 7: see its last lines below", "  reading config", "  cannot find the config"]
    assert explanations(result) == [why] * 4
    result.stdout.fnmatch_lines(["ephemera: evidence: /kept/here"])


def test_it_is_tried_once_next_to_another_system(project: Project) -> None:
    project.driver.failure = MachineError("no Docker engine answers", remedy="start it")
    test = "import pytest\n@pytest.mark.parametrize('number', range(3))\ndef test_it(environment, number): pass"
    project.write({"suites/shop/test_1.py": test, "suites/bank/test_2.py": test})
    result = project.run("--ephemera-require-services")
    result.assert_outcomes(errors=6)
    assert sorted(call.rpartition(": ")[2] for call in project.driver.calls) == ["up bank", "up shop"]
    assert explanations(result) == [["no Docker engine answers: start it"]] * 6


def test_ctrl_c_while_it_comes_up(project: Project) -> None:
    project.driver.failure = KeyboardInterrupt()
    project.write({"suites/shop/test_1.py": _TESTS})
    result = project.run()
    assert result.ret == 2
    assert project.driver.calls == ["test_one: up shop"]
    result.stdout.fnmatch_lines(["ephemera: shop-main-* is gone before it was ready, nothing left"])
