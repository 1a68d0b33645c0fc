"""Every step that makes a machine ready, by name, for the launcher and for the installed command."""

from __future__ import annotations

import os
from pathlib import Path

from ephemera.contract.errors import MachineError
from ephemera.machine import builds, dockerd, go, prebuilt
from ephemera.machine.scheduler import Step
from ephemera.machine.toolchain import check_choices
from ephemera.machine.venv import PythonEnvironment

ARCHITECTURES = ("x86_64", "amd64", "aarch64", "arm64")
ENGINE, LANGUAGE_HOST, PLUGIN = builds.BuiltEngine.name, builds.BuiltLanguageHost.name, builds.BuiltPlugin.name
DOCKER, BASE_IMAGE, IMAGES = dockerd.NAME, prebuilt.BASE_NAME, prebuilt.NAME


def steps_for(project: Path, environment: PythonEnvironment, system: str | None = None) -> dict[str, Step]:
    """Every step there is; with the images of ``system`` when it is given."""
    check_choices()
    steps: list[Step] = [environment, dockerd.DockerEngine(), go.GoCompiler(), prebuilt.BaseImage(environment)]
    steps += [builds.BuiltEngine(), builds.BuiltLanguageHost(), builds.BuiltPlugin()]
    if system:
        steps.append(prebuilt.SystemImages(project, system, environment))
    return {step.name: step for step in steps}


def check_architecture() -> None:
    """Raise :class:`MachineError` on a processor that nothing is made for."""
    if (architecture := os.uname().machine) not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise MachineError(f"architecture {architecture} is not supported", remedy=f"use one of {known}")
