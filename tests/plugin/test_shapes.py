"""Tests of every shape get the environment, and runs of every kind make none, or leave none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.doubles import Project

_USES = "def test_uses(environment): assert environment.open\n"
_SHAPES = """
import unittest
import pytest

class TestPlain:
    @pytest.fixture(autouse=True)
    def given(self, environment):
        self.environment = environment

    @pytest.mark.parametrize("number", [1, 2])
    def test_method(self, environment, number):
        assert environment is self.environment

@pytest.mark.usefixtures("environment")
class TestUnit(unittest.TestCase):
    def test_uses(self): pass

class TestUnitWithValue(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def given(self, environment):
        self.environment = environment

    def test_has(self):
        self.assertEqual(self.environment.system, "shop")

@pytest.mark.anyio
async def test_async(environment, anyio_backend_name):
    assert environment.open

@pytest.fixture(scope="class")
def of_class(environment): return environment

@pytest.fixture(scope="package")
def of_package(environment): return environment

@pytest.mark.xfail(strict=True)
def test_known(of_class, of_package):
    assert of_class is not of_package
"""


def test_shapes_of_tests(project: Project) -> None:
    project.write(
        {
            "suites/shop/conftest.py": """
                import pytest

                @pytest.fixture
                def anyio_backend(): return "asyncio"
            """,
            "suites/shop/test_1.py": _SHAPES,
        }
    )
    result = project.run("-p", "anyio", "--ephemera-summary", "summary.json")
    result.assert_outcomes(passed=5, xfailed=1)
    assert [call.rpartition(": ")[2] for call in project.driver.calls] == ["up shop", "down shop"]
    assert '"xfailed": 1' in (project.folder / "summary.json").read_text()


@pytest.mark.parametrize("mode", ["importlib", "prepend", "append"])
def test_modes_of_import(project: Project, mode: str) -> None:
    project.write({f"suites/{system}/test_{system}.py": _USES for system in ("shop", "bank")})
    project.run(f"--import-mode={mode}").assert_outcomes(passed=2)


def test_without_a_terminal(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.write({"suites/shop/test_1.py": _USES})
    result = project.run("-p", "no:terminal", "--ephemera-summary", "summary.json")
    assert result.ret == 0
    assert "ephemera" not in capsys.readouterr().out
    assert project.driver.calls == ["test_uses: up shop", "end: down shop"]


@pytest.mark.parametrize("arguments", [("-s",), ("-p", "no:capture"), ("--no-header", "--no-summary")])
def test_ways_of_output(project: Project, arguments: tuple[str, ...]) -> None:
    project.write({"suites/shop/test_1.py": _USES})
    result = project.run(*arguments)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["ephemera: shop-main-* is ready after 1.5 s"])
    assert project.driver.alive == {}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--collect-only",), 0),
        (("--fixtures",), 0),
        (("-k", "nothing_of_that_name"), 5),
        (("--deselect", "suites/shop/test_1.py"), 5),
        (("gone_away",), 4),
        (("--setup-plan",), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_runs_without_tests_make_none(project: Project, arguments: tuple[str, ...], code: int) -> None:
    project.write({"suites/shop/test_1.py": _USES})
    assert project.run(*arguments).ret == code
    assert project.driver.calls == []


def test_last_failed_that_needs_none_makes_none(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _USES + "def test_bad(): assert 0\n"})
    project.run("-p", "cacheprovider").assert_outcomes(passed=1, failed=1)
    before = len(project.driver.calls)
    project.run("-p", "cacheprovider", "--lf").assert_outcomes(failed=1)
    assert len(project.driver.calls) == before


@pytest.mark.parametrize(
    ("where", "code"), [("conftest.py", 4), ("suites/shop/conftest.py", 4), ("suites/shop/test_2.py", 2)]
)
def test_what_cannot_be_imported_ends_the_run_as_pytest_does(project: Project, where: str, code: int) -> None:
    project.write({"suites/shop/test_1.py": _USES, where: "import gone_away"})
    result = project.run("suites/shop")
    assert result.ret == code
    assert "No module named 'gone_away'" in result.stdout.str() + result.stderr.str()
    assert project.driver.calls == []


def test_setup_that_is_only_shown(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _USES})
    project.run("--setup-only").stdout.fnmatch_lines(["*SETUP    S environment*", "*TEARDOWN S environment"])
    assert project.driver.alive == {}


def test_plugin_alone_imports_neither_pulumi_nor_docker(project: Project) -> None:
    project.write(
        {"test_1.py": "import sys\ndef test_it(): assert not {'pulumi', 'docker', 'pydantic'} & set(sys.modules)\n"}
    )
    variables = "-p", "ephemera.pytest_plugin"
    done = project.pytester.runpytest_subprocess(*variables, str(Path("test_1.py")))
    done.assert_outcomes(passed=1)
