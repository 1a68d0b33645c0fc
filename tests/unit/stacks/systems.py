"""Runs the program of a system of the catalog against mocks."""

from __future__ import annotations

from typing import Any

import pulumi

from ephemera.contract.catalog import System
from ephemera.contract.images import AnyImage
from ephemera.contract.labels import Identity
from tests.unit import programs
from tests.unit.doubles import FakeClient
from tests.unit.programs import Registered


def run(
    name: str,
    system: System,
    docker: FakeClient,
    options: dict[str, Any] | None = None,
    *,
    registered: Registered | None = None,
    **settings: Any,
) -> Registered:
    """Run the program of ``<name>-main``; ``options`` over the defaults, every image there and with a user."""
    references: dict[AnyImage, str] = {image: f"ephemera/image-{at}:1" for at, image in enumerate(system.images)}
    docker.api.images.update(dict.fromkeys(references.values(), "app"))
    stack = f"{name}-main"
    identity = Identity(
        project="ephemera", stack=stack, system=name, branch="main", owner="me@here", backend="0123456789ab"
    )

    def program() -> None:
        environment = programs.environment(
            system,
            identity=identity,
            references=references,
            options={key: option.default for key, option in system.options.items()} | (options or {}),
            **settings,
        )
        system.load()(environment)
        pulumi.export("environment", environment.document())

    return programs.run(program, stack=stack, registered=registered)
