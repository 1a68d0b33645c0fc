"""Engines as Pulumi components, one module each."""

from components.postgres import Postgres, PostgresArgs

__all__ = ["Postgres", "PostgresArgs"]
