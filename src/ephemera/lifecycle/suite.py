"""A system's suite: pytest in a process of its own, attached to an environment that is up."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ephemera.home import leases
from ephemera.host import surroundings
from ephemera.host.processes import ProcessId
from ephemera.model.catalog import Manifest
from ephemera.model.errors import InputError
from ephemera.model.runner import COUNTED
from ephemera.pulumi.workspace import Workspace

_ENDING_SECONDS = 1
_GRACE_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """How a suite ended. ``counts``, ``exit_code``: pytest's own; ``evidence``: folder, when something failed;
    ``artifacts``: files that came out of a run in the network."""

    counts: Mapping[str, int]
    exit_code: int
    seconds: float
    evidence: Path | None
    artifacts: tuple[Path, ...] = ()

    def document(self) -> dict[str, int]:
        """Return the interface's ``tests`` object."""
        return {**{kind: self.counts.get(kind, 0) for kind in COUNTED}, "exit_code": self.exit_code}


def suite_folder(workspace: Workspace, system: Manifest) -> Path:
    """Return the folder of the system's suite; raise :class:`InputError` if it does not exist."""
    folder = workspace.project / system.suite
    if not folder.is_dir():
        raise InputError(
            f"the suite {system.suite} is not there", remedy=f"make it, or change it in the catalog ({folder})"
        )
    return folder


def with_settings(settings: Mapping[str, str]) -> list[str]:
    """Return pytest's arguments that give these settings to environments of tests, key → text as in Pulumi config."""
    return [f"--ephemera-config={key}={text}" for key, text in settings.items()]


def run(workspace: Workspace, system: Manifest, stack: str, arguments: Sequence[str], to_stderr: bool) -> SuiteResult:
    """Run the suite against ``stack``; with ``to_stderr`` its output goes to standard error.

    An interrupt is passed on to pytest, which has 30 s to end in order.
    """
    folder = suite_folder(workspace, system)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=surroundings.temporary()) as scratch:
        summary = Path(scratch) / "summary.json"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pytest", str(folder)),
                *("--ephemera-env", stack),
                "--ephemera-require-services",
                *("--ephemera-summary", str(summary)),
                *arguments,
            ],
            cwd=workspace.project,
            env=surroundings.variables(),
            stdout=sys.stderr if to_stderr else None,
        )
        leases.note(stack, suite=ProcessId.of(process.pid))
        try:
            exit_code = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            leases.note(stack, suite=None)
        counts = json.loads(summary.read_text()) if summary.is_file() else {}
    evidence = counts.pop("evidence", None)
    return SuiteResult(
        counts=counts,
        exit_code=exit_code,
        seconds=time.monotonic() - started,
        evidence=Path(evidence) if evidence else None,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_ENDING_SECONDS)  # Ctrl-C in a terminal has reached it too: a second one would cut its end short
        return
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
