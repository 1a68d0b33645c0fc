"""Every argument of a container, changed in a living environment: it arrives, and the next `up` finds no difference."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import docker

from ephemera import Container
from tests.driver.project import every

from .conftest import Ephemera

_STEPS = 4
_MIB = 1024 * 1024
_IMAGES_OWN = {"Test": ["CMD", "true"], "Interval": 7e9, "Timeout": 3e9, "StartPeriod": 4e9, "Retries": 2}
_GIVEN = {"Test": ["CMD", "true"], "Interval": 3600e9, "Timeout": 5e8, "StartPeriod": 1e6, "Retries": 3}
_DEFAULT_TMPFS = {"/tmp": "size=64m"}  # noqa: S108 - in the container
_SLEEP = ["sleep", "infinity"]


@dataclass(frozen=True)
class Seen:
    """What there is of one service: the engine's document of its container, its outputs, its resource in the state."""

    document: dict[str, Any]
    outputs: dict[str, Any]
    resource: dict[str, Any]

    @property
    def host(self) -> dict[str, Any]:
        """What it is limited to and what is mounted into it."""
        found: dict[str, Any] = self.document["HostConfig"]
        return found

    @property
    def config(self) -> dict[str, Any]:
        """What it runs."""
        found: dict[str, Any] = self.document["Config"]
        return found

    def given(self, *names: str) -> list[str]:
        """Those of its variables."""
        return sorted(each for each in self.config["Env"] if each.split("=")[0] in names)

    def published(self) -> list[str]:
        """Its published ports."""
        return sorted(self.host["PortBindings"] or ())

    def running(self) -> list[str]:
        """Its whole command line."""
        return [*(self.config["Entrypoint"] or ()), *(self.config["Cmd"] or ())]

    def mounted(self) -> list[str]:
        """Where it has a volume."""
        return [each["Destination"] for each in self.document["Mounts"] if each["Type"] == "volume"]


# What names it, Pulumi's, what only the wait for it uses, and what the manifest and development mode do.
_ELSEWHERE = {"name", "opts", "timeout_seconds", "profile", "required", "source"}
# By service and argument: how it is seen, and what is to be seen after each step.
_EXPECTED: list[tuple[str, str, Callable[[Seen], Any], list[Any]]] = [
    ("quiet", "memory_mb", lambda it: it.host["Memory"] // _MIB, [32, 48, 40, 40]),
    ("quiet", "pids", lambda it: it.host["PidsLimit"], [256, 60, 50, 50]),
    ("quiet", "ready", lambda it: it.outputs["readiness"]["command"], [["true"], *[["test", "1"]] * 3]),
    ("quiet", "needs", lambda it: any("::other" in each for each in it.resource["dependencies"]), [0, 1, 1, 0]),
    ("quiet", "wants", lambda it: any("::other" in each for each in it.resource["dependencies"]), [0, 1, 1, 0]),
    ("quiet", "engine_capabilities", lambda it: it.outputs["capabilities"], [{}, {"version": "16"}, {}, {}]),
    ("quiet", "credentials", lambda it: it.outputs["credentials"], [{}, {"pin": "1234"}, {}, {}]),
    ("quiet", "data", lambda it: it.outputs["data"], ["", "ephemera.model.data:NOTHING", "", ""]),
    ("quiet", "stop_grace_seconds", lambda it: it.resource["inputs"].get("destroyGraceSeconds"), [None, 1, 1, None]),
    ("image", "image", lambda it: it.config["Labels"]["ephemera.image"], ["every-sleeper", *["every-other"] * 3]),
    ("image", "run_as", lambda it: it.config["User"], ["65534", "65534", "1000", "65534"]),
    (
        "health",
        "healthcheck",
        lambda it: it.config["Healthcheck"],
        [_IMAGES_OWN, _GIVEN, {**_GIVEN, "StartPeriod": 1.5e9, "Test": ["CMD", "true", "s3cret"]}, _IMAGES_OWN],
    ),
    (
        "tmpfs",
        "tmpfs",
        lambda it: it.host.get("Tmpfs"),
        [
            _DEFAULT_TMPFS,
            {"/tmp": "size=65m,mode=1777"},  # noqa: S108 - in the container
            {"/tmp": "size=65m,mode=1777", "/run": ""},  # noqa: S108 - in the container
            None,
        ],
    ),
    ("command", "command", Seen.running, [_SLEEP, ["sleep", "1000"], ["sh", "-c", "sleep 1000", ""], _SLEEP]),
    (
        "variables",
        "variables",
        lambda it: it.given("A", "B", "ü x"),
        [[], ["A=first\nsecond", "B=true", "ü x="], ["B=true"], []],
    ),
    ("ports", "ports", Seen.published, [[], ["7000/tcp", "8000/tcp"], ["8001/tcp"], []]),
    ("ports", "ports", lambda it: sorted(it.outputs["endpoints"]), [[], ["admin", "web"], ["web"], []]),
    ("publish", "publish", Seen.published, [["8000/tcp"], [], ["8000/tcp"], ["8000/tcp"]]),
    ("publish", "cpus", lambda it: round(it.host["NanoCpus"] / 1e9, 6), [1, 1, 1, 0.05]),
    ("volumes", "volumes", Seen.mounted, [[], ["/data"], [], []]),
    ("volumes", "capabilities", lambda it: it.host["CapAdd"] or [], [[], [], [], ["CAP_CHOWN"]]),
    ("root", "writable_root_reason", lambda it: it.host["ReadonlyRootfs"], [True, False, False, True]),
    ("root", "root_reason", lambda it: it.config["User"], ["65534", "65534", "0", "65534"]),
]


def _seen(ephemera: Ephemera) -> dict[str, Seen]:
    stack = ephemera.stack("every")
    outputs = ephemera("outputs", "every", "--show-secrets", "--output", "json").json["services"]
    exported = json.loads(ephemera.pulumi("stack", "export", "--stack", stack).out)["deployment"]["resources"]
    resources = {
        each["inputs"]["hostname"]: each for each in exported if each["type"] == "docker:index/container:Container"
    }
    client = docker.from_env()
    try:
        return {
            name: Seen(client.api.inspect_container(f"{stack}-{name}"), outputs[name], resources[name])
            for name in outputs
        }
    finally:
        client.close()


def _limit_by_hand(container: str) -> None:
    """Let the container have another memory limit than the state says, as after an update that the engine refused."""
    client = docker.from_env()
    try:
        client.api.update_container(container, mem_limit=64 * _MIB, memswap_limit=64 * _MIB)
    finally:
        client.close()


def test_every_argument_is_changed_and_looked_at() -> None:
    """A new one needs a step in the project, and a line here."""
    known = {field.name for field in dataclasses.fields(Container) if field.init} - _ELSEWHERE
    steps = every.changes(None, None, None)
    assert {name for changes in steps.values() for change in changes for name in change} == known
    assert {argument for _, argument, _, _ in _EXPECTED} == known


def test_changed_arguments_arrive_and_then_nothing_differs(ephemera: Ephemera) -> None:
    before: dict[str, str] = {}
    for step in range(_STEPS):
        done = ephemera("up", "every", "-c", f"step={step}")
        assert done.code == 0, done.err
        seen = _seen(ephemera)
        found = [(service, argument, see(seen[service])) for service, argument, see, _ in _EXPECTED]
        assert found == [(service, argument, expected[step]) for service, argument, _, expected in _EXPECTED]
        now = {service: each.document["Id"] for service, each in seen.items()}
        # What can be changed in a container that runs is, and nothing else is touched.
        assert not before or {service for service in now if now[service] == before[service]} == {"other", "quiet"}
        previewed = ephemera.pulumi("preview", "--expect-no-changes", "--diff", "--stack", ephemera.stack("every"))
        assert previewed.code == 0, previewed.out + previewed.err
        before = now
    _limit_by_hand(f"{ephemera.stack('every')}-quiet")
    assert ephemera("up", "every", "--force").code == 0
    assert _seen(ephemera)["quiet"].host["Memory"] == _EXPECTED[0][-1][-1] * _MIB
    assert {service: each.document["Id"] for service, each in _seen(ephemera).items()} == before
    assert ephemera("down", "every").code == 0
    assert ephemera.left() == []
