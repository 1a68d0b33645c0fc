from __future__ import annotations

from typing import Any

import pulumi

from ephemera import Container, Exec, ExitZero
from ephemera.components import OneShot
from ephemera.model.images import PublicImage
from ephemera.model.outputs import EnvironmentOutputs
from tests.unit import programs
from tests.unit.programs import OpenGates, Registered

_IMAGE = PublicImage(reference="docker.io/library/nats:2")


def _migrated(registered: Registered | None = None, **given: Any) -> Registered:
    """A one-shot, and a server that starts after it."""

    def program() -> None:
        environment = programs.environment()
        migration = OneShot("migration", image=_IMAGE, command=["migrate"], run_as="1000", **given)
        Container("api", image=_IMAGE, ready=Exec(["check"]), run_as="1000", needs=(migration,))
        pulumi.export("environment", environment.document())

    return programs.run(program, registered=registered)


def test_it_is_gated_by_its_end_and_publishes_nothing(gates: OpenGates) -> None:
    registered = _migrated(variables={"A": "b"}, timeout_seconds=7)
    service, _, *asked = gates.asked[0]
    assert (service, asked) == ("migration", [ExitZero(), 7, None])
    container = registered.container("migration")
    assert (container["command"], container["envs"], container["mustRun"]) == (["migrate"], ["A=b"], False)
    assert container["readOnly"] is True
    found = EnvironmentOutputs.parse(registered.exports["environment"]).service("migration")
    assert (dict(found.endpoints), found.readiness["type"]) == ({}, "exit_zero")
