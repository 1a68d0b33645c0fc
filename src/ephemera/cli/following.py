"""Following the logs of several containers at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from docker import DockerClient
from docker.errors import DockerException
from requests.exceptions import RequestException

from ephemera.contract import labels
from ephemera.contract.errors import EphemeraError
from ephemera.contract.outputs import ServiceOutputs
from ephemera.driver.services import ServiceHandle, containers
from ephemera.home import identity
from ephemera.host import logs
from ephemera.host.logs import LogLine

_T = TypeVar("_T")
_TURN_SECONDS = 0.2


def follow_logs(
    client: DockerClient, stack: str, after: Mapping[str, str], show: Callable[[str, LogLine], None]
) -> None:
    """Call ``show`` with lines of services as they come, until the containers of all have ended. ``after``: by service,
    when the last line was written that was shown already; empty when there was none."""
    coming: queue.SimpleQueue[tuple[str, LogLine] | None] = queue.SimpleQueue()
    for service, stamp in after.items():
        threading.Thread(target=_read, args=(client, stack, service, stamp, coming), daemon=True).start()
    running = len(after)
    while running:
        item = awaited(coming)
        if item is None:
            running -= 1
        else:
            show(*item)


def awaited(coming: queue.SimpleQueue[_T]) -> _T:
    """Return the next item, waiting in turns: a signal that comes just before a wait without an end does not end it."""
    while True:
        with suppress(queue.Empty):
            return coming.get(timeout=_TURN_SECONDS)


class Following:
    """Shows what an environment's containers log from now on, also of those that are started again, in threads.

    ``show`` is called with a service and its line, ``started`` with the labels of each container that is started,
    ``gone`` when the last one is removed, or the engine does not answer any more.
    """

    def __init__(
        self,
        client: DockerClient,
        stack: str,
        services: Sequence[str],
        *,
        since: float,
        show: Callable[[str, str], None],
        started: Callable[[dict[str, str]], None],
        gone: Callable[[], None],
    ) -> None:
        self._client = client
        self._stack = stack
        self._since = since
        self._show = show
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
                for line in logs.read(self._client, container, since=int(self._since), follow=True):
                    if line.stamp <= last:  # seen before it was started again
                        continue
                    last = line.stamp
                    with self._printing:
                        if not self._quiet:
                            self._show(service, line.text)
            except (DockerException, RequestException, OSError, ValueError):
                continue  # it was removed, or the connection closed


def _events_of(stack: str) -> dict[str, Any]:
    return {**labels.filters(identity.backend_id(), stack), "event": ["start", "destroy"]}


def _read(
    client: DockerClient, stack: str, service: str, after: str, coming: queue.SimpleQueue[tuple[str, LogLine] | None]
) -> None:
    try:
        container = ServiceHandle(client, stack, service, ServiceOutputs(container="", image="")).container
        since = datetime.fromisoformat(after[:19] + "+00:00").timestamp() if after else None
        for line in logs.read(client, container, since=since, follow=True):
            if line.stamp > after:
                coming.put((service, line))
    except (EphemeraError, DockerException, RequestException, OSError, ValueError):
        pass  # it was removed, or the engine went away
    finally:
        coming.put(None)
