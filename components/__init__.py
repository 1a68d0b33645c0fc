"""Engines as Pulumi components, one module each."""

from components.postgres import Postgres, PostgresArgs
from components.redis import Redis, RedisArgs

__all__ = ["Postgres", "PostgresArgs", "Redis", "RedisArgs"]
