"""The page: one HTML file without anything from elsewhere, that shows the findings on one time axis.

What containers and tests wrote is untrusted. It reaches the page as escaped text, or as JSON that the script puts into
text nodes; and the page's policy lets a browser run that one script, by its hash, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib import resources
from string import Template
from typing import Any
from urllib.parse import quote

from ephemera.contract.errors import EngineError
from ephemera.contract.text import printable
from ephemera.driver.evidence.findings import Findings, Service
from ephemera.driver.recording import Record

_LINES = 10_000
_LEAST_LINES = 500
_LINE_LENGTH = 400
_USAGE_POINTS = 600
_TAIL_LINES = 20
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
    """The page; ``files``: names of the files beside it."""
    style, script = _asset("page.css"), "".join(_asset(name) for name in _SCRIPTS)
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    return Template(_asset("page.html")).substitute(
        policy=policy,
        title=escape(f"{findings.stack}: {_TITLES[findings.kind]}"),
        style=style,
        verdict=_verdict(findings),
        details=_details(findings, files),
        # In a script element only `<` can end it.
        data=json.dumps(_data(findings), separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )


def _verdict(findings: Findings) -> str:
    """What happened, at one glance, also without the script."""
    facts = [findings.stack, f"branch {findings.branch}", f"taken {_moment(findings.taken)}"]
    parts = [
        f'<p class="kind {findings.kind}">{escape(findings.system)} {_TITLES[findings.kind]}</p>',
        f"<h1>{escape(_headline(findings))}</h1>",
        f'<p class="facts">{escape(" · ".join(facts))}</p>',
    ]
    parts += [f'<p class="trouble">{escape(printable(text))}</p>' for text in findings.trouble]
    if findings.error is not None:
        parts.append(_cause(findings.error))
    failed = findings.failed_tests() if findings.kind == "test" else []
    parts += [_failure(findings, test, opened=position == 0) for position, test in enumerate(failed[:_SHOWN_FAILURES])]
    if len(failed) > _SHOWN_FAILURES:
        parts.append(f"<p>… and {len(failed) - _SHOWN_FAILURES} more, on the axis and in tests.json</p>")
    return "\n".join(parts)


def _headline(findings: Findings) -> str:
    if findings.error is not None:
        return printable(str(findings.error["message"]))
    failed = findings.failed_tests()
    if not failed:
        return f"{findings.stack}, looked at on request"
    name = printable(failed[0]["nodeid"])
    return f"{name} failed" if len(failed) == 1 else f"{len(failed)} tests failed, first {name}"


def _cause(error: dict[str, Any]) -> str:
    rows: list[tuple[str, Any]] = [(key, error.get(key)) for key in ("service", "cause")]
    rows.append(("exit code", error.get("container_exit_code")))
    if error["kind"] == EngineError.kind:
        rows.append(("the engine says", error.get("remedy")))
    elif "service" not in error:  # what is advised for those stands here: their last lines
        rows.append(("what to do", error.get("remedy")))
    shown = "".join(
        f"<div><dt>{label}</dt> <dd>{escape(printable(str(value)))}</dd></div>"
        for label, value in rows
        if value not in (None, "")
    )
    tail = [printable(str(line)) for line in error.get("log_tail") or ()]
    lines = f"<h2>The last lines</h2><pre>{escape(chr(10).join(tail))}</pre>" if tail else ""
    return f'<section class="cause"><dl>{shown}</dl>{lines}</section>'


def _failure(findings: Findings, test: Record, *, opened: bool) -> str:
    found = findings.suspects_of(test)
    chips = "".join(f"<li><b>{escape(one.service)}</b> {escape(one.reason)}</li>" for one in found)
    tails = "".join(
        f"<h2>{escape(one.service)}</h2><pre>{escape(chr(10).join(one.lines))}</pre>" for one in found[:3] if one.lines
    )
    seconds = f"{test['stop'] - test['start']:.2f} s"
    text = escape(printable(test.get("text", "")))
    return (
        f'<details class="failure"{" open" if opened else ""}><summary><b>{escape(printable(test["nodeid"]))}</b> '
        f"<span>{escape(test.get('phase', 'call'))}, {seconds}</span></summary>"
        f'<p class="error">{escape(_error_of(test))}</p><ul class="suspects">{chips}</ul>'
        f'<pre class="text">{text}</pre>{tails}</details>'
    )


def _details(findings: Findings, files: Sequence[str]) -> str:
    state = [_state_row(service) for service in findings.services]
    gates = [
        (
            _clock(gate["time"]),
            gate["service"],
            gate["state"],
            f"{gate.get('seconds', 0):.2f} s",
            gate.get("detail", ""),
        )
        for gate in findings.of_type("gate")
    ]
    events = [
        (_clock(event["time"]), event["service"], event["action"], event.get("exit_code", ""), event.get("signal", ""))
        for event in findings.of_type("event")
    ]
    links = "".join(f'<li><a href="{escape(quote(name))}">{escape(name)}</a></li>' for name in files)
    return "\n".join(
        (
            _table("Containers", ("service", "state", "exit code", "image", "memory", "command"), state, opened=True),
            _table("Gates", ("time", "service", "state", "after", "detail"), gates),
            _table("Events", ("time", "service", "event", "exit code", "signal"), events),
            _document("Outputs", findings.outputs),
            _document("Definition", findings.definition),
            f'<details open><summary>Files</summary><ul class="files">{links}</ul></details>',
        )
    )


def _state_row(service: Service) -> tuple[Any, ...]:
    state, config = service.document.get("State") or {}, service.document["Config"]
    memory = (service.document.get("HostConfig") or {}).get("Memory")
    words = " ".join([*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])
    status = str(state.get("Status", ""))
    if state.get("OOMKilled"):
        status += ", out of memory"
    if state.get("Health"):
        status += f", {state['Health'].get('Status')}"
    ended = "" if state.get("Running") else state.get("ExitCode", "")
    return (service.name, status, ended, _image(config), f"{memory // 2**20} MiB" if memory else "", words)


def _image(config: dict[str, Any]) -> str:
    """Its reference; an id is shortened as people know it."""
    image = str(config.get("Image", ""))
    return image[:_SHORT_ID] if image.startswith("sha256:") else image


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], *, opened: bool = False) -> str:
    if not rows:
        return ""
    heads = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(printable(str(cell)))}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<details{' open' if opened else ''}><summary>{title} <span>{len(rows)}</span></summary>"
        f'<div class="scroll"><table><tr>{heads}</tr>{body}</table></div></details>'
    )


def _document(title: str, document: dict[str, Any] | None) -> str:
    if not document:
        return ""
    return f"<details><summary>{title}</summary><pre>{escape(json.dumps(document, indent=1))}</pre></details>"


def _data(findings: Findings) -> dict[str, Any]:
    """What the script draws. Times in seconds since the epoch."""
    names = [service.name for service in findings.services]
    # A service whose container is gone has left events and gates.
    names += sorted({record["service"] for record in findings.records if "service" in record} - set(names))
    lines, left_out = _lines(findings)
    failed = findings.failed_tests()
    return {
        "taken": findings.taken,
        # A gate's failure is on the axis; any other was the end.
        "failure": _TITLES[findings.kind] if findings.kind in ("up", "destroy") else None,
        "services": [
            {"name": name, "log": left_out.get(name), **_life(findings, name), "usage": _usage(findings, name)}
            for name in names
        ],
        "gates": [
            [
                gate["time"],
                names.index(gate["service"]),
                gate["state"],
                printable(gate.get("detail", ""))[:_LINE_LENGTH],
            ]
            for gate in findings.of_type("gate")
        ],
        "events": [
            [event["time"], names.index(event["service"]), event["action"], event.get("exit_code"), event.get("signal")]
            for event in findings.of_type("event")
        ],
        "tests": [
            [test["start"], test["stop"], test["outcome"], printable(test["nodeid"]), _error_of(test), test in failed]
            for test in findings.of_type("test")
        ],
        "sessions": _sessions(findings),
        "lines": [[round(line[0], 6), names.index(line[1]), line[2], line[3]] for line in lines],
    }


def _sessions(findings: Findings) -> list[tuple[float, str]]:
    """Who began to use it when; the workers of one test run begin together."""
    sessions: list[tuple[float, str]] = []
    for record in findings.of_type("session"):
        time, what = record["time"], record["what"]
        if not any(known == what and time - begun < _TOGETHER_SECONDS for begun, known in sessions):
            sessions.append((time, what))
    return sessions


def _life(findings: Findings, name: str) -> dict[str, Any]:
    service = next((one for one in findings.services if one.name == name), None)
    if service is None:
        return {"created": None, "running": False, "limit": None}
    state = service.document.get("State") or {}
    return {
        "created": _instant(state.get("StartedAt")) or _instant(service.document.get("Created")),
        "ended": None if state.get("Running") else _instant(state.get("FinishedAt")),
        "running": bool(state.get("Running")),
        "limit": (service.document.get("HostConfig") or {}).get("Memory") or None,
    }


def _lines(findings: Findings) -> tuple[list[tuple[float, str, str, int]], dict[str, dict[str, Any]]]:
    """The last lines of every service within the page's measure, by time; and by service, how many were left out."""
    share = max(_LEAST_LINES, _LINES // max(1, len(findings.services)))
    shown: list[tuple[float, str, str, int]] = []
    left_out: dict[str, dict[str, Any]] = {}
    for service in findings.services:
        kept = service.lines[-share:]
        left_out[service.name] = {"file": f"{service.file_name}.log", "left_out": len(service.lines) - len(kept)}
        shown += [
            (
                line.time,
                service.name,
                line.text if len(line.text) <= _LINE_LENGTH else f"{line.text[:_LINE_LENGTH]} …",
                int(line.error),
            )
            for line in kept
        ]
    return sorted(shown, key=lambda line: line[0]), left_out


def _usage(findings: Findings, name: str) -> list[list[float]]:
    """``[time, bytes, cores, processes]`` of a service; cores between one sample and the next."""
    samples = [
        (record["time"], *record["services"][name])
        for record in findings.of_type("usage")
        if name in record["services"]
    ]
    points: list[list[float]] = []
    for before, after in zip([None, *samples], samples, strict=False):
        cores = 0.0
        if before is not None and after[0] > before[0] and after[2] >= before[2]:
            cores = (after[2] - before[2]) / (after[0] - before[0])
        points.append([after[0], after[1], round(cores, 3), after[3]])
    return points[:: max(1, len(points) // _USAGE_POINTS)]


def _error_of(test: Record) -> str:
    """The line of a failure's text that says what went wrong: where pytest's last marked lines begin, else the last."""
    lines = printable(test.get("text", "")).split("\n")
    marked = [position for position, line in enumerate(lines) if line.startswith("E ")]
    begins = [position for position in marked if position - 1 not in marked]
    found = lines[begins[-1]][1:] if begins else next((line for line in reversed(lines) if line.strip()), "")
    return found.strip()[:_LINE_LENGTH]


def _instant(text: Any) -> float | None:
    """The engine's time as seconds since the epoch; its year 1 says never."""
    if not isinstance(text, str) or text.startswith("0001"):
        return None
    try:
        return datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00").timestamp()
    except ValueError:
        return None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S.%f")[:-3]


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
