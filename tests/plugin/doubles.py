"""A driver that is not there: it records what the plugin asks of it, and a small project that is run against it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr

from ephemera import lifecycle
from ephemera.home import identity
from ephemera.lifecycle import Gone, Ready, Request
from ephemera.model.errors import NoSuchEnvironmentError
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.model.progress import Event
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import FakeClient, marks

CREDENTIAL = "s3cr3t_" * 4 + "abcd"
"""Of the form that generated credentials have."""

NOTES = pytest.StashKey[list[str]]()
"""Where the project's tests can add a line to the calls: ``pytestconfig.stash[NOTES]``."""

PYPROJECT = """
[tool.ephemera]
catalog = "systems:SYSTEMS"
[tool.pytest.ini_options]
addopts = "--import-mode=importlib -p ephemera.pytest_plugin"
filterwarnings = ["error", "ignore:Module already imported"]
"""
SYSTEMS = """
from ephemera import Container, Exec, System

shop = System("shop", suite="suites/shop")
bank = System("bank", suite="suites/bank")
SYSTEMS = [shop, bank]
GIVEN = {"image": "nats:2", "ready": Exec(["true"]), "run_as": "1"}

@shop.program
def program(environment):
    Container("web", **GIVEN)
    Container("lab", **GIVEN, profile="lab", required=True)

@bank.program
def program(environment):
    Container("web", **GIVEN)
"""


@dataclass(eq=False)
class FakeDriver:
    """Environments in memory. ``calls`` reads ``<test>: <verb> <system>``, and ``end: …`` when no test runs.

    ``failure``: what ``up`` raises. ``stubborn``: what ``down`` raises, by system; ``leftovers``: what its proof finds.
    """

    client: FakeClient
    calls: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    failure: BaseException | None = None
    stubborn: dict[str, BaseException] = field(default_factory=dict)
    leftovers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alive: dict[str, EnvironmentOutputs] = field(default_factory=dict)
    _test: str = "end"

    def up(self, workspace: Workspace, request: Request, report: Callable[[Event], None]) -> Ready:
        stack, *_ = lifecycle.plan(workspace, request)
        self.record("up", request.system)
        self.requests.append(request)
        if self.failure is not None:
            report({"type": "notice", "message": "evidence: /kept/here"})
            if request.keep_on_failure:
                self.start(stack, request.system)
            raise self.failure
        return Ready(outputs=self.start(stack, request.system), created=True, seconds=1.5)

    def down(self, workspace: Workspace, stack: str, report: Callable[[Event], None] | None = None) -> Gone:
        if stack not in self.alive:
            raise NoSuchEnvironmentError(stack, self.alive)
        system = self.alive[stack].system
        self.record("down", system)
        if system in self.stubborn:
            raise self.stubborn[system]
        del self.alive[stack]
        return Gone(stack=stack, seconds=0.5, leftovers=self.leftovers.get(system, ()))

    def outputs(self, workspace: Workspace, stack: str) -> EnvironmentOutputs:
        if stack not in self.alive:
            raise NoSuchEnvironmentError(stack, self.alive)
        return self.alive[stack]

    def let_go(self, stack: str) -> None:
        self.record("keep", self.alive[stack].system)

    def start(self, stack: str, system: str) -> EnvironmentOutputs:
        """An environment that is up: one container, whose variables and last line hold a credential."""
        container, labels = f"{stack}-web", marks(stack, identity.backend_id(), "web")
        self.client.api.add("container", container, labels)
        self.client.api.documents[f"{container}-id"] = {
            "Id": f"{container}-id",
            "Name": f"/{container}",
            "Config": {"Labels": labels, "Env": [f"PASSWORD={CREDENTIAL}"]},
            "State": {"Status": "exited", "Running": False, "ExitCode": 137},
        }
        lines = [*(f"request {number}" for number in range(1, 25)), f"login with {CREDENTIAL}"]
        self.client.api.log_texts[f"{container}-id"] = "".join(
            f"2026-01-01T00:00:{second:02}.000000000Z {line}\n" for second, line in enumerate(lines)
        )
        service = ServiceOutputs(container=container, image="sha256:1", credentials={"password": SecretStr(CREDENTIAL)})
        outputs = EnvironmentOutputs(stack=stack, system=system, branch="main", services={"web": service})
        self.alive[stack] = outputs
        return outputs

    def record(self, verb: str, system: str) -> None:
        """Note a call and the test during which it came."""
        self.calls.append(f"{self._test}: {verb} {system}")

    # It is a plugin of the project's pytest too.

    def pytest_runtest_logstart(self, location: tuple[str, int | None, str]) -> None:
        self._test = location[2]

    def pytest_runtest_logfinish(self) -> None:
        self._test = "between"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._test = "end"

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[NOTES] = self.calls


@dataclass(frozen=True)
class Project:
    """A project with the systems ``shop`` and ``bank``; its pytest runs in this process."""

    pytester: pytest.Pytester
    driver: FakeDriver

    @property
    def folder(self) -> Path:
        return self.pytester.path

    def write(self, files: Mapping[str, str]) -> None:
        """Write ``files``, path → text."""
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text))

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in the project."""
        return self.pytester.runpytest_inprocess(*arguments, plugins=[self.driver], no_reraise_ctrlc=True)


def explanations(result: pytest.RunResult) -> list[list[str]]:
    """What pytest shows of each test, fixture and module that failed: the lines under its headline."""
    shown: list[list[str]] = []
    lines = iter(result.outlines)
    for line in lines:
        if re.fullmatch(r"=+ (ERRORS|FAILURES) =+", line):
            break
    for line in lines:
        if re.fullmatch(r"_{3,} .+ _{3,}", line):
            shown.append([])
        elif re.fullmatch(r"([=!-])\1{2,} .+ \1{3,}|ephemera: .*", line):
            break
        else:
            shown[-1].append(line)
    return shown
