"""The systems that the benchmark brings up: the smallest one that is of use, and tasker as the checkout has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ephemera.contract.catalog import Catalog, Option, Service, System
from ephemera.contract.images import EngineImage
from stacks import tasker

if TYPE_CHECKING:
    from ephemera.resources import Environment

SYSTEMS: Catalog = {
    "postgres-redis": System(
        description="PostgreSQL and Redis, which need nothing of each other",
        program="measured:postgres_redis",
        suite="tests",
        services={"postgres": Service(), "redis": Service()},
        images=(EngineImage(name="postgres"), EngineImage(name="redis")),
        options={"revision": Option(type="integer", default=1, help="in the environment of Redis: what is changed")},
    ),
    "tasker": tasker.SYSTEM,
}


def postgres_redis(environment: Environment) -> None:
    """A database on a volume and a cache in memory."""
    from components import Postgres, PostgresArgs, Redis, RedisArgs

    Postgres("postgres", PostgresArgs(environment=environment, database="shop", user="shop"))
    Redis("redis", RedisArgs(environment=environment, variables={"REVISION": str(environment.option("revision"))}))
