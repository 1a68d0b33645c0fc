"""Following the logs of several containers at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from docker import DockerClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from ephemera.contract import labels
from ephemera.contract.outputs import ServiceOutputs
from ephemera.driver.services import ServiceHandle, containers
from ephemera.driver.sweep import filters_of

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


class Following:
    """Prints what an environment's containers log from now on, also of those that are started again, in threads.

    ``started`` is called with the labels of each container that is started, ``gone`` when the last one is removed, or
    the engine does not answer any more.
    """

    def __init__(
        self,
        client: DockerClient,
        stack: str,
        services: Sequence[str],
        *,
        since: float,
        started: Callable[[dict[str, str]], None],
        gone: Callable[[], None],
    ) -> None:
        self._client = client
        self._stack = stack
        self._since = since
        self._width = max((len(service) for service in services), default=0)
        self._starts: dict[str, queue.SimpleQueue[str]] = {service: queue.SimpleQueue() for service in services}
        self._started = started
        self._gone = gone
        self._printing = threading.Lock()
        self._quiet = False
        events = client.api.events(decode=True, filters={"type": "container", **_events_of(stack)})
        threading.Thread(target=self._listen, args=(events,), name="engine-events", daemon=True).start()
        for item in containers(client, stack):
            if (service := item["Labels"].get(labels.SERVICE)) in self._starts and item["State"] == "running":
                self._starts[service].put(item["Id"])
        for service, starts in self._starts.items():
            threading.Thread(target=self._follow, args=(service, starts), name=f"logs-{service}", daemon=True).start()

    def hold_back(self, quiet: bool) -> None:
        """Whether lines are dropped, while something else has the terminal."""
        with self._printing:
            self._quiet = quiet

    def _listen(self, events: Iterator[dict[str, Any]]) -> None:
        try:
            for event in events:
                marks = event["Actor"]["Attributes"]
                if event["Action"] == "start":
                    self._started(marks)
                    if (service := marks.get(labels.SERVICE)) in self._starts:
                        self._starts[service].put(event["Actor"]["ID"])
                elif not containers(self._client, self._stack):
                    break
        except (DockerException, RequestException, OSError, ValueError):
            pass  # the engine went away, or the connection was closed by whoever ends this
        self._gone()

    def _follow(self, service: str, starts: queue.SimpleQueue[str]) -> None:
        last = datetime.fromtimestamp(self._since, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        while True:
            container = starts.get()
            try:
                for line in self._lines(container):
                    stamp, _, text = line.partition(" ")
                    if stamp <= last:  # seen before it was started again: the engine goes by whole seconds
                        continue
                    last = stamp
                    with self._printing:
                        if not self._quiet:
                            typer.echo(f"{service:<{self._width}} | {text}")
            except (DockerException, RequestException, OSError, ValueError):
                continue  # it was removed, or the connection closed

    def _lines(self, container: str) -> Iterator[str]:
        rest = b""
        for chunk in self._client.api.logs(
            container, stream=True, follow=True, timestamps=True, since=int(self._since)
        ):
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)


def _events_of(stack: str) -> dict[str, Any]:
    return {**filters_of(stack), "event": ["start", "destroy"]}


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
