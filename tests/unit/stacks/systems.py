"""Runs the program of a system of the catalog against mocks."""

from __future__ import annotations

from typing import Any

import pulumi

from ephemera.model.images import AnyImage
from ephemera.model.labels import Identity
from ephemera.model.system import System
from ephemera.resources.rehearsal import manifest_of
from tests.unit import programs
from tests.unit.doubles import FakeClient
from tests.unit.programs import Registered


def run(
    system: System,
    docker: FakeClient,
    options: dict[str, Any] | None = None,
    *,
    registered: Registered | None = None,
    **settings: Any,
) -> Registered:
    """Run the program of ``<system>-main``; ``options`` over the defaults, every image there and with a user."""
    manifest, name = manifest_of(system), system.name
    references: dict[AnyImage, str] = {image: f"ephemera/image-{at}:1" for at, image in enumerate(manifest.images)}
    docker.api.images.update(dict.fromkeys(references.values(), "app"))
    stack = f"{name}-main"
    identity = Identity(
        project="ephemera", stack=stack, system=name, branch="main", owner="me@here", backend="0123456789ab"
    )

    def program() -> None:
        environment = programs.environment(
            manifest,
            identity=identity,
            references=references,
            options={key: option.default for key, option in system.options.items()} | (options or {}),
            **settings,
        )
        system.declare(environment)
        pulumi.export("environment", environment.document())

    return programs.run(program, stack=stack, registered=registered)
