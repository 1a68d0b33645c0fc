"""The worker's heart: claim, run, beat, and leave in good order."""

import asyncio
import socket
import time
from collections.abc import Mapping
from uuid import UUID, uuid4

import structlog
from chassis.database import GONE, Database
from chassis.health import DownError
from chassis.waiting import pause

from tasker import __version__, metrics
from tasker.settings import WorkerSettings
from tasker.store import steps, tasks, workers
from tasker.store.steps import Claim, Claimer
from tasker.worker.attempt import run_attempt
from tasker.workflows.handler import Handler

log = structlog.get_logger()

_RECONNECT_SECONDS = 0.2
# Something due is claimable now, or locked by one who is just claiming it: no reason to ask more often than this.
_SHORTEST_WAIT_SECONDS = 0.02


class Engine:
    """Runs steps until it is stopped. `status` is what the worker was last told to do; None before it is registered."""

    def __init__(self, settings: WorkerSettings, database: Database, handlers: Mapping[str, Handler]) -> None:
        self._settings = settings
        self._database = database
        self._handlers = handlers
        self._who = Claimer(
            worker_id=settings.worker_id,
            incarnation=uuid4(),
            namespaces=settings.namespaces,
            handlers=tuple(sorted(handlers)),
        )
        self._wake = asyncio.Event()
        self._running: dict[UUID, tuple[Claim, asyncio.Task[None]]] = {}
        self._beat_at = 0.0
        self._listening = False
        self._superseded = False
        self.status: str | None = None
        metrics.STEPS_RUNNING.set_function(self.running)

    def running(self) -> int:
        return len(self._running)

    async def check(self) -> None:
        """Raise DownError where the engine does not work as it should."""
        if self._superseded:
            raise DownError(f"another process has registered as worker {self._settings.worker_id!r}")
        if self.status is None:
            raise DownError("not registered yet")
        if time.monotonic() - self._beat_at > self._settings.lease_seconds:
            raise DownError("no heartbeat has reached the database for a whole lease")
        if not self._listening:
            raise DownError("not listening for new steps")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then running steps get `drain_seconds`, and what is left is free for others at once."""
        await self._register(stop)
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(loop(stop)) for loop in (self._claims, self._heartbeats, self._listen)]
            await stop.wait()
            self._wake.set()
            await loops[0]
            await self._drain()
            for loop in loops[1:]:
                loop.cancel()
        await self._leave()

    async def _register(self, stop: asyncio.Event) -> None:
        settings = self._settings
        while not stop.is_set():
            try:
                async with self._database.transaction() as connection:
                    await workers.register(
                        connection,
                        self._who,
                        concurrency=settings.concurrency,
                        host=socket.gethostname(),
                        version=__version__,
                        heartbeat_seconds=settings.heartbeat_seconds,
                    )
                await self._beat()
            except GONE as error:
                log.info("waiting for the database", error=str(error))
                await pause(stop, _RECONNECT_SECONDS)
            else:
                log.info("registered", worker_id=settings.worker_id, status=self.status, handlers=len(self._handlers))
                return

    async def _claims(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._wake.clear()
            wait = self._settings.poll_seconds
            try:
                if len(self._running) < self._settings.concurrency and not self._superseded:
                    claim, due = await self._claim()
                    if claim is not None:
                        self._start(claim)
                        continue
                    if due is not None:
                        wait = min(wait, max(due, _SHORTEST_WAIT_SECONDS))
            except GONE as error:
                log.warning("database is gone", error=str(error))
                wait = _RECONNECT_SECONDS
            await pause(self._wake, wait)

    async def _claim(self) -> tuple[Claim | None, float | None]:
        """A step, or how long until there may be one."""
        async with self._database.transaction() as connection:
            claim = await steps.claim(connection, self._who, lease=self._settings.lease_seconds)
            return claim, None if claim is not None else await steps.next_due(connection, self._who)

    def _start(self, claim: Claim) -> None:
        metrics.STEP_WAIT_SECONDS.observe(max(claim.waited_seconds, 0.0))
        self._running[claim.step_uuid] = claim, asyncio.create_task(self._run(claim))

    async def _run(self, claim: Claim) -> None:
        started = time.monotonic()
        outcome = "lost"
        try:
            outcome = await run_attempt(self._database, claim, self._handlers[claim.handler])
        finally:
            del self._running[claim.step_uuid]
            self._wake.set()
            seconds = time.monotonic() - started
            metrics.STEPS_FINISHED.labels(claim.namespace, claim.name, outcome).inc()
            metrics.STEP_SECONDS.labels(claim.namespace, claim.name).observe(seconds)
            log.info(
                "step ended",
                step=claim.name,
                task_uuid=str(claim.task_uuid),
                attempt=claim.attempt,
                outcome=outcome,
                seconds=round(seconds, 4),
            )

    async def _heartbeats(self, stop: asyncio.Event) -> None:
        while not self._superseded:
            await asyncio.sleep(self._settings.heartbeat_seconds)
            try:
                await self._beat()
            except GONE as error:
                log.warning("heartbeat failed", error=str(error))
            except workers.SupersededError as error:
                log.error("superseded, claiming nothing more", error=str(error))
                self._superseded = True
                if not stop.is_set():
                    self._cancel(set(self._running))

    async def _beat(self) -> None:
        running = {step_uuid: claim.attempt for step_uuid, (claim, _) in self._running.items()}
        async with self._database.transaction() as connection:
            self.status = await workers.heartbeat(
                connection, self._who, running=running, lease=self._settings.lease_seconds
            )
            gone = await workers.taken_away(connection, running)
        self._beat_at = time.monotonic()
        self._cancel(gone)

    def _cancel(self, step_uuids: set[UUID]) -> None:
        for step_uuid in step_uuids & self._running.keys():
            claim, running = self._running[step_uuid]
            log.warning("step was taken away", step=claim.name, task_uuid=str(claim.task_uuid), attempt=claim.attempt)
            running.cancel()

    async def _listen(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                connection = await self._database.connect(listen=(tasks.STEPS_CHANNEL, workers.WORKERS_CHANNEL))
                try:
                    self._listening = True
                    # What was announced while nobody listened is found by looking once.
                    self._wake.set()
                    async for _ in connection.notifies():
                        self._wake.set()
                finally:
                    self._listening = False
                    await connection.close()
            except GONE as error:
                log.warning("lost the notifications", error=str(error))
                await pause(stop, _RECONNECT_SECONDS)

    async def _drain(self) -> None:
        running = [task for _, task in self._running.values()]
        if not running:
            return
        log.info("draining", running=len(running), seconds=self._settings.drain_seconds)
        _, late = await asyncio.wait(running, timeout=self._settings.drain_seconds)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _leave(self) -> None:
        try:
            async with self._database.transaction(timeout_seconds=1.0) as connection:
                await workers.leave(connection, self._who)
        except GONE as error:
            log.warning("left without a word: leases end by themselves", error=str(error))
