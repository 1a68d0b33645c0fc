"""What the report of a failed test says of its environment: who may be why, and the log where it happened."""

from __future__ import annotations

from pathlib import Path

from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.driver.evidence.collecting import PAGE, collected
from ephemera.driver.evidence.findings import Findings
from ephemera.driver.evidence.lines import within
from ephemera.driver.evidence.suspects import AROUND_SECONDS, suspects
from ephemera.driver.workspace import Workspace

_SUSPECTS = 4
_TALKERS = 3
_LINES_OF_TALKERS = 5


def account(workspace: Workspace, outputs: EnvironmentOutputs, run: str, start: float, stop: float) -> tuple[str, Path]:
    """Text for the report of a test that ran between two times, and the folder of the evidence, which is kept now."""
    folder, findings = collected(workspace, outputs.stack, run, None, outputs)
    return "\n".join([*findings.trouble, *_told(findings, start, stop), f"evidence: {folder / PAGE}"]), folder


def _told(findings: Findings, start: float, stop: float) -> list[str]:
    subjects = [service.subject for service in findings.services]
    found = suspects(subjects, findings.records, start, stop + AROUND_SECONDS)
    lines: list[str] = []
    for one in found[:_SUSPECTS]:
        lines.append(f"{one.service} {one.reason}:" if one.lines else f"{one.service} {one.reason}")
        lines += [f"{one.service} | {line}" for line in one.lines]
    lines += [f"{one.service} {one.reason}" for one in found[_SUSPECTS:]]
    if not found and subjects:
        lines.append("no service died, restarted, went unhealthy or wrote an error during this test")
        # What was said last is a hint, should the fault be the test's own.
        wrote = [(within(subject.lines, start, stop), subject.service) for subject in subjects]
        talkers = sorted(((said, name) for said, name in wrote if said), key=lambda one: -one[0][-1].time)
        for said, name in talkers[:_TALKERS]:
            lines += [f"{name} | {line.text}" for line in said[-_LINES_OF_TALKERS:]]
    return lines
