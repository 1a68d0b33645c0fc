"""Databases and other engines, and what services have in common, as Pulumi components, one module each.

A name imports its module when it is used first: modules that reset data (``postgres_data``, ``redis_data``, …) are used
without Pulumi, whose import takes longer than their work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ephemera import lazily

if TYPE_CHECKING:
    from ephemera.components.one_shot import OneShot
    from ephemera.components.opensearch import OpenSearch
    from ephemera.components.postgres import Postgres
    from ephemera.components.redis import Redis
    from ephemera.components.web_service import WebService

__all__ = ["OneShot", "OpenSearch", "Postgres", "Redis", "WebService"]

__getattr__ = lazily(
    __name__,
    {
        "one_shot": ("OneShot",),
        "opensearch": ("OpenSearch",),
        "postgres": ("Postgres",),
        "redis": ("Redis",),
        "web_service": ("WebService",),
    },
)
