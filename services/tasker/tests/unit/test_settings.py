"""The environment's variables: defaults, refusals, and no password in a message."""

import pytest
from chassis.settings import SettingsError, load
from tasker.settings import OrchestrationSettings, WorkerSettings
from tasker.workflows.catalog import NAMESPACES

URL = "postgresql://tasker:secret@db/tasker"
WORKER = {"DATABASE_URL": URL, "TASKER_ORCHESTRATION_URL": "http://o:8080", "TASKER_WORKER_ID": "w"}


def test_defaults() -> None:
    orchestration = load(OrchestrationSettings, {"DATABASE_URL": URL, "TASKER_TEST_MODE": ""})
    assert (orchestration.port, orchestration.test_mode, orchestration.log_level) == (8080, False, "info")
    worker = load(WorkerSettings, WORKER)
    assert (worker.port, worker.namespaces, worker.lease_seconds) == (8081, NAMESPACES, 5.0)


def test_namespaces_are_a_comma_list() -> None:
    settings = load(WorkerSettings, {**WORKER, "TASKER_NAMESPACES": "linear_workflow, tree_workflow,"})
    assert settings.namespaces == ("linear_workflow", "tree_workflow")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://tasker:secret@db"),
        ("DATABASE_URL", ""),
        ("TASKER_ORCHESTRATION_URL", "orchestration:8080"),
        ("TASKER_WORKER_ID", "a b"),
        ("TASKER_NAMESPACES", ","),
        ("TASKER_PORT", "0"),
        ("TASKER_LEASE_SECONDS", "soon"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_bad_variable_is_named_and_no_value_is_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        load(WorkerSettings, {**WORKER, name: value})
    assert "secret" not in str(caught.value)


def test_every_bad_variable_is_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"DATABASE_URL.*TASKER_ORCHESTRATION_URL"):
        load(WorkerSettings, {"TASKER_WORKER_ID": "w"})
