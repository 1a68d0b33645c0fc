"""Databases and other engines, and what services have in common, as Pulumi components, one module each.

What is offered is imported when it is asked for: what brings data back (``postgres_data``, ``redis_data``, …) is used
without Pulumi, whose import takes longer than its work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ephemera.components.one_shot import OneShot
    from ephemera.components.opensearch import OpenSearch
    from ephemera.components.postgres import Postgres
    from ephemera.components.redis import Redis
    from ephemera.components.web_service import WebService

_MODULES = {
    "OneShot": "one_shot",
    "OpenSearch": "opensearch",
    "Postgres": "postgres",
    "Redis": "redis",
    "WebService": "web_service",
}

__all__ = [
    "OneShot",
    "OpenSearch",
    "Postgres",
    "Redis",
    "WebService",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
