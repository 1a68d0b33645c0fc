from __future__ import annotations

import base64
import json
import re
import time

import pytest

from ephemera.docker import connection
from ephemera.home import identity
from ephemera.home.credentials import credential
from ephemera.model import labels
from ephemera.model.errors import MachineError, ServiceFailedError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.observe import evidence, hiding, recording
from ephemera.pulumi import engine as pulumi_engine
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import UNSTAMPED, FakeClient, marks

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
        own = marks(_STACK, identity.backend_id(), service)
        docker.api.add("container", f"{_STACK}-{service}", own)
        docker.api.documents[f"{_STACK}-{service}-id"] = {
            "Id": f"{_STACK}-{service}-id",
            "Name": f"/{_STACK}-{service}",
            "Config": {"Env": values, "Labels": own, "Cmd": ["serve", f"--password={secret}"]},
        }
        docker.api.log_texts[f"{_STACK}-{service}-id"] = f"hello\nconnecting with {secret}\n"
    docker.api.add("container", "foreign", marks(_STACK, "another", "foreign"))
    return secret


def test_logs_and_inspect_of_every_container_are_kept_without_credentials(workspace: Workspace, password: str) -> None:
    error = ServiceFailedError("api", "exited", log_tail=[f"cannot log in with {password}"])
    folder = evidence.collect(workspace, _STACK, "run-1", error)
    assert folder == workspace.project / ".ephemera" / "artifacts" / "run-1"
    files = {path.name: path.read_text() for path in folder.iterdir()}
    logs = {"db.log", "db.inspect.json", "api.log", "api.inspect.json"}
    assert set(files) == {*logs, "definition.json", "error.json", "index.html"}
    assert not [name for name, text in files.items() if password in text]
    assert files["api.log"] == f"{UNSTAMPED} hello\n{UNSTAMPED} connecting with ***\n"
    config = json.loads(files["api.inspect.json"])["Config"]
    assert config["Env"] == ["DATABASE_URL=***", "API_KEY=***"]
    assert config["Cmd"] == ["serve", "--password=***"]
    assert json.loads(files["error.json"])["error"]["log_tail"] == ["cannot log in with ***"]


def test_without_containers_there_is_a_page_and_the_definition(workspace: Workspace, docker: FakeClient) -> None:
    folder = evidence.collect(workspace, _STACK, "run-1")
    assert sorted(path.name for path in folder.iterdir()) == ["definition.json", "index.html"]
    assert docker.closed


def test_credentials_are_hidden_in_every_file_and_form(workspace: Workspace, docker: FakeClient, password: str) -> None:
    basic = base64.b64encode(f"app:{password}".encode()).decode()
    docker.api.log_texts[f"{_STACK}-api-id"] = f"Authorization: Basic {basic}\n"
    stop = recording.start(_STACK, "tests")
    recording.append(
        _STACK, "test", session="1", nodeid="t", start=1, stop=2, outcome="failed", text=f"E  refused {password}"
    )
    recording.append(_STACK, "gate", service="api", state="waiting", detail=f"tries {password}")
    folder = evidence.collect(workspace, _STACK, "run-1", outputs=_outputs(password))
    stop()
    texts = {path.name: path.read_text() for path in folder.iterdir()}
    assert {"outputs.json", "tests.json", "gates.json"} <= set(texts)
    assert not [name for name, text in texts.items() if password in text or basic[12:40] in text]
    assert "refused ***" in texts["index.html"]


def test_credentials_of_a_container_that_is_gone_are_known_from_the_outputs(
    workspace: Workspace, docker: FakeClient
) -> None:
    secret = credential(_STACK, "db", "password")
    error = ServiceFailedError("api", "exited", log_tail=[f"cannot log in with {secret}"])
    folder = evidence.collect(workspace, _STACK, "run-1", error, _outputs(secret))
    assert not [path.name for path in folder.iterdir() if secret in path.read_text()]


def test_definition_says_what_was_asked_for(workspace: Workspace, docker: FakeClient, password: str) -> None:
    workspace.write_config(_STACK, {"level": "debug"})
    folder = evidence.collect(workspace, _STACK, "run-1")
    definition = json.loads((folder / "definition.json").read_text())
    assert definition["config"] == {"level": "debug"}
    assert definition["services"]["api"]["requires"] == ["db"]
    assert "postgres" in [image.get("name") for image in definition["images"]]


def test_events_that_nobody_recorded_are_asked_for(workspace: Workspace, docker: FakeClient) -> None:
    attributes = {labels.SERVICE: "api", "exitCode": "3", "image": "x"}
    docker.api.past_events.append(
        {"Action": "die", "Actor": {"ID": "1", "Attributes": attributes}, "timeNano": time.time_ns()}
    )
    folder = evidence.collect(workspace, _STACK, "run-1")
    [event] = json.loads((folder / "events.json").read_text())
    assert (event["service"], event["action"], event["exit_code"]) == ("api", "die", 3)


def test_engine_that_does_not_answer_is_told_in_the_page(
    workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise MachineError("no Docker engine answers", remedy="start it")

    monkeypatch.setattr(connection, "connect", refuse)
    folder = evidence.collect(workspace, _STACK, "run-1", ServiceFailedError("api", "exited"))
    assert "containers could not be looked at: no Docker engine answers" in (folder / "index.html").read_text()
    assert (folder / "error.json").is_file()


def test_place_is_told_or_why_there_is_none(workspace: Workspace, docker: FakeClient) -> None:
    said: list[str] = []
    error = ServiceFailedError("api", "exited")
    folder = evidence.take(workspace, _STACK, "run-1", error, lambda event: said.append(event["message"]))
    assert said == [f"evidence: {folder}/index.html"]
    (workspace.project / ".ephemera" / "artifacts" / "run-2").write_text("in the way")
    assert evidence.take(workspace, _STACK, "run-2", error, lambda event: said.append(event["message"])) is None
    assert said[1].startswith("no evidence could be kept: ")


def test_a_later_look_replaces_the_files_of_an_earlier_one(
    workspace: Workspace, docker: FakeClient, password: str
) -> None:
    evidence.collect(workspace, _STACK, "run-1")
    docker.api.log_texts[f"{_STACK}-api-id"] = "and then\n"
    folder = evidence.collect(workspace, _STACK, "run-1")
    assert (folder / "api.log").read_text() == f"{UNSTAMPED} and then\n"
    assert not list(folder.glob(".*")), "neither a lock nor half a file"


def test_runs_sort_by_time_and_are_unique() -> None:
    runs = {evidence.new_run(_STACK) for _ in range(20)}
    assert len(runs) == 20
    assert all(re.fullmatch(rf"\d{{8}}T\d{{6}}Z-{_STACK}-[0-9a-f]{{6}}", run) for run in runs)


def test_text_is_redacted_by_credentials_and_what_the_program_marked_as_secret(
    workspace: Workspace, docker: FakeClient
) -> None:
    own = marks(_STACK, identity.backend_id(), "api") | {labels.SECRETS: '["DSN"]'}
    docker.api.add("container", f"{_STACK}-api", own)
    config = {"Env": ["DSN=its own", "MODE=plain"], "Labels": own}
    docker.api.documents[f"{_STACK}-api-id"] = {"Name": f"/{_STACK}-api", "Config": config}
    secret = credential(_STACK, "db", "password")
    redactor = hiding.redactor_for(workspace, _STACK, _outputs(secret))
    assert redactor.text(f"app said its own, plain, {secret}") == "app said ***, plain, ***", (
        "a user's name is no secret"
    )


def _outputs(secret: str) -> EnvironmentOutputs:
    services = {"db": {"container": "c", "image": "i", "credentials": {"user": "app", "password": secret}}}
    return EnvironmentOutputs.parse({"stack": _STACK, "system": "shop", "branch": "main", "services": services})


def test_secrets_of_the_stacks_config_are_hidden(
    workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.config_file(_STACK).write_text("config:\n  ephemera:level:\n    secure: v1:a:b\n")
    answer = json.dumps({"ephemera:level": {"value": "opensesame", "secret": True}})
    monkeypatch.setattr(pulumi_engine, "run", lambda *_: answer)
    error = ServiceFailedError("api", "exited", log_tail=["cannot log in with opensesame"])
    folder = evidence.collect(workspace, _STACK, "run-1", error)
    assert not [path.name for path in folder.iterdir() if re.search("opensesame|v1:a:b", path.read_text())]
