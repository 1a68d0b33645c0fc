"""A system whose containers change each of their arguments, from one step to the next; what they run only sleeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi

from ephemera import Build, Container, EngineImage, Environment, Exec, HealthCheck, Option, Port, System, Volume

_SLEEPER, _OTHER = (
    Build(
        Path(__file__).parent / "services" / "sleeper",
        name=f"every-{name}",
        bases={"BASE": EngineImage(name="python")},
    )
    for name in ("sleeper", "other")
)
_SERVICES = (
    "other",
    "quiet",
    "image",
    "health",
    "tmpfs",
    "command",
    "variables",
    "ports",
    "publish",
    "volumes",
    "root",
)

every = System("every", options={"step": Option(0, "how many of the changes are made")})


@every.program
def program(environment: Environment) -> None:
    """Every container, with the changes of all steps so far."""
    plain: dict[str, Any] = {
        "image": _SLEEPER,
        "ready": Exec(["true"]),
    }
    other = Container("other", **plain)
    data = Volume("data")
    steps = changes(data, other, pulumi.Output.secret("s3cret"))
    for service in _SERVICES[1:]:
        given: dict[str, Any] = {"memory_mb": 32, **plain}
        for change in steps[service][: int(environment.option("step")) + 1]:
            given.update(change)
        Container(service, **given)


def changes(data: Volume | None, other: Any, secret: Any) -> dict[str, list[dict[str, Any]]]:
    """By service: what each step gives, one after the other; the first one is where it begins. ``secret``: a word that
    is known only later."""
    web = {"web": Port(8000)}
    health: dict[str, Any] = {"command": ["true"], "interval_seconds": 3600, "timeout_seconds": 0.5, "retries": 3}
    return {
        "quiet": [
            {},
            {
                "memory_mb": 48,
                "pids": 60,
                "ready": Exec(["test", "1"]),
                "needs": [other],
                "engine_capabilities": {"version": 16},
                "credentials": {"pin": 1234},
                "data": "ephemera.model.data:NOTHING",
                "stop_grace_seconds": 1,
            },
            {
                "memory_mb": 40,
                "pids": 50,
                "needs": (),
                "wants": [other],
                "engine_capabilities": {},
                "credentials": {},
                "data": "",
            },
            {"stop_grace_seconds": 0, "wants": ()},
        ],
        "image": [{}, {"image": _OTHER}, {"run_as": "1000"}, {"run_as": None}],
        "health": [
            {},
            {"healthcheck": HealthCheck(**health, start_period_seconds=0)},
            {"healthcheck": HealthCheck(**{**health, "command": ["true", secret]}, start_period_seconds=1.5)},
            {"healthcheck": None},
        ],
        "tmpfs": [
            {},
            {"tmpfs": {"/tmp/": "size=65m,mode=1777"}},  # noqa: S108 - in the container
            {"tmpfs": {"/run": "", "/tmp": "size=65m,mode=1777"}},  # noqa: S108 - in the container
            {"tmpfs": {}},
        ],
        "command": [{}, {"command": ["sleep", 1000]}, {"command": ["sh", "-c", "sleep 1000", ""]}, {"command": None}],
        "variables": [
            {},
            {"variables": {"A": "first\nsecond", "B": True, "ü x": ""}},
            {"variables": {"B": True}},
            {"variables": {}},
        ],
        "ports": [
            {},
            {"ports": {"web": Port(8000), "admin": Port(7000, path="/a")}},
            {"ports": {"web": Port(8001)}},
            {"ports": {}},
        ],
        "publish": [{"ports": web}, {"publish": False}, {"publish": True}, {"cpus": 0.05}],
        "volumes": [{}, {"volumes": {"/data/": data}}, {"volumes": {}}, {"capabilities": {"CHOWN": "it is tried"}}],
        "root": [
            {},
            {"writable_root_reason": "it is tried"},
            {"run_as": "0", "root_reason": "it is tried"},
            {"run_as": None, "root_reason": "", "writable_root_reason": ""},
        ],
    }
