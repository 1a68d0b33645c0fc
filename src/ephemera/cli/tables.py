"""Tables for people, whose cells are neither folded nor cut, so that what stands in them can be copied."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markup import escape
from rich.text import Text

from ephemera.docker.services import ServiceStatus
from ephemera.lifecycle.listing import Listed
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.text import printable

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


_GAP = 2


class Columns:
    """Rows of cells in rich's markup. Where a terminal is too narrow, columns go, the least important first; if what
    is left is still wider, its lines are longer than the terminal's. Elsewhere than on a terminal nothing goes.

    ``titles``: none for a table without a head. ``dispensable``: titles of columns that may go, the first one first.
    """

    def __init__(self, *titles: str, dispensable: Sequence[str] = ()) -> None:
        self._titles = titles
        self._dispensable = dispensable
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row; a cell is one line."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = [[Text(title, style="bold") for title in self._titles]] if any(self._titles) else []
        terminal = console.file.isatty()
        rows = [*head, *([_cell(cell, filtered=terminal) for cell in row] for row in self._rows)]
        widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*rows, strict=True)]
        shown = self._that_fit(widths, console.width if terminal else None)
        for row in rows:
            line = Text(no_wrap=True, overflow="ignore")
            for at in shown:
                line.append_text(row[at])
                if at != shown[-1]:
                    line.append(" " * (widths[at] - cell_len(row[at].plain) + _GAP))
            line.rstrip()
            yield line

    def _that_fit(self, widths: Sequence[int], room: int | None) -> list[int]:
        shown = list(range(len(widths)))
        for title in self._dispensable:
            if room is None or sum(widths[at] + _GAP for at in shown) - _GAP <= room:
                break
            shown.remove(self._titles.index(title))
        return shown


def _cell(markup: str, *, filtered: bool) -> Text:
    # Before rich, which takes some characters out of a control sequence and leaves the rest of it to be seen.
    return Text.from_markup(" ".join((printable(markup) if filtered else markup).split("\n")), emoji=False)
