"""Tests that need what the machine, or the environment, does not have: skipped with the reason, or failed."""

from __future__ import annotations

import pytest

from ephemera.model.errors import MachineError
from tests.plugin.doubles import Project, explanations

_NO_DOCKER = MachineError("no Docker engine answers at unix:///x.sock", remedy="start it,\nor set DOCKER_HOST")
_REASON = "no environment: no Docker engine answers at unix:///x.sock: start it, or set DOCKER_HOST"
_MIXED = """
def test_unit(): pass
def test_one(environment): pass
def test_two(environment): pass
def test_own(environment_factory): environment_factory()
"""
_LAB = """
def test_lab(environment): environment.require("lab")
def test_web(environment): assert environment.require("web").name == "web"
"""


@pytest.fixture
def machine(project: Project) -> Project:
    """The project on a machine without Docker."""
    project.driver.failure = _NO_DOCKER
    project.write({"suites/shop/test_1.py": _MIXED})
    return project


def test_without_docker_the_rest_of_the_suite_runs(machine: Project) -> None:
    result = machine.run("-rs")
    result.assert_outcomes(passed=1, skipped=3)
    assert result.ret == 0
    assert result.stdout.str().count(f": {_REASON}\n") == 3 + 1, "one line each, and the summary's"


def test_nobody_overlooks_what_was_skipped(machine: Project) -> None:
    machine.run().stdout.fnmatch_lines(
        [
            "=* ephemera: 3 tests SKIPPED for lack of an environment =*",
            f"3 of them: {_REASON}",
            "with --ephemera-require-services they fail",
        ]
    )
    machine.run("-k", "unit").stdout.no_fnmatch_line("*SKIPPED*")


@pytest.mark.parametrize(
    ("arguments", "variables", "required"),
    [
        (("--ephemera-require-services",), {}, True),
        ((), {"EPHEMERA_REQUIRE_SERVICES": "1"}, True),
        ((), {"CI": "true"}, True),
        ((), {"CI": "true", "EPHEMERA_REQUIRE_SERVICES": "0"}, False),
        (("--ephemera-require-services",), {"EPHEMERA_REQUIRE_SERVICES": "0"}, True),
        ((), {"CI": ""}, False),
    ],
    ids=["option", "variable", "in CI", "variable before CI", "option before variable", "not in CI"],
)
def test_where_services_are_required_they_fail(
    machine: Project,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    variables: dict[str, str],
    required: bool,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = machine.run(*arguments)
    if required:
        result.assert_outcomes(passed=1, errors=2, failed=1)
        assert (
            explanations(result)
            == [["no Docker engine answers at unix:///x.sock: start it,", "or set DOCKER_HOST"]] * 2
        )
    else:
        result.assert_outcomes(passed=1, skipped=3)


def test_variable_that_says_neither(machine: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_REQUIRE_SERVICES", "maybe")
    result = machine.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: EPHEMERA_REQUIRE_SERVICES is 'maybe': it must be 1 or 0"])


def test_service_that_this_environment_does_not_have(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _LAB})
    result = project.run()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["=* 1 test SKIPPED *", "1 of them: no service: shop-main-* has no 'lab', it needs the profile 'lab'"]
    )
    required = project.run("--ephemera-require-services")
    required.assert_outcomes(passed=1, failed=1)
    required.stdout.fnmatch_lines(["no service: shop-main-* has no 'lab', it needs the profile 'lab'"])


def test_service_that_no_environment_has_is_a_mistake(project: Project) -> None:
    project.write({"suites/shop/test_1.py": "def test_lab(environment):\n    environment.require('lap')\n"})
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E  *unknown service of system 'shop' 'lap': did you mean 'lab'? known: lab, web"])
    result.stdout.no_fnmatch_line("*running.py*")
