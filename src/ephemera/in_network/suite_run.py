"""Running a suite in the network: its image, its container, its results, and evidence when it failed."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ephemera import images
from ephemera.docker.connection import connected
from ephemera.home.paths import checkout_dir
from ephemera.host import surroundings
from ephemera.in_network import archives
from ephemera.in_network.runner_container import RunnerContainer
from ephemera.lifecycle import removal
from ephemera.lifecycle.suite import SuiteResult, suite_folder
from ephemera.model import declared
from ephemera.model.catalog import Manifest
from ephemera.model.errors import EphemeraError, InputError, InterruptedByUserError, NoSuchEnvironmentError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.model.runner import IN_NETWORK, Runner
from ephemera.model.settings import Images, Settings
from ephemera.observe import evidence, hiding, recording
from ephemera.pulumi.workspace import Workspace


def check(workspace: Workspace, name: str, system: Manifest) -> tuple[str, Runner]:
    """Return the system's runner and the name of its service, before anything is created.

    Raises :class:`InputError` if it has none, its suite is missing, or it needs more CPUs than the Docker host has.
    """
    if system.runner is None:
        raise InputError(
            f"system {name!r} has no service that runs its suite in the network",
            remedy="declare one, System(…, runner=Runner(…)), or leave out --in-network",
        )
    suite_folder(workspace, system)
    service, runner = system.runner
    if runner.cpus > 1:  # every host has one: no need to ask
        with connected() as client:
            declared.check_cpus(f"runner {service!r}", runner.cpus, int(client.info().get("NCPU", 1)))
    return service, runner


def prepare(system: Manifest, settings: Settings, report: Callable[[Event], None]) -> None:
    """Pull or build the runner's image if its profile is asked for, and tell how to run it."""
    if system.runner is None or system.services[system.runner[0]].profile not in settings.profiles:
        return
    service, runner = system.runner
    _image(runner, settings.images, report)
    report({"type": "notice", "message": f"{service} runs the suite when asked to: `ephemera test {IN_NETWORK}`"})


def run(
    workspace: Workspace,
    name: str,
    system: Manifest,
    outputs: EnvironmentOutputs,
    arguments: Sequence[str],
    to_stderr: bool,
    report: Callable[[Event], None],
) -> SuiteResult:
    """Run the suite of system ``name`` in the network of the environment with these ``outputs``.

    With ``to_stderr`` its output goes to standard error. Raises :class:`InputError`, and
    :class:`~ephemera.model.errors.ServiceFailedError` when the runner ended before its suite had. However it ends,
    its container is removed; after an interrupt, pytest first has time to end in order.
    """
    service, runner = check(workspace, name, system)
    stack = outputs.stack
    sink = (sys.stderr if to_stderr else sys.stdout).buffer
    colours = sink.isatty() and "NO_COLOR" not in surroundings.variables()
    order = {
        "suite": system.suite,
        "arguments": list(arguments),
        "coverage": list(runner.coverage),
        "system": name,
        "services": list(system.services),
        # What pytest cannot see from inside.
        "variables": {"COLUMNS": str(shutil.get_terminal_size().columns), "PY_COLORS": "1" if colours else "0"},
    }
    archive = archives.pack(workspace.project, system.suite, runner.files, outputs, order)
    redacted = hiding.redactor_for(workspace, stack, outputs).text

    def show(data: bytes) -> None:
        sink.write(data)
        sink.flush()

    mode: Any = workspace.read_config(stack).get("images", "auto")
    reference = _image(runner, mode, report)
    this_run = evidence.new_run(stack)
    with connected() as client:
        identity = removal.identity_of(client, stack)
        if not identity.backend:
            raise NoSuchEnvironmentError(stack, ())
        started = time.monotonic()
        container = RunnerContainer(
            client=client, service=service, runner=runner, identity=identity, redacted=redacted, show=show
        )
        with recording.of(stack, "tests"), container:
            try:
                account = container.run(reference, archive)
            except EphemeraError as error:
                if not isinstance(error, InputError | InterruptedByUserError):
                    evidence.take(workspace, stack, this_run, error, report)
                raise
            seconds = time.monotonic() - started
            for test in account.tests:
                recording.append(stack, "test", session=this_run, **{**test.model_dump(), "text": redacted(test.text)})
            found = _evidence(workspace, outputs, this_run, report) if account.exit_code else None
            folder = checkout_dir(workspace.project) / "artifacts" / this_run / "results"
            artifacts, left_out = archives.unpack(container.results(), folder, redacted)
    for path in left_out:
        report({"type": "notice", "message": f"{path} is no regular file, and was left in the runner"})
    return SuiteResult(
        counts=account.counts,
        exit_code=account.exit_code,
        seconds=seconds,
        evidence=found,
        artifacts=tuple(artifacts),
    )


def _image(runner: Runner, mode: Images, report: Callable[[Event], None]) -> str:
    chosen = images.mode() if mode == "auto" else mode
    made = images.ensure((runner.image,), chosen, lambda line: report({"type": "building", "message": line}))
    return made[runner.image]


def _evidence(
    workspace: Workspace, outputs: EnvironmentOutputs, run: str, report: Callable[[Event], None]
) -> Path | None:
    try:
        return evidence.collect(workspace, outputs.stack, run, outputs=outputs)
    except OSError as trouble:
        report({"type": "notice", "message": f"no evidence could be kept: {trouble}"})
        return None
