"""The suite's side of the network, without one: pytest with the plugin, and outputs in a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

_ENDPOINT = {
    "scheme": "http",
    "host": "web",
    "port": 8000,
    "url": "http://web:8000",
    "internal_host": "web",
    "internal_port": 8000,
    "internal_url": "http://web:8000",
}
_OUTPUTS = {
    "stack": "shop-main",
    "system": "shop",
    "branch": "main",
    "services": {"web": {"container": "c", "image": "i", "endpoints": {"http": _ENDPOINT}}},
}


@pytest.fixture
def inside(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests, and the variables that the first process sets."""
    outputs = pytester.path / "outputs.json"
    outputs.write_text(json.dumps(_OUTPUTS))
    monkeypatch.setenv("EPHEMERA_OUTPUTS", str(outputs))
    monkeypatch.setenv("EPHEMERA_SYSTEM", "shop")
    monkeypatch.setenv("EPHEMERA_SERVICES", json.dumps(["web", "lab"]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def _run(inside: pytest.Pytester, text: str) -> pytest.RunResult:
    inside.makepyfile(text)
    return inside.runpytest_subprocess("-p", "ephemera.inside.plugin", "-rs", "--ephemera-summary=summary.json")


def test_environment_is_that_of_the_outputs(inside: pytest.Pytester) -> None:
    result = _run(
        inside,
        """
        from ephemera.pytest_plugin.environments import RunningEnvironment

        def test_it(environment: RunningEnvironment):
            assert (environment.stack, environment.system) == ("shop-main", "shop")
            assert environment.endpoint("web").url == "http://web:8000"
            assert str(environment.http("web").base_url) == "http://web:8000"
            assert environment.require("web").outputs.container == "c"
            assert environment.service("web").name == "web"
        """,
    )
    result.assert_outcomes(passed=1)


def test_what_needs_the_engine_is_skipped_and_says_so(inside: pytest.Pytester) -> None:
    result = _run(
        inside,
        """
        import pytest

        @pytest.mark.parametrize("call", [
            lambda environment: environment.service("web").kill(),
            lambda environment: environment.service("web").logs,
            lambda environment: environment.database(),
            lambda environment: environment.reset(),
            lambda environment: environment.remember(),
            lambda environment: environment.evidence(),
            lambda environment: environment.require("lab"),
        ])
        def test_call(environment, call):
            call(environment)

        def test_fresh(ephemera_fresh_data): ...
        def test_fresh_by_its_former_name(fresh_data): ...
        def test_factory(environment_factory): ...
        def test_module_factory(module_environment_factory): ...
        @pytest.mark.environment("bank")
        def test_other_system(environment): ...
        """,
    )
    result.assert_outcomes(skipped=12)
    result.stdout.fnmatch_lines(["*kill of service 'web' needs the Docker engine, which is not reached from inside*"])
    result.stdout.fnmatch_lines(["*this one is of system 'shop', the test wants 'bank'*"])


def test_what_tests_do_with_their_variables_changes_nothing(inside: pytest.Pytester) -> None:
    result = _run(
        inside,
        """
        import os

        def test_clears(): os.environ.clear()
        def test_next(environment): assert environment.require("web").name == "web"
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_service_that_nobody_declares_is_an_error_and_no_skip(inside: pytest.Pytester) -> None:
    result = _run(inside, "def test_it(environment): environment.require('wep')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*unknown service of system 'shop' 'wep': did you mean 'web'?*"])


def test_counts_are_pytests_own(inside: pytest.Pytester) -> None:
    _run(
        inside,
        """
        import pytest

        def test_passes(): ...
        def test_fails(): assert 0
        def test_skips(): pytest.skip("why")
        def test_errors(nothing_of_that_name): ...
        @pytest.mark.xfail
        def test_known(): assert 0
        """,
    )
    told = json.loads(Path(inside.path, "summary.json").read_text())
    assert told["counts"] == {"passed": 1, "failed": 1, "skipped": 1, "errors": 1, "xfailed": 1}
    assert [(each["nodeid"].partition("::")[2], each["phase"], each["outcome"]) for each in told["tests"]] == [
        ("test_passes", "call", "passed"),
        ("test_fails", "call", "failed"),
        ("test_skips", "call", "skipped"),
        ("test_errors", "setup", "failed"),
        ("test_known", "call", "skipped"),
    ]
    assert "assert 0" in told["tests"][1]["text"]
    assert all(each["start"] <= each["stop"] for each in told["tests"])
