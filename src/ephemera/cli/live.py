"""The live view while an environment comes up: each service's state and its last log line; plain lines without a
terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from ephemera.cli.console import Printable, Screen
from ephemera.model.progress import Event
from ephemera.model.text import printable

_STATE = {"waiting": "[yellow]waiting[/]", "ready": "[green]ready[/]", "": "[dim]not started[/]"}


class LiveView:
    """Takes the program's events, and shows the state of each service."""

    def __init__(self, screen: Screen, title: str, services: Sequence[str]) -> None:
        self._screen = screen
        self._title = title
        self._gates: dict[str, Event] = {service: {} for service in services}
        self._started = time.monotonic()
        self._building = ""
        self._plain = not screen.err.is_terminal

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the view while the block runs."""
        if self._plain:
            self._screen.note(f"{self._title} …")
            yield
            return
        with Live(console=self._screen.err, get_renderable=self._shown, refresh_per_second=8, transient=True):
            yield

    def report(self, event: Event) -> None:
        """Take one event."""
        if event["type"] == "notice":
            self._screen.note(event["message"])
        elif event["type"] == "failed":
            error = event["error"]
            if "service" in error:  # other errors are printed once the command has cleaned up, at once then
                self._screen.note(f"  {error['service']} {error['cause']}")
        elif event["type"] == "building":
            self._building = event["message"]
            if self._plain and ": Step " in event["message"]:
                self._screen.note(f"  {event['message']}")
        elif event["type"] == "gate":
            self._building = ""
            self._gates[event["service"]] = event
            if self._plain and event["state"] == "ready":
                self._screen.note(f"  {event['service']} ready after {event['seconds']:.1f} s")

    def _shown(self) -> Printable:
        return Printable(self._table())

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        title = f"{escape(self._title)} [dim]{time.monotonic() - self._started:.1f} s[/]"
        table.add_row(Spinner("dots"), title)
        for service, gate in self._gates.items():
            seconds = f"{gate['seconds']:.1f} s" if gate else ""
            detail = escape(printable(gate.get("detail", ""))[:100])
            table.add_row("", f"{service:<16} {_STATE[gate.get('state', '')]} {seconds}", f"[dim]{detail}[/]")
        if self._building:
            table.add_row("", f"[dim]{escape(printable(self._building)[:100])}[/]")
        return table
