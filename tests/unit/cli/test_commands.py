from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ephemera import lifecycle
from ephemera.home import leases, paths
from ephemera.home.paths import state_dir
from ephemera.lifecycle import Gone, Ready, Request, finding, suite
from ephemera.lifecycle.suite import SuiteResult
from ephemera.model.catalog import Manifest
from ephemera.model.errors import ServiceFailedError
from ephemera.model.images import PublicImage
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.pulumi.workspace import Workspace
from ephemera.setup import toolchain
from tests.unit.cli.conftest import Command
from tests.unit.doubles import SHOP, FakeClient, lease_of, marks
from tests.unit.users import belongs_to

_RESULT = SuiteResult(counts={"passed": 2, "skipped": 1}, exit_code=0, seconds=1.5, evidence=None)


class Driver:
    """Stands for the driver; says what was asked of it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.downs: list[str] = []
        self.let_go: list[str] = []
        self.pytest_arguments: list[str] = []
        self.result: SuiteResult | BaseException = _RESULT
        self.leftovers: tuple[str, ...] = ()

    def up(self, workspace: Workspace, request: Request, report: Any) -> Ready:
        self.requests.append(request)
        stack, _, _ = lifecycle.plan(workspace, request)
        report({"type": "gate", "service": "db", "state": "ready", "seconds": 0.5, "detail": ""})
        return Ready(outputs=_outputs(stack), created=True, seconds=2.0)

    def down(self, _: Workspace, stack: str, _report: Any) -> Gone:
        self.downs.append(stack)
        return Gone(stack=stack, seconds=0.5, leftovers=self.leftovers)

    def run(self, _1: Workspace, _2: Manifest, _3: str, arguments: list[str], _4: bool) -> SuiteResult:
        self.pytest_arguments = list(arguments)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


def _outputs(stack: str) -> EnvironmentOutputs:
    endpoint = {
        "scheme": "postgresql",
        "host": "127.83.1.1",
        "port": 5432,
        "url": "postgresql://127.83.1.1:5432/shop",
        "internal_host": "db",
        "internal_port": 5432,
        "internal_url": "postgresql://db:5432/shop",
    }
    db = {"container": "c", "image": "i", "endpoints": {"postgres": endpoint}, "credentials": {"password": "it's"}}
    return EnvironmentOutputs.model_validate(
        {"stack": stack, "system": "shop", "branch": "main", "services": {"db": db}}
    )


@pytest.fixture
def driver(tmp_path: Path, docker: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A project with the shop, on branch ``main``, and a driver that does nothing."""
    (tmp_path / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    workspace = Workspace(tmp_path)
    workspace.__dict__["catalog"] = {"shop": SHOP}
    monkeypatch.setattr(Workspace, "find", staticmethod(lambda: workspace))
    monkeypatch.setenv("EPHEMERA_BRANCH", "main")
    state = workspace.state_file("shop-main")
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    fake = Driver()
    monkeypatch.setattr(lifecycle, "up", fake.up)
    monkeypatch.setattr(lifecycle, "down", fake.down)
    monkeypatch.setattr(lifecycle, "let_go", fake.let_go.append)
    for module in (lifecycle, finding):
        monkeypatch.setattr(module, "outputs", lambda _, stack: _outputs(stack))
    monkeypatch.setattr(suite, "run", fake.run)
    return fake


def test_run_brings_up_tests_takes_down_and_proves(ephemera: Command, driver: Driver) -> None:
    said = ephemera("run", "shop", "--output", "json", "--", "-k", "smoke")
    assert said.exit_code == 0
    document = said.document
    stack = document["stack"]
    assert stack.startswith("shop-main-")
    assert driver.downs == [stack]
    assert driver.pytest_arguments == ["-k", "smoke"]
    assert driver.requests[0].phase == "disposable"
    assert document["system"] == "shop"
    none = dict.fromkeys(("failed", "errors", "xfailed", "xpassed", "exit_code"), 0)
    assert document["tests"] == {"passed": 2, "skipped": 1, **none}
    assert {key: document["seconds"][key] for key in ("up", "tests", "down")} == {"up": 2.0, "tests": 1.5, "down": 0.5}
    assert document["leftovers"] == []
    assert document["evidence"] is None


def test_run_takes_the_projects_only_system(ephemera: Command, driver: Driver) -> None:
    assert ephemera("run", "--output", "json", "--", "-k", "smoke").document["system"] == "shop"
    assert driver.pytest_arguments == ["-k", "smoke"]


def test_settings_of_a_run_reach_the_environments_of_its_tests(ephemera: Command, driver: Driver) -> None:
    ephemera("run", "shop", "--expose", "none", "-c", "seconds=9", "--", "-x")
    assert driver.requests[0].config == {"seconds": "9", "expose": "none"}
    assert driver.pytest_arguments == ["--ephemera-config=seconds=9", "--ephemera-config=expose=none", "-x"]


def test_timeline_is_shown_when_asked_for(ephemera: Command, driver: Driver) -> None:
    document = ephemera("up", "shop", "--timeline", "--output", "json").document
    assert driver.requests[0].timed
    assert document["services"]["db"]["container"] == "c"
    found = document["timeline"]
    assert [segment["name"] for segment in found["segments"]] == ["start", "plan", "machine", "check"]
    assert found["critical_path"][-1]["end"] == found["seconds"]
    assert "critical path" in ephemera("up", "shop", "--timeline").out
    assert "timeline" not in ephemera("up", "shop", "--output", "json").document
    assert "critical path" not in ephemera("up", "shop").out
    assert not driver.requests[-1].timed


def test_failed_tests_exit_with_1_and_still_go_down(ephemera: Command, driver: Driver) -> None:
    driver.result = replace(_RESULT, counts={"failed": 1}, exit_code=1, evidence=Path("/evidence"))
    said = ephemera("run", "shop", "--output", "json")
    assert said.exit_code == 1
    assert said.document["evidence"] == "/evidence"
    assert len(driver.downs) == 1


def test_suite_that_cannot_run_still_goes_down(ephemera: Command, driver: Driver) -> None:
    driver.result = ServiceFailedError("api", "exited")
    assert ephemera("run", "shop").exit_code == 3
    assert len(driver.downs) == 1


@pytest.mark.parametrize(
    ("flags", "exit_code", "kept"),
    [
        (["--keep"], 0, True),
        (["--keep"], 1, True),
        (["--keep-on-failure"], 1, True),
        (["--keep-on-failure"], 0, False),
        ([], 1, False),
    ],
)
def test_environment_is_kept_only_when_asked_for(
    ephemera: Command, driver: Driver, flags: list[str], exit_code: int, kept: bool
) -> None:
    driver.result = replace(_RESULT, exit_code=exit_code)
    document = ephemera("run", "shop", "--output", "json", *flags).document
    assert driver.let_go == ([document["stack"]] if kept else [])
    assert driver.downs == ([] if kept else [document["stack"]])
    assert (document["seconds"]["down"] is None) is kept


@pytest.mark.parametrize("command", [("run", "shop"), ("down", "shop-main")])
def test_leftovers_exit_with_4_and_one_document(ephemera: Command, driver: Driver, command: tuple[str, ...]) -> None:
    driver.leftovers = ("network shop-main",)
    said = ephemera(*command, "--output", "json")
    assert said.exit_code == 4
    assert said.document["leftovers"] == ["network shop-main"]
    said = ephemera(*command)
    assert said.exit_code == 4
    assert "destroy left 1 objects behind" in said.err


def test_up_prints_the_outputs_and_no_secret_unasked(ephemera: Command, driver: Driver) -> None:
    said = ephemera("up", "shop", "--output", "json", "--expose", "none", "-c", "seconds=9", "--only", "db")
    assert said.exit_code == 0
    assert said.document == _outputs("shop-main").document()
    assert "it's" not in said.out + said.err
    config = driver.requests[0].config
    assert (config["expose"], config["seconds"], json.loads(config["only"])) == ("none", "9", ["db"])
    assert ephemera("up", "--output", "json", "--show-secrets").document["services"]["db"]["credentials"] == {
        "password": "it's"
    }


def test_up_tells_people_what_happens_on_standard_error(ephemera: Command, driver: Driver) -> None:
    said = ephemera("up")
    assert said.exit_code == 0
    assert "postgresql://127.83.1.1:5432/shop" in said.out
    assert "password=***" in said.out
    assert [line.strip() for line in said.err.splitlines()] == [
        "bringing up shop-main …",
        "db ready after 0.5 s",
        "shop-main is ready after 2.0 s",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--config", "seconds"), "--config 'seconds' is not valid"),
        (("up", "-c", "secondss=1"), "unknown config key 'ephemera:secondss'"),
        (("up", "shp"), "unknown system 'shp'"),
        (("up", "--only", "nope"), "unknown service 'nope'"),
        (("up", "--branch", ""), "the branch name is empty"),
        (("run", "shop", "--expose", "fixed"), "unknown port table ''"),
    ],
)
def test_bad_input_is_refused_before_anything_is_done(
    ephemera: Command, driver: Driver, arguments: tuple[str, ...], message: str
) -> None:
    said = ephemera(*arguments, "--output", "json")
    assert said.exit_code == 2
    assert said.document["error"]["message"] == message
    assert driver.requests == []


@pytest.mark.parametrize(
    ("arguments", "passed_on"),
    [
        ((), []),
        (("--", "-k", "smoke"), ["-k", "smoke"]),
        (("shop", "--", "-x", "--env", "y"), ["-x", "--env", "y"]),
        (("shop", "--", "--", "-x"), ["--", "-x"]),
        (("shop-main", "tests/one.py", "--", "-x"), ["tests/one.py", "-x"]),
    ],
)
def test_pytests_arguments_come_after_two_hyphens(
    ephemera: Command, driver: Driver, arguments: tuple[str, ...], passed_on: list[str]
) -> None:
    said = ephemera("test", "--output", "json", *arguments)
    assert said.exit_code == 0
    assert said.document["stack"] == "shop-main"
    assert driver.pytest_arguments == passed_on


def test_suite_needs_an_environment_that_is_up(ephemera: Command, driver: Driver) -> None:
    said = ephemera("test", "shop-other", "--output", "json")
    assert said.exit_code == 2
    assert said.document["error"]["kind"] == "no_such_environment"


def test_outputs_in_every_form(ephemera: Command, driver: Driver) -> None:
    assert ephemera("outputs").document == _outputs("shop-main").document()
    exported = ephemera("outputs", "--format", "env", "--show-secrets").out.splitlines()
    assert "export DB_PORT=5432" in exported
    assert """export DB_PASSWORD='it'"'"'s'""" in exported
    assert "DB_PORT=5432" in ephemera("outputs", "--format", "dotenv").out.splitlines()


def test_exec_passes_the_commands_options_and_exit_code_on(
    ephemera: Command, driver: Driver, docker: FakeClient
) -> None:
    from ephemera.home import identity

    docker.api.add("container", "shop-main-db", marks("shop-main", identity.backend_id(), "db"))
    docker.api.exit_codes["shop-main-db-id: ls -l /data"] = 7
    said = ephemera("exec", "db", "ls", "-l", "/data")
    assert said.exit_code == 7
    assert said.out == "said shop-main-db-id: ls -l /data"
    said = ephemera("exec", "--output", "json", "db", "true")
    assert said.document == {"service": "db", "exit_code": 0, "output": "said shop-main-db-id: true"}


def test_ls_lists_environments_with_readable_times(ephemera: Command, driver: Driver, docker: FakeClient) -> None:
    from ephemera.home import identity

    docker.api.add("container", "shop-main-db", marks("shop-main", identity.backend_id(), "db"), Created=0)
    (listed,) = ephemera("ls", "--output", "json").document
    assert (listed["stack"], listed["state"]) == ("shop-main", "running")
    assert listed["created_at"] == "1970-01-01T00:00:00+00:00"
    assert "shop-main" in ephemera("ls").out


def test_status_exits_with_3_when_a_required_service_is_down(
    ephemera: Command, driver: Driver, docker: FakeClient
) -> None:
    said = ephemera("status", "--output", "json", "shop-main")
    assert said.exit_code == 3
    (db,) = said.document["services"]
    assert (db["service"], db["state"], db["up"]) == ("db", "missing", False)


def test_logs_of_an_unknown_service_are_refused(ephemera: Command, driver: Driver, docker: FakeClient) -> None:
    from ephemera.home import identity

    docker.api.add("container", "shop-main-db", marks("shop-main", identity.backend_id(), "db"))
    docker.api.run("shop-main-db-id")
    docker.api.log_texts["shop-main-db-id"] = "".join(f"2026-01-02T03:04:0{n}Z line {n}\n" for n in range(5))
    said = ephemera("logs", "dbb", "--output", "json")
    assert said.exit_code == 2
    assert "did you mean 'db'" in said.document["error"]["remedy"]
    assert ephemera("logs", "db", "--tail", "2").out == "line 3\nline 4\n"
    assert ephemera("logs", "--tail", "1").out == "db | line 4\n"
    assert ephemera("logs", "db", "--tail", "0").out == ""


def test_images_lock_writes_the_digests_of_what_the_project_pulls(
    ephemera: Command, driver: Driver, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = {"Descriptor": {"digest": "sha256:1"}}
    monkeypatch.setattr(client.api, "inspect_distribution", lambda *_: digest, raising=False)
    monkeypatch.setattr(client.api, "reload_config", lambda _: None, raising=False)
    said = ephemera("images", "lock", "--output", "json")
    assert said.exit_code == 0
    lock = Path(said.document["file"])
    assert lock == Workspace.find().project / "images.lock"
    pulled = {image.reference for image in SHOP.all_images if isinstance(image, PublicImage)}
    assert pulled
    assert pulled <= set(tomllib.loads(lock.read_text()))


@pytest.mark.usefixtures("driver")
def test_env_puts_no_program_of_another_user_on_the_path(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in toolchain.PROGRAMS:
        path = toolchain.toolchain_dir() / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    pulumi = toolchain.toolchain_dir() / "bin" / "pulumi"
    assert ephemera("env").exit_code == 0
    belongs_to(monkeypatch, {pulumi: 4711})
    said = ephemera("env")
    assert (said.exit_code, said.out) == (5, "")
    assert f"{pulumi} belongs to user 4711" in said.err.replace("\n", "")


@pytest.mark.usefixtures("driver")
def test_state_of_another_user_is_one_error(ephemera: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    belongs_to(monkeypatch, {state_dir(): 4711})
    monkeypatch.setattr(paths, "_checked", {})
    said = ephemera("outputs", "shop-main", "--output", "json")
    assert said.exit_code == 5
    assert said.document["error"]["kind"] == "machine_not_ready"
    assert "set XDG_STATE_HOME" in said.document["error"]["remedy"]


def test_logs_hide_secrets_unless_asked_for(ephemera: Command, driver: Driver, docker: FakeClient) -> None:
    from ephemera.home import identity

    own = marks("shop-main", identity.backend_id(), "db") | {"ephemera.secrets": '["DSN"]'}
    docker.api.add("container", "shop-main-db", own)
    config = {"Env": ["DSN=its own", "MODE=fast"], "Labels": own}
    docker.api.documents["shop-main-db-id"] = {"Name": "/shop-main-db", "Config": config}
    odd = "10%\r100% \x1b[31mred\x1b[0m \x1b]0;title\x07"
    docker.api.log_texts["shop-main-db-id"] = f"2026-01-02T03:04:05Z its own, fast {odd}\n"
    assert ephemera("logs", "db").out == f"***, fast {odd}\n", "in a pipe it is as it was, but for secrets"
    assert ephemera("logs", "db", "--show-secrets").out == f"its own, fast {odd}\n"
    (line,) = ephemera("logs", "--output", "json").document
    assert line["line"] == f"***, fast {odd}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "shop"),
        ("logs", "--stack", "shop"),
        ("logs", "--stack", "shop", "db"),
        ("exec", "--stack", "shop", "db", "true"),
        ("cp", "--stack", "shop", "db:/etc/passwd", "-"),
        ("restart", "--stack", "shop", "db"),
        ("test", "shop"),
        ("reset", "shop"),
        ("reset", "shop", "--remember"),
    ],
    ids=" ".join,
)
def test_environment_on_another_engine_is_not_said_to_be_missing(
    ephemera: Command, driver: Driver, docker: FakeClient, arguments: tuple[str, ...]
) -> None:
    docker.told = {"ID": "HERE"}
    leases.write(lease_of(docker="THERE", docker_url="ssh://build-box", phase="kept", expires_at=2e9))
    said = ephemera(*arguments)
    assert said.exit_code == 2
    assert "'shop-main' is on another Docker engine (ssh://build-box)" in said.err
    assert len(said.err.splitlines()) == 1
