"""Engines as Pulumi components, one module each.

What is offered is imported when it is asked for: what brings data back (``postgres_data``, ``redis_data``) is used
without Pulumi, whose import takes longer than its work.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.postgres import Postgres, PostgresArgs
    from components.redis import Redis, RedisArgs

__all__ = ["Postgres", "PostgresArgs", "Redis", "RedisArgs"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{name.removesuffix('Args').lower()}"), name)
