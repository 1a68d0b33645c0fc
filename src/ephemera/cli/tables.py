"""Tables for people."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.markup import escape

from ephemera.cli.columns import Columns
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.driver.listing import Listed
from ephemera.driver.services import ServiceStatus

_DEVELOPED = ", dev"
"""What is mounted from source folders, and not what images hold."""


def outputs_table(outputs: EnvironmentOutputs, *, show_secrets: bool) -> Columns:
    """Endpoints and credentials of every service."""
    may_go = ["credentials"] if not show_secrets else []
    table = Columns("service", "endpoint", "address", "credentials", dispensable=may_go)
    document = outputs.document(show_secrets=show_secrets)
    for service, values in document["services"].items():
        credentials = " ".join(f"{key}={value}" for key, value in values["credentials"].items())
        for name, endpoint in values["endpoints"].items():
            url = endpoint["url"] or f"{endpoint['internal_url']} (inside)"
            table.add_row(escape(service), escape(name), escape(url), escape(credentials))
        if not values["endpoints"]:
            table.add_row(escape(service), "-", "-", escape(credentials))
    return table


def status_table(statuses: Iterable[ServiceStatus]) -> Columns:
    """Component, state, health, required, latency, endpoint."""
    titles = ("component", "state", "health", "required", "latency", "endpoint")
    table = Columns(*titles, dispensable=("required", "health", "latency"))
    for status in statuses:
        colour = "green" if status.up else "red"
        latency = f"{status.latency_ms:.1f} ms" if status.latency_ms is not None else "-"
        table.add_row(
            escape(status.service),
            f"[{colour}]{'done' if status.done else status.state}[/]{_DEVELOPED if status.development else ''}",
            status.health or "-",
            "yes" if status.required else "no",
            latency,
            escape(status.endpoint or "-"),
        )
    return table


def environments_table(environments: Iterable[Listed]) -> Columns:
    """Every environment that is there."""
    titles = ("stack", "system", "branch", "owner", "state", "age", "expires in", "endpoint")
    table = Columns(*titles, dispensable=("owner", "system", "age", "branch", "expires in"))
    now = time.time()
    for listed in environments:
        table.add_row(
            escape(listed.stack),
            escape(listed.system),
            escape(listed.branch),
            escape(listed.owner),
            f"{listed.state}{_DEVELOPED if listed.development else ''}",
            span(now - listed.created_at),
            span(listed.expires_at - now),
            escape(next(iter(listed.endpoints), f"on {listed.docker_url}" if listed.state == "elsewhere" else "-")),
        )
    return table


def pools_table(pools: Iterable[dict[str, Any]]) -> Columns:
    """How many environments of each system wait, and why not as many as there should be."""
    table = Columns("system", "ready", "coming up", "checkout", "problem", dispensable=("coming up", "checkout"))
    for pool in pools:
        table.add_row(
            escape(pool["system"]),
            f"{len(pool['ready'])} of {pool['size']}",
            str(len(pool["coming_up"])),
            escape(pool["checkout"]),
            f"[red]{escape(pool['problem'])}[/]" if pool["problem"] else "-",
        )
    return table


def summary_table(document: dict[str, Any], kept: bool) -> Columns:
    """What a run came to."""
    tests, seconds = document["tests"], document["seconds"]
    table = Columns("", "")
    kinds = ("passed", "failed", "errors", "skipped", "xfailed", "xpassed")
    counts = ", ".join(f"{tests[key]} {key}" for key in kinds if tests.get(key))
    bad = tests["failed"] + tests["errors"] or tests["exit_code"]
    table.add_row("tests", f"[{'red' if bad else 'green'}]{counts or 'none ran'}[/]")
    spans = (f"{key} {value:.1f} s" for key, value in seconds.items() if value is not None)
    table.add_row("time", " · ".join(spans))
    if kept:
        table.add_row(
            "stack", f"{document['stack']} is running: `ephemera shell --stack {document['stack']} SERVICE` gets you in"
        )
    elif document["leftovers"]:
        table.add_row("left", f"[red]{', '.join(document['leftovers'])}[/]")
    else:
        table.add_row("left", "[green]nothing[/]")
    for path in document.get("artifacts", ()):
        table.add_row("result", escape(path))
    if document["evidence"]:
        table.add_row("evidence", escape(document["evidence"]))
    return table


def span(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 0:
        return "expired"
    minutes = int(seconds // 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
