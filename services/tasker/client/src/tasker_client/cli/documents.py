"""What the command line shows that no single answer of the APIs holds."""

from __future__ import annotations

from chassis.client import Document

from tasker_client.models import Health, Namespace, Worker, WorkerHealth


class WorkersHealth(Document):
    """``healthy``: there is a worker, and each that did not say goodbye is healthy."""

    healthy: bool
    workers: tuple[WorkerHealth, ...]


class PartHealth(Document):
    """Health of one part of the system. ``reason``: why it is not healthy."""

    part: str
    url: str
    healthy: bool
    reason: str | None


class SystemHealth(Document):
    healthy: bool
    parts: tuple[PartHealth, ...]


class ServiceInfo(Document):
    url: str
    health: Health


class SystemInfo(Document):
    """What runs where, and what it can do."""

    client_version: str
    orchestration: ServiceInfo
    worker: ServiceInfo
    namespaces: tuple[Namespace, ...]
    workers: tuple[Worker, ...]
