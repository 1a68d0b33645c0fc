"""Keeping evidence: the findings as files, in ``.ephemera/artifacts/<run>/`` of the checkout."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ephemera.contract.errors import EphemeraError
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.progress import Event
from ephemera.driver.evidence.findings import Findings, find
from ephemera.driver.evidence.page import render
from ephemera.driver.workspace import Workspace
from ephemera.home.locks import locked
from ephemera.home.paths import checkout_dir
from ephemera.host import clock

PAGE = "index.html"


def new_run(stack: str) -> str:
    """Id of a command or test run: sorts by time, and is unique."""
    return f"{clock.stamp()}-{stack}-{secrets.token_hex(3)}"


def collect(
    workspace: Workspace,
    stack: str,
    run: str,
    error: EphemeraError | None = None,
    outputs: EnvironmentOutputs | None = None,
) -> Path:
    """Keep all that is known of the stack, credentials redacted; the folder. What an earlier look of this run left
    there is replaced, each file as a whole. Docker in trouble is told in the page; raises :class:`OSError` when nothing
    can be written."""
    return collected(workspace, stack, run, error, outputs)[0]


def collected(
    workspace: Workspace, stack: str, run: str, error: EphemeraError | None, outputs: EnvironmentOutputs | None
) -> tuple[Path, Findings]:
    """The same, and what was found."""
    folder = checkout_dir(workspace.project) / "artifacts" / run
    folder.mkdir(parents=True, exist_ok=True)
    # Several processes of one test run may want to at once: who comes last has seen what the others recorded.
    lock = folder / ".lock"
    with locked(lock):
        findings = find(workspace, stack, run, error, outputs)
        files = dict(_files(findings))
        for name, text in files.items():
            _write(folder / name, text)
        _write(folder / PAGE, render(findings, sorted(files)))
        lock.unlink()
    return folder, findings


def take(
    workspace: Workspace, stack: str, run: str, error: EphemeraError, report: Callable[[Event], None]
) -> Path | None:
    """Keep it, and tell where; or why not: what failed must not be hidden by a full disk."""
    try:
        folder = collect(workspace, stack, run, error)
    except OSError as trouble:
        report({"type": "notice", "message": f"no evidence could be kept: {trouble}"})
        return None
    report({"type": "notice", "message": f"evidence: {folder / PAGE}"})
    return folder


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


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8", errors="replace")
    partial.replace(path)
