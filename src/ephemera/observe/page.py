"""The page: one HTML file without anything from elsewhere, that shows the findings on one time axis.

What containers and tests wrote is untrusted. It reaches the page as escaped text, or as JSON that the script puts into
text nodes; and the page's policy lets a browser run that one script, by its hash, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from string import Template
from typing import Any
from urllib.parse import quote

from ephemera.model.errors import EngineError
from ephemera.model.text import printable
from ephemera.observe.findings import Findings, Service, instant
from ephemera.observe.recording import Record
from ephemera.observe.suspects import suspects

_LINES = 10_000
_LEAST_LINES = 500
_LINE_LENGTH = 400
_USAGE_POINTS = 600
_SHOWN_FAILURES = 20
_TOGETHER_SECONDS = 5
_SHORT_ID = len("sha256:") + 12
_SCRIPTS = ("page.js", "axis.js", "logs.js")
_TITLES = {
    "gate": "did not become ready",
    "up": "failed",
    "destroy": "could not be destroyed",
    "test": "tests failed",
    "asked": "evidence",
}


def render(findings: Findings, files: Sequence[str]) -> str:
    """Return the page; ``files``: names of the files beside it."""
    style, script = _asset("page.css"), "".join(_asset(name) for name in _SCRIPTS)
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=_text(f"{findings.stack}: {_TITLES[findings.kind]}"),
        style=style,
        verdict="\n".join(_verdict(findings)),
        details="\n".join(_details(findings, files)),
        # In a script element only `<` can end it.
        data=json.dumps(_data(findings), separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )


def _text(value: Any) -> str:
    return escape(printable(str(value)))


def _block(title: str, lines: Iterable[str]) -> str:
    text = _text("\n".join(lines))
    return f"<h2>{_text(title)}</h2><pre>{text}</pre>" if text else ""


def _verdict(findings: Findings) -> Iterator[str]:
    """Yield what happened, at one glance, also without the script."""
    yield f'<p class="kind {findings.kind}">{_text(findings.system)} {_TITLES[findings.kind]}</p>'
    yield f"<h1>{_text(_headline(findings))}</h1>"
    taken = datetime.fromtimestamp(findings.taken, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield f'<p class="facts">{_text(f"{findings.stack} · branch {findings.branch} · taken {taken}")}</p>'
    yield from (f'<p class="trouble">{_text(problem)}</p>' for problem in findings.trouble)
    if findings.error is not None:
        yield _cause(findings.error)
    failed = findings.failed_tests() if findings.kind == "test" else []
    for position, test in enumerate(failed[:_SHOWN_FAILURES]):
        yield _failure(findings, test, "" if position else " open")
    if len(failed) > _SHOWN_FAILURES:
        yield f"<p>… and {len(failed) - _SHOWN_FAILURES} more, on the axis and in tests.json</p>"


def _headline(findings: Findings) -> str:
    if findings.error is not None:
        return str(findings.error["message"])
    failed = findings.failed_tests()
    if not failed:
        return f"{findings.stack}, collected on request"
    name = failed[0]["nodeid"]
    return f"{name} failed" if len(failed) == 1 else f"{len(failed)} tests failed, first {name}"


def _cause(error: dict[str, Any]) -> str:
    rows = {key: error.get(key) for key in ("service", "cause")}
    rows["exit code"] = error.get("container_exit_code")
    if error["kind"] == EngineError.kind:
        rows["Pulumi says"] = error.get("remedy")
    elif "service" not in error:  # a service's remedy is its last lines, which follow
        rows["what to do"] = error.get("remedy")
    shown = "".join(
        f"<div><dt>{label}</dt> <dd>{_text(value)}</dd></div>"
        for label, value in rows.items()
        if value not in (None, "")
    )
    tail = _block("The last lines", map(str, error.get("log_tail") or ()))
    return f'<section class="cause"><dl>{shown}</dl>{tail}</section>'


def _failure(findings: Findings, test: Record, opened: str) -> str:
    found = suspects(findings.services, findings.records, test["start"], test["stop"])
    chips = "".join(f"<li><b>{_text(one.service)}</b> {_text(one.reason)}</li>" for one in found)
    tails = "".join(_block(one.service, one.lines) for one in found[:3])
    return (
        f'<details class="failure"{opened}><summary><b>{_text(test["nodeid"])}</b> '
        f"<span>{_text(test.get('phase', 'call'))}, {test['stop'] - test['start']:.2f} s</span></summary>"
        f'<p class="error">{escape(_error_of(test))}</p><ul class="suspects">{chips}</ul>'
        f'<pre class="text">{_text(test.get("text", ""))}</pre>{tails}</details>'
    )


def _details(findings: Findings, files: Sequence[str]) -> Iterator[str]:
    if findings.services:
        head = "".join(f"<th>{name}</th>" for name in ("service", "state", "exit code", "image", "memory", "command"))
        rows = "".join(
            f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in _state(service))}</tr>"
            for service in findings.services
        )
        title = f"<summary>Containers <span>{len(findings.services)}</span></summary>"
        yield f'<details open>{title}<div class="scroll"><table><tr>{head}</tr>{rows}</table></div></details>'
    for name, document in (("Outputs", findings.outputs), ("Definition", findings.definition)):
        if document:
            yield f"<details><summary>{name}</summary><pre>{escape(json.dumps(document, indent=1))}</pre></details>"
    links = "".join(f'<li><a href="{escape(quote(name))}">{escape(name)}</a></li>' for name in files)
    yield f'<details open><summary>Files</summary><ul class="files">{links}</ul></details>'


def _state(service: Service) -> Iterator[Any]:
    state, config = service.state, service.document["Config"]
    health = (state.get("Health") or {}).get("Status")
    yield service.name
    yield ", ".join(filter(None, (state.get("Status"), state.get("OOMKilled") and "out of memory", health)))
    yield "" if state.get("Running") else state.get("ExitCode", "")
    image = str(config.get("Image", ""))
    yield image[:_SHORT_ID] if image.startswith("sha256:") else image
    yield f"{service.memory_limit // 2**20} MiB" if service.memory_limit else ""
    yield " ".join([*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])


def _data(findings: Findings) -> dict[str, Any]:
    """Return what the script draws. Times in seconds since the epoch."""
    known = {service.name: service for service in findings.services}
    # A service whose container is gone has left events and gates.
    gone = {record["service"] for record in findings.records if "service" in record} - known.keys()
    names = [*known, *sorted(gone)]
    share = max(_LEAST_LINES, _LINES // max(1, len(known)))
    shown = [(line, names.index(name)) for name, service in known.items() for line in service.lines[-share:]]
    failed = findings.failed_tests()
    return {
        "taken": findings.taken,
        # A gate's failure is on the axis; any other was the end.
        "failure": _TITLES[findings.kind] if findings.kind in ("up", "destroy") else None,
        "services": [
            {"name": name, **_life(known.get(name), share), "usage": _usage(findings, name)} for name in names
        ],
        "gates": [{**gate, "detail": _short(printable(gate.get("detail", "")))} for gate in findings.of_type("gate")],
        "events": findings.of_type("event"),
        "tests": [
            {
                "start": test["start"],
                "stop": test["stop"],
                "outcome": test["outcome"],
                "name": printable(test["nodeid"]),
                "text": _error_of(test),
                "told": test in failed,
            }
            for test in findings.of_type("test")
        ],
        "sessions": _sessions(findings),
        # Arrays, as there are thousands.
        "lines": [
            [round(line.time, 6), at, _short(line.text), int(line.error)]
            for line, at in sorted(shown, key=lambda one: one[0].time)
        ],
    }


def _sessions(findings: Findings) -> list[tuple[float, str]]:
    """Return when each use of the stack began, and what it was; the workers of one test run begin together."""
    sessions: list[tuple[float, str]] = []
    for record in findings.of_type("session"):
        time, what = record["time"], record["what"]
        if not any(known == what and time - begun < _TOGETHER_SECONDS for begun, known in sessions):
            sessions.append((time, what))
    return sessions


def _life(service: Service | None, share: int) -> dict[str, Any]:
    if service is None:
        return {"log": None, "created": None, "ended": None, "limit": None}
    state = service.state
    return {
        "log": {"file": f"{service.file_name}.log", "left_out": max(0, len(service.lines) - share)},
        "created": instant(state.get("StartedAt")) or instant(service.document.get("Created")),
        "ended": None if state.get("Running") else instant(state.get("FinishedAt")),
        "limit": service.memory_limit,
    }


def _usage(findings: Findings, name: str) -> list[list[float]]:
    """Return ``[time, bytes, cores, processes]`` of a service; cores between one sample and the next."""
    points: list[list[float]] = []
    earlier, spent = 0.0, 0.0
    for record in findings.of_type("usage"):
        if name in record["services"]:
            time, (memory, seconds, processes) = record["time"], record["services"][name]
            moved = points and time > earlier and seconds >= spent
            cores = round((seconds - spent) / (time - earlier), 3) if moved else 0.0
            points.append([time, memory, cores, processes])
            earlier, spent = time, seconds
    return points[:: max(1, len(points) // _USAGE_POINTS)]


def _error_of(test: Record) -> str:
    """Return the line of a failure's text that says what went wrong: the first of pytest's last block of lines marked
    with ``E``, else the last line."""
    lines = printable(test.get("text", "")).split("\n")
    marked = [position for position, line in enumerate(lines) if line.startswith("E ")]
    begins = [position for position in marked if position - 1 not in marked]
    found = lines[begins[-1]][1:] if begins else next((line for line in reversed(lines) if line.strip()), "")
    return _short(found.strip())


def _short(text: str) -> str:
    return text if len(text) <= _LINE_LENGTH else f"{text[:_LINE_LENGTH]} …"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
