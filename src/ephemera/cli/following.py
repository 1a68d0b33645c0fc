"""Follow the logs of an environment's containers, also of those that are started again."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from docker import DockerClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from ephemera.docker import logs
from ephemera.docker.logs import LogLine
from ephemera.docker.services import containers
from ephemera.home import identity
from ephemera.model import labels

# The container was removed, Docker went away, or the connection was closed.
_ENDED = (DockerException, RequestException, OSError, ValueError)
_TURN_SECONDS = 0.2
_T = TypeVar("_T")


def followed(client: DockerClient, stack: str, after: Mapping[str, str]) -> Iterator[tuple[str, LogLine]]:
    """Yield services and their lines as they come, until the environment is gone or Docker stops answering. ``after``:
    the services, each with the stamp of the last line that is known, empty when there is none."""
    coming: queue.SimpleQueue[tuple[str, LogLine] | None] = queue.SimpleQueue()
    Following(
        client, stack, after, show=lambda service, line: coming.put((service, line)), gone=lambda: coming.put(None)
    )
    while (item := awaited(coming)) is not None:
        yield item


def awaited(coming: queue.SimpleQueue[_T]) -> _T:
    """Return the next item, waiting in turns: a signal that comes just before a wait without an end does not end it."""
    while True:
        with suppress(queue.Empty):
            return coming.get(timeout=_TURN_SECONDS)


class Following:
    """Calls ``show`` with services and their lines after the stamps of ``after``, in threads.

    ``started`` is called with the labels of each container that is started, ``gone`` when the last one is removed, or
    Docker stops answering.
    """

    def __init__(
        self,
        client: DockerClient,
        stack: str,
        after: Mapping[str, str],
        *,
        show: Callable[[str, LogLine], object],
        gone: Callable[[], object],
        started: Callable[[dict[str, str]], object] = lambda _: None,
    ) -> None:
        self._client = client
        self._stack = stack
        self._show = show
        self._gone = gone
        self._started = started
        self._starts: dict[str, queue.SimpleQueue[str]] = {service: queue.SimpleQueue() for service in after}
        self._printing = threading.Lock()
        self._quiet = False
        filters = {"type": "container", "event": ["start", "destroy"], **labels.filters(identity.backend_id(), stack)}
        events = client.api.events(decode=True, filters=filters)
        threading.Thread(target=self._listen, args=(events,), name="docker-events", daemon=True).start()
        for item in containers(client, stack):
            if (service := item["Labels"].get(labels.SERVICE)) in self._starts and item["State"] == "running":
                self._starts[service].put(item["Id"])
        for service, last in after.items():
            threading.Thread(target=self._follow, args=(service, last), name=f"logs-{service}", daemon=True).start()

    def hold_back(self, quiet: bool) -> None:
        """Drop lines while ``quiet``, as something else has the terminal."""
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
        except _ENDED:
            pass
        self._gone()

    def _follow(self, service: str, last: str) -> None:
        while True:
            container = self._starts[service].get()
            since = datetime.fromisoformat(f"{last[:19]}+00:00").timestamp() if last else None
            try:
                for line in logs.read(self._client, container, since=since, follow=True):
                    if line.stamp <= last:  # seen before it was started again
                        continue
                    last = line.stamp
                    with self._printing:
                        if not self._quiet:
                            self._show(service, line)
            except _ENDED:
                continue
