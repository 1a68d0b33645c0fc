"""Environments of a test's own, and of a module's: made on request, gone when the test or the module has ended."""

from __future__ import annotations

import re

import pytest

from ephemera.model.errors import EngineError, NoSuchEnvironmentError, ServiceFailedError
from tests.plugin.doubles import Project, explanations


@pytest.mark.parametrize(("ending", "outcome"), [("pass", "passed"), ("assert own is None", "failed")])
def test_own_environment_goes_with_the_test(project: Project, ending: str, outcome: str) -> None:
    project.write(
        {
            "suites/shop/test_1.py": f"""
                def test_own(environment, environment_factory):
                    own = environment_factory()
                    assert own.stack != environment.stack
                    {ending}

                def test_next(environment): pass
            """
        }
    )
    project.run().assert_outcomes(**{"passed": 1 + (outcome == "passed"), "failed": int(outcome == "failed")})
    assert project.driver.calls == [
        "test_own: up shop",
        "test_own: up shop",
        "test_own: down shop",
        "end: down shop",
    ]
    assert project.driver.alive == {}


@pytest.mark.parametrize("ending", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_own_environment_goes_when_the_run_is_ended(project: Project, ending: str) -> None:
    project.write(
        {
            "suites/shop/test_1.py": f"""
                import pytest

                def test_own(environment_factory):
                    environment_factory()
                    {ending}
            """
        }
    )
    project.run()
    assert project.driver.calls == ["test_own: up shop", "end: down shop"]


def test_module_has_its_own_once(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": """
                import pytest

                @pytest.fixture(scope="module")
                def own(module_environment_factory): return module_environment_factory()

                def test_one(own): assert own.open
                def test_two(own): assert own.open
            """,
            "suites/shop/test_2.py": "def test_later(): pass",
        }
    )
    project.run().assert_outcomes(passed=3)
    assert project.driver.calls == ["test_one: up shop", "test_two: down shop"]


def test_what_is_asked_for_is_made(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": """
                def test_own(environment_factory):
                    environment_factory(profiles=["lab"], config={"expose": "dynamic"})
                    environment_factory("bank", only=["web"])
            """
        }
    )
    project.run().assert_outcomes(passed=1)
    assert [(request.system, request.config, request.phase) for request in project.driver.requests] == [
        ("shop", {"profiles": "lab", "expose": "dynamic"}, "disposable"),
        ("bank", {"only": "web"}, "disposable"),
    ]
    assert project.driver.alive == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("profiles=['lib']", "unknown profile 'lib': did you mean 'lab'? known: lab"),
        ("'shpo'", "unknown system 'shpo': did you mean 'shop'? known: bank, shop"),
    ],
)
def test_what_is_not_there_is_one_clear_error(project: Project, call: str, message: str) -> None:
    project.write({"suites/shop/test_1.py": f"def test_own(environment_factory): environment_factory({call})"})
    result = project.run()
    result.assert_outcomes(failed=1)
    assert explanations(result) == [[message]]


def test_own_environment_that_does_not_come_up(project: Project) -> None:
    project.driver.failure = ServiceFailedError("web", "exited", container_exit_code=7, log_tail=["no config"])
    project.write({"suites/shop/test_1.py": "def test_own(environment_factory): environment_factory()"})
    result = project.run()
    result.assert_outcomes(failed=1)
    assert explanations(result) == [["service 'web' exited: see its last lines below", "  no config"]]
    assert project.driver.calls == ["test_own: up shop"]


def test_leftovers_of_one_are_an_error_and_keep_no_other(project: Project) -> None:
    project.driver.leftovers["bank"] = ("volume data",)
    project.driver.stubborn["shop"] = EngineError("the engine is busy")
    project.write(
        {
            "suites/shop/test_1.py": """
                def test_own(environment_factory):
                    environment_factory("bank")
                    environment_factory("shop")
            """
        }
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == 1
    assert sorted(project.driver.calls[2:]) == ["test_own: down bank", "test_own: down shop"]
    ((busy, left),) = explanations(result)
    assert busy == "the engine is busy"
    assert re.fullmatch(r"bank-main-\w{6}: destroy left 1 objects behind, .* volume data: .*", left)


def test_own_environment_that_the_test_took_down_is_no_defect(project: Project) -> None:
    project.driver.stubborn["shop"] = NoSuchEnvironmentError("shop-main", ())
    project.write({"suites/shop/test_1.py": "def test_own(environment_factory): environment_factory()"})
    project.run().assert_outcomes(passed=1)
