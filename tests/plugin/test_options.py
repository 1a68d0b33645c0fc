"""``env`` uses what is up; ``keep`` and ``keep-on-failure`` leave what was made, and say how to end it; settings reach
what is made. All of them behind ``--ephemera-``."""

from __future__ import annotations

import pytest

from ephemera.home import leases
from ephemera.model.errors import MachineError, ServiceFailedError
from ephemera.pytest_plugin import broker
from tests.plugin.doubles import Project, explanations

_USES = "def test_uses(environment): pass\n"
_FAILS = "def test_fails(environment): assert 0\n"
_FAILS_AS_KNOWN = "import pytest\n@pytest.mark.xfail\ndef test_known(): assert 0\n"


def test_attached_environment_is_used_and_left(project: Project) -> None:
    project.driver.start("shop-main", "shop")
    project.write({"suites/shop/test_1.py": "def test_uses(environment): assert environment.stack == 'shop-main'"})
    project.run("--ephemera-env", "shop-main").assert_outcomes(passed=1)
    assert project.driver.calls == []
    assert list(project.driver.alive) == ["shop-main"]


def test_own_environments_are_made_and_ended_next_to_an_attached_one(project: Project) -> None:
    project.driver.start("shop-main", "shop")
    project.write({"suites/shop/test_1.py": "def test_own(environment, environment_factory): environment_factory()"})
    project.run("--ephemera-env", "shop-main").assert_outcomes(passed=1)
    assert project.driver.calls == ["test_own: up shop", "test_own: down shop"]
    assert list(project.driver.alive) == ["shop-main"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "bank-main",
            "environment 'bank-main' is of system 'bank', the suite is of 'shop': name another one, or leave it out",
        ),
        ("shop-mian", "no environment 'shop-mian' is running: running: bank-main"),
    ],
    ids=["of another system", "unknown"],
)
def test_environment_that_cannot_be_attached_is_one_line(project: Project, name: str, message: str) -> None:
    project.driver.start("bank-main", "bank")
    project.write({"suites/shop/test_1.py": _USES})
    result = project.run("--ephemera-env", name)
    result.assert_outcomes(errors=1)
    assert explanations(result) == [[message]]
    assert project.driver.calls == []


def test_only_and_profile_say_what_is_made(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _USES})
    project.run("--ephemera-only", "web", "--ephemera-profile", "lab").assert_outcomes(passed=1)
    (request,) = project.driver.requests
    assert request.config == {"only": '["web"]', "profiles": '["lab"]'}
    project.run().assert_outcomes(passed=1)
    assert project.driver.requests[-1].config == {}


@pytest.mark.parametrize("option", ["--ephemera-only=web", "--ephemera-profile=lab"])
def test_what_is_up_is_as_it_is(project: Project, option: str) -> None:
    result = project.run("--ephemera-env", "shop-main", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--ephemera-env names an environment that is up: --ephemera-only and --ephemera-pro*"]
    )


@pytest.mark.parametrize(
    ("option", "tests", "kept"),
    [
        ("--ephemera-keep", _USES, True),
        ("--ephemera-keep", _FAILS, True),
        ("--ephemera-keep-on-failure", _USES, False),
        ("--ephemera-keep-on-failure", _FAILS, True),
        ("--ephemera-keep-on-failure", _USES + "def test_error(environment, gone_away): pass\n", True),
        (
            "--ephemera-keep-on-failure",
            _USES + _FAILS_AS_KNOWN,
            False,
        ),
    ],
)
def test_what_is_kept_and_how_to_end_it(project: Project, option: str, tests: str, kept: bool) -> None:
    project.write({"suites/shop/test_1.py": tests})
    result = project.run(option)
    assert project.driver.calls[-1] == ("end: keep shop" if kept else "end: down shop")
    assert len(project.driver.alive) == kept
    for stack in project.driver.alive:
        result.stdout.fnmatch_lines([f"ephemera: {stack} is kept for inspection:", f"  ephemera down {stack} *"])


@pytest.mark.parametrize("option", [(), ("--ephemera-keep-on-failure",)])
def test_what_does_not_become_ready_is_kept_if_asked_for(project: Project, option: tuple[str, ...]) -> None:
    project.driver.failure = ServiceFailedError("web", "exited")
    project.write({"suites/shop/test_1.py": _USES})
    result = project.run(*option)
    assert [request.keep_on_failure for request in project.driver.requests] == [bool(option)]
    assert len(project.driver.alive) == bool(option)
    for stack in project.driver.alive:
        result.stdout.fnmatch_lines([f"ephemera: {stack} is kept for inspection:", f"  ephemera down {stack} *"])


def test_attached_environment_is_marked_as_in_use_while_it_is(project: Project) -> None:
    project.driver.start("shop-main", "shop")
    project.write(
        {
            "suites/shop/test_1.py": """
                from ephemera.home import leases

                def test_uses(environment):
                    assert leases.read(environment.stack).in_use()
            """
        }
    )
    project.run("--ephemera-env", "shop-main").assert_outcomes(passed=1)
    lease = leases.read("shop-main")
    assert lease is not None
    assert (lease.phase, lease.in_use()) == ("kept", False)


def test_what_is_kept_is_told_even_when_docker_is_gone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise MachineError("no Docker engine answers")

    monkeypatch.setattr(broker, "way_into", refuse)
    project.write({"suites/shop/test_1.py": _USES})
    result = project.run("--ephemera-keep")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["ephemera: shop-main-* is kept, `ephemera down shop-main-*` ends it (no Docker engine answers)"]
    )


_OWN = """
def test_own(environment, environment_factory):
    environment_factory()
    environment_factory("bank")
"""
_SETTINGS = ("--ephemera-expose=none", "--ephemera-images=local", "--ephemera-config=subnet_pool=10.1.0.0/16")


def test_settings_reach_every_environment_that_the_run_makes(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _OWN})
    project.run(*_SETTINGS).assert_outcomes(passed=1)
    settings = {"expose": "none", "images": "local", "subnet_pool": "10.1.0.0/16"}
    assert [request.config for request in project.driver.requests] == [settings] * 3


def test_what_only_another_system_declares_is_not_for_this_one(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _OWN})
    project.run("--ephemera-only=web", "--ephemera-profile=lab").assert_outcomes(passed=1)
    only = {"only": '["web"]'}
    lab = {**only, "profiles": '["lab"]'}
    assert [(request.system, request.config) for request in project.driver.requests] == [
        ("shop", lab),
        ("shop", lab),
        ("bank", only),
    ]


def test_what_a_test_asks_for_itself_comes_first(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": """
                def test_own(environment_factory):
                    environment_factory(only=["web"], profiles=(), config={"expose": "dynamic"})
            """
        }
    )
    project.run("--ephemera-profile=lab", "--ephemera-expose=none", "--ephemera-images=local")
    (request,) = project.driver.requests
    assert request.config == {"only": "web", "expose": "dynamic", "images": "local"}


def test_fixed_ports_are_for_the_runs_environment(project: Project) -> None:
    (project.folder / "systems.py").write_text(
        (project.folder / "systems.py").read_text().replace('suites/shop"', 'suites/shop", fixed_ports={"test": {}}')
    )
    project.write({"suites/shop/test_1.py": "def test_own(environment, environment_factory): environment_factory()"})
    project.run("--ephemera-expose=fixed", "--ephemera-port-table=test").assert_outcomes(passed=1)
    configs = [request.config for request in project.driver.requests]
    assert configs == [{"expose": "fixed", "port_table": "test"}, {}]


@pytest.mark.parametrize("pair", ["expose", "=none"])
def test_setting_that_is_no_pair_is_refused_before_anything_runs(project: Project, pair: str) -> None:
    result = project.run(f"--ephemera-config={pair}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --ephemera-config '{pair}' is not valid: give it as KEY=VALUE"])


def test_setting_that_is_unknown_is_one_line_and_makes_nothing(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _USES})
    result = project.run("--ephemera-config=exposse=none")
    result.assert_outcomes(errors=1)
    assert explanations(result)[0][0].startswith(
        "unknown config key 'ephemera:exposse': did you mean 'ephemera:expose'?"
    )
    assert project.driver.calls == []
