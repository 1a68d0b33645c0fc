"""The plugin in projects that are not ours: it is loaded for every project of a virtual environment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.plugin.doubles import Project

_OTHERS = """
import pytest

def pytest_addoption(parser):
    for name in ("env", "profile", "only", "keep", "keep-on-failure", "require-services", "expose", "images", "config"):
        parser.addoption(f"--{name}", default="theirs")
    parser.addini("env", "theirs")

def pytest_configure(config):
    config.addinivalue_line("markers", "basic: theirs")

@pytest.fixture
def environment(request): return request.config.getoption("--env")

@pytest.fixture
def fresh_data(): return "theirs"
"""
_TESTS = """
import pytest

@pytest.mark.basic
@pytest.mark.environment("staging")
def test_theirs(environment, fresh_data, pytestconfig):
    assert (environment, fresh_data) == ("staging", "theirs")
    assert pytestconfig.getoption("--profile") == "theirs"
"""

Other = Callable[..., pytest.RunResult]


@pytest.fixture
def other(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Other:
    """Runs pytest in a process of its own, in a project that knows nothing of ephemera."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    pytester.makeconftest(_OTHERS)
    pytester.makepyfile(_TESTS)

    def run(*arguments: str) -> pytest.RunResult:
        without = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:cacheprovider")
        return pytester.runpytest_subprocess(*without, "--strict-markers", "--env=staging", *arguments)

    return run


@pytest.mark.parametrize(
    "arguments",
    [(), ("-p", "no:ephemera"), ("-p", "no:terminal"), ("-n", "1")],
    ids=["as it is", "switched off", "without a terminal", "with workers"],
)
def test_names_of_others_are_theirs(other: Other, arguments: tuple[str, ...]) -> None:
    if "no:ephemera" in arguments:
        arguments += ("-o", "markers=environment: theirs")
    result = other(*arguments)
    assert result.ret == 0, result.stdout.str()
    assert "ephemera: " not in result.stdout.str()


def test_nothing_is_made_to_look_at_the_tests(other: Other) -> None:
    result = other("--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*::test_theirs"])


@pytest.mark.parametrize("variable", ["HOME", "XDG_STATE_HOME"])
def test_runs_with_workers_need_no_home(other: Other, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv(variable, "/dev/null")
    assert other("-n", "1").ret == 0


def test_every_option_carries_the_prefix(project: Project) -> None:
    text = project.run("--help").stdout.str()
    _, _, ours = text.partition("ephemeral environments:\n")
    section, _, _ = ours.partition("\n\n")
    options = [line.split()[0].partition("=")[0] for line in section.splitlines() if line.lstrip().startswith("-")]
    assert len(options) == 11
    assert [option for option in options if not option.startswith("--ephemera-")] == []
