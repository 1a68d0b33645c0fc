"""One environment a run and system: made when first asked for, gone at the end, however the run ends."""

from __future__ import annotations

import pytest
from docker.errors import DockerException

from ephemera.model.errors import EngineError, NoSuchEnvironmentError
from tests.plugin.doubles import Project

_BEFORE = "def test_first(environment): pass\n"
_USES = """
def test_without(): pass
def test_asks(environment): assert environment.system == 'shop'
def test_asks_again(environment): assert environment.open
"""


def test_unit_only_run_makes_no_environment(project: Project) -> None:
    project.write({"unit/test_unit.py": "def test_unit(): pass", "suites/shop/test_uses.py": _USES})
    project.run("unit").assert_outcomes(passed=1)
    project.run("suites/shop", "-k", "without").assert_outcomes(passed=1, deselected=2)
    project.run("--collect-only").assert_outcomes()
    assert project.driver.calls == []


def test_one_environment_made_when_first_asked_for_and_gone_at_the_end(project: Project) -> None:
    project.write({"suites/shop/test_one.py": _USES, "suites/shop/test_two.py": _BEFORE})
    result = project.run()
    result.assert_outcomes(passed=4)
    assert result.ret == 0
    assert project.driver.calls == ["test_asks: up shop", "end: down shop"]
    assert [request.phase for request in project.driver.requests] == ["disposable"]
    result.stdout.re_match_lines(
        [
            r"ephemera: shop-main-\w{6} is ready after 1\.5 s",
            r"ephemera: shop-main-\w{6} is gone after 0\.5 s, nothing left",
        ]
    )


def test_each_run_has_a_name_of_its_own(project: Project) -> None:
    project.write({"suites/shop/test_one.py": _BEFORE})
    project.run()
    project.run()
    suffixes = {request.suffix for request in project.driver.requests}
    assert len(suffixes) == 2
    assert None not in suffixes


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [
        pytest.param("def test_bad(): assert 0", (), 1, id="a failing test"),
        pytest.param("def test_bad(): assert 0", ("-x",), 1, id="the first failure ends it"),
        pytest.param(
            "import pytest\n@pytest.fixture\ndef broken(): 1 / 0\ndef test_bad(broken): pass", ("-x",), 1, id="set-up"
        ),
        pytest.param(
            "import pytest\n@pytest.fixture\ndef broken():\n    yield\n    1 / 0\ndef test_bad(broken): pass",
            (),
            1,
            id="clean-up",
        ),
        pytest.param("import pytest\ndef test_bad(): pytest.exit('enough')", (), 2, id="pytest.exit"),
        pytest.param("def test_bad(): raise KeyboardInterrupt", (), 2, id="Ctrl-C"),
    ],
)
def test_taken_down_however_the_run_ends(project: Project, text: str, arguments: tuple[str, ...], code: int) -> None:
    project.write({"suites/shop/test_1.py": _BEFORE, "suites/shop/test_2.py": text})
    result = project.run(*arguments)
    assert result.ret == code
    assert project.driver.calls == ["test_first: up shop", "end: down shop"]
    result.stdout.fnmatch_lines(["ephemera: shop-main-* is gone after *"])


@pytest.mark.parametrize("ending", ["pass", "raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_fixtures_that_use_it_end_before_it_does(project: Project, ending: str) -> None:
    project.write(
        {
            "suites/shop/test_data.py": f"""
                import pytest
                from tests.plugin.doubles import NOTES

                @pytest.fixture(scope="session")
                def data(environment, pytestconfig):
                    yield
                    pytestconfig.stash[NOTES].append(f"cleaned while open: {{environment.open}}")

                def test_data(data): {ending}
            """
        }
    )
    project.run()
    assert project.driver.calls == ["test_data: up shop", "cleaned while open: True", "end: down shop"]


def test_taken_down_when_a_fixture_cannot_be_cleaned_up_after_ctrl_c(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_data.py": """
                import pytest

                @pytest.fixture(scope="session")
                def data(environment):
                    yield
                    raise KeyError("row")

                def test_data(data): raise KeyboardInterrupt
            """
        }
    )
    project.run().stderr.fnmatch_lines(["KeyError: 'row'"])
    assert project.driver.calls == ["test_data: up shop", "end: down shop"]


def test_what_the_proof_finds_makes_the_run_fail(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _BEFORE})
    project.driver.leftovers["shop"] = ("volume data",)
    result = project.run()
    result.assert_outcomes(passed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ephemera: shop-main-* is gone after 0.5 s, LEFT BEHIND: volume data"])


@pytest.mark.parametrize(
    "trouble",
    [
        EngineError("the engine is busy", remedy="wait"),
        DockerException("the engine is busy: wait"),
        RuntimeError("the engine is busy: wait"),  # of a test's monkeypatch, say
    ],
)
def test_what_cannot_be_taken_down_is_said_and_keeps_nothing_else(project: Project, trouble: Exception) -> None:
    project.write({"suites/shop/test_1.py": _BEFORE, "suites/bank/test_2.py": _BEFORE})
    project.driver.stubborn["bank"] = trouble
    result = project.run()
    result.assert_outcomes(passed=2)
    assert result.ret == 1
    assert sorted(project.driver.calls)[:2] == ["end: down bank", "end: down shop"]
    result.stdout.fnmatch_lines(["ephemera: bank-main-* is LEFT BEHIND: the engine is busy: wait"])
    result.stdout.fnmatch_lines(["ephemera: shop-main-* is gone after 0.5 s, nothing left"])


def test_environment_that_another_command_took_down_is_no_defect(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _BEFORE})
    project.driver.stubborn["shop"] = NoSuchEnvironmentError("shop-main", ())
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["ephemera: shop-main-* was taken down by another command, nothing left"])


def test_ctrl_c_while_it_is_taken_down_leaves_it_to_the_guardian(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _BEFORE, "suites/bank/test_2.py": _BEFORE})
    project.driver.stubborn["bank"] = KeyboardInterrupt()
    result = project.run("suites/bank", "suites/shop")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["ephemera: interrupted again, so bank-main-*, shop-main-* is taken down in the background"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
