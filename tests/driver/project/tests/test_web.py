"""The suite of the small project's web system."""

from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment


def test_answers(environment: RunningEnvironment) -> None:
    assert environment.http("web").get("/").status_code == 200


def test_own_environment(environment: RunningEnvironment, environment_factory: EnvironmentFactory) -> None:
    own = environment_factory(profiles=["extra"])
    assert own.stack != environment.stack
    assert own.service("shadow").state() == "running"
