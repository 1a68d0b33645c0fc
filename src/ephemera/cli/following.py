"""Following the logs of several containers at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

import typer
from docker import DockerClient

from ephemera.contract.outputs import ServiceOutputs
from ephemera.driver.services import ServiceHandle

_Line = tuple[str, str]


def follow_logs(client: DockerClient, stack: str, services: Sequence[str], width: int | None) -> None:
    """Print lines as they come, with the service's name in ``width`` columns (None: without), until all have ended."""
    lines: queue.SimpleQueue[_Line | None] = queue.SimpleQueue()
    for service in services:
        threading.Thread(target=_read, args=(client, stack, service, lines), daemon=True).start()
    running = len(services)
    while running:
        item = lines.get()
        if item is None:
            running -= 1
        else:
            typer.echo(item[1] if width is None else f"{item[0]:<{width}} | {item[1]}")


def _read(client: DockerClient, stack: str, service: str, lines: queue.SimpleQueue[_Line | None]) -> None:
    try:
        handle = ServiceHandle(client, stack, service, ServiceOutputs(container="", image=""))
        rest = ""
        for chunk in handle.follow():
            *whole, rest = (rest + chunk).split("\n")
            for line in whole:
                lines.put((service, line))
    finally:
        lines.put(None)
