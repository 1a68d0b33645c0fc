"""The systems that the benchmark brings up: the smallest one that is of use, and tasker as the checkout has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ephemera.contract.catalog import Catalog, Option, Service, System
from ephemera.contract.images import EngineImage
from stacks import tasker

if TYPE_CHECKING:
    from ephemera.plugin.running import RunningEnvironment
    from ephemera.resources import Environment

SYSTEMS: Catalog = {
    "postgres-redis": System(
        description="PostgreSQL and Redis, which need nothing of each other",
        program="measured:postgres_redis",
        suite="suite",
        seed="measured:seed",
        services={"postgres": Service(), "redis": Service()},
        images=(EngineImage(name="postgres"), EngineImage(name="redis")),
        options={"revision": Option(type="integer", default=1, help="in the environment of Redis: what is changed")},
    ),
    "tasker": replace(tasker.SYSTEM, suite="suite", seed="measured:seed"),
}


def postgres_redis(environment: Environment) -> None:
    """A database on a volume and a cache in memory."""
    from components import Postgres, Redis

    Postgres(
        "postgres",
        database="shop",
        user="shop",
    )
    Redis("redis", variables={"REVISION": str(environment.option("revision"))})


def seed(environment: RunningEnvironment) -> None:
    """A table with rows, beside what services have made."""
    with environment.postgres() as connection:
        connection.execute("CREATE TABLE bench_items (number integer PRIMARY KEY, name text)")
        connection.execute("INSERT INTO bench_items SELECT generate_series(1, 1000), 'item'")
