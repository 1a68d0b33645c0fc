"""Keep evidence: write the findings to ``.ephemera/artifacts/<run>/`` of the checkout, and tell them in few words."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ephemera.home.locks import locked
from ephemera.home.paths import checkout_dir
from ephemera.host import clock
from ephemera.model.errors import EphemeraError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.observe.findings import Findings, find
from ephemera.observe.page import render
from ephemera.observe.suspects import suspects, within
from ephemera.pulumi.workspace import Workspace

PAGE = "index.html"
_SUSPECTS_WITH_LINES = 4
_TALKERS = 3
_LINES_OF_TALKERS = 5


def new_run(stack: str) -> str:
    """Return a unique id of a command or test run; ids sort by time."""
    return f"{clock.stamp()}-{stack}-{secrets.token_hex(3)}"


def collect(
    workspace: Workspace,
    stack: str,
    run: str,
    error: EphemeraError | None = None,
    outputs: EnvironmentOutputs | None = None,
) -> Path:
    """Keep all that is known of the stack, credentials redacted, and return the folder.

    Evidence that this run kept before is replaced, each file as a whole. With Docker in trouble, the page says so.
    Raises :class:`OSError` when nothing can be written.
    """
    return _keep(workspace, stack, run, error, outputs)[0]


def take(
    workspace: Workspace, stack: str, run: str, error: EphemeraError, report: Callable[[Event], None]
) -> Path | None:
    """Keep evidence and report where; where a full disk prevents it, report that: it must not hide what failed."""
    try:
        folder = collect(workspace, stack, run, error)
    except OSError as trouble:
        report({"type": "notice", "message": f"no evidence could be kept: {trouble}"})
        return None
    report({"type": "notice", "message": f"evidence: {folder / PAGE}"})
    return folder


def account(workspace: Workspace, outputs: EnvironmentOutputs, run: str, start: float, stop: float) -> tuple[str, Path]:
    """Keep evidence; return what the report of a test that ran between two times says of its environment, and the
    folder."""
    folder, findings = _keep(workspace, outputs.stack, run, None, outputs)
    return "\n".join([*findings.trouble, *_told(findings, start, stop), f"evidence: {folder / PAGE}"]), folder


def _keep(
    workspace: Workspace, stack: str, run: str, error: EphemeraError | None, outputs: EnvironmentOutputs | None
) -> tuple[Path, Findings]:
    folder = checkout_dir(workspace.project) / "artifacts" / run
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes of one test run may want to at once: the last one has seen what the others recorded.
    lock = folder / ".lock"
    with locked(lock):
        findings = find(workspace, stack, error, outputs)
        files = dict(_files(findings))
        files[PAGE] = render(findings, sorted(files))
        for name, text in files.items():
            partial = folder / f".{name}"
            partial.write_text(text, encoding="utf-8", errors="replace")
            partial.replace(folder / name)
        lock.unlink()
    return folder, findings


def _files(findings: Findings) -> Iterator[tuple[str, str]]:
    for service in findings.services:
        yield f"{service.file_name}.log", service.log
        yield f"{service.file_name}.inspect.json", _json(service.document)
    yield "definition.json", _json(findings.definition)
    if findings.error is not None:
        yield "error.json", _json({"error": findings.error})
    if findings.outputs is not None:
        yield "outputs.json", _json(findings.outputs)
    for name, kind in (("events", "event"), ("gates", "gate"), ("usage", "usage"), ("tests", "test")):
        if records := findings.of_type(kind):
            yield f"{name}.json", _json(records)


def _json(document: Any) -> str:
    return json.dumps(document, indent=1) + "\n"


def _told(findings: Findings, start: float, stop: float) -> Iterator[str]:
    found = suspects(findings.services, findings.records, start, stop)
    for position, one in enumerate(found):
        lines = one.lines if position < _SUSPECTS_WITH_LINES else ()
        yield f"{one.service} {one.reason}:" if lines else f"{one.service} {one.reason}"
        yield from (f"{one.service} | {line}" for line in lines)
    if not found and findings.services:
        yield "no service died, restarted, went unhealthy or wrote an error during this test"
        # What was said last is a hint, should the fault be the test's own.
        wrote = [(said, service.name) for service in findings.services if (said := within(service, start, stop))]
        for said, name in sorted(wrote, key=lambda one: -one[0][-1].time)[:_TALKERS]:
            yield from (f"{name} | {line.text}" for line in said[-_LINES_OF_TALKERS:])
