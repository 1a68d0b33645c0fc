from __future__ import annotations

import json
import re

import pytest

from ephemera.contract.errors import ServiceFailedError
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.driver import evidence
from ephemera.driver.workspace import Workspace
from ephemera.home import identity
from ephemera.home.credentials import credential
from tests.unit.doubles import FakeClient, marks

_STACK = "shop-main"


@pytest.fixture
def password(docker: FakeClient) -> str:
    """A stack of two containers that share a generated password."""
    secret = credential(_STACK, "db", "password")
    variables = {
        "db": [f"POSTGRES_PASSWORD={secret}", "POSTGRES_USER=app"],
        "api": [f"DATABASE_URL=postgresql://app:{secret}@db:5432/shop", "API_KEY=short"],
    }
    for service, values in variables.items():
        labels = marks(_STACK, identity.backend_id(), service)
        docker.api.add("container", f"{_STACK}-{service}", labels)
        docker.api.documents[f"{_STACK}-{service}-id"] = {
            "Id": f"{_STACK}-{service}-id",
            "Name": f"/{_STACK}-{service}",
            "Config": {"Env": values, "Labels": labels, "Cmd": ["serve", f"--password={secret}"]},
        }
        docker.api.log_texts[f"{_STACK}-{service}-id"] = f"hello\nconnecting with {secret}\n"
    docker.api.add("container", "foreign", marks(_STACK, "another", "foreign"))
    return secret


def test_logs_and_inspect_of_every_container_are_kept_without_credentials(workspace: Workspace, password: str) -> None:
    error = ServiceFailedError("api", "exited", log_tail=[f"cannot log in with {password}"])
    folder = evidence.collect(workspace, _STACK, "run-1", error)
    assert folder == workspace.project / ".ephemera" / "artifacts" / "run-1"
    files = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(files) == {"db.log", "db.inspect.json", "api.log", "api.inspect.json", "error.json"}
    assert not [name for name, text in files.items() if password in text]
    assert files["api.log"] == "hello\nconnecting with ***\n"
    config = json.loads(files["api.inspect.json"])["Config"]
    assert config["Env"] == ["DATABASE_URL=***", "API_KEY=***"]
    assert config["Cmd"] == ["serve", "--password=***"]
    assert json.loads(files["error.json"])["error"]["log_tail"] == ["cannot log in with ***"]


def test_without_an_error_and_without_containers_the_folder_is_empty(workspace: Workspace, docker: FakeClient) -> None:
    assert list(evidence.collect(workspace, _STACK, "run-1").iterdir()) == []
    assert docker.closed


def test_runs_sort_by_time_and_are_unique() -> None:
    runs = {evidence.new_run(_STACK) for _ in range(20)}
    assert len(runs) == 20
    assert all(re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{_STACK}-[0-9a-f]{{4}}", run) for run in runs)


def test_text_is_redacted_by_the_outputs_credentials() -> None:
    secret = credential(_STACK, "db", "password")
    outputs = EnvironmentOutputs.parse(
        {
            "stack": _STACK,
            "system": "shop",
            "branch": "main",
            "services": {"db": {"container": "c", "image": "i", "credentials": {"user": "app", "password": secret}}},
        }
    )
    assert evidence.redacted(f"app said {secret}", outputs) == "app said ***", "a user's name is no secret"
