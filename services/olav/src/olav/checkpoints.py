"""Where conversations live: LangGraph's checkpointer on PostgreSQL."""

from typing import Any, cast

from chassis.database import Pool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver


def checkpointer(pool: Pool) -> BaseCheckpointSaver[Any]:
    """On `pool`, which is open; for the running event loop. The tables are made by `create_tables`."""
    return AsyncPostgresSaver(cast("Any", pool))


async def create_tables(pool: Pool) -> None:
    """LangGraph's own migrations of its tables, as often as one likes, but one at a time: they build indexes
    concurrently, outside any transaction."""
    await AsyncPostgresSaver(cast("Any", pool)).setup()


def thread_key(username: str, thread_id: str) -> str:
    """A thread is its user's: neither a username nor a thread id has a slash."""
    return f"{username}/{thread_id}"
