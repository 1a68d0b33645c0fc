"""The systems that the benchmark brings up: the smallest one that is of use, and tasker as the checkout has it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ephemera import Environment, Option, System
from ephemera.components import Postgres, Redis
from stacks.tasker import program, tasker

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

smallest = System(
    "postgres-redis",
    description="PostgreSQL and Redis, which need nothing of each other",
    suite="suite",
    seed="measured:seed",
    options={"revision": Option(1, "in the environment of Redis: what is changed")},
)
measured_tasker = replace(tasker, suite="suite", seed="measured:seed")
measured_tasker.program(program)
SYSTEMS = (smallest, measured_tasker)


@smallest.program
def postgres_redis(environment: Environment) -> None:
    """A database on a volume and a cache in memory."""
    Postgres("postgres", database="shop", user="shop")
    Redis("redis", variables={"REVISION": str(environment.option("revision"))})


def seed(environment: RunningEnvironment) -> None:
    """A table with rows, beside what services have made."""
    with environment.postgres() as connection:
        connection.execute("CREATE TABLE bench_items (number integer PRIMARY KEY, name text)")
        connection.execute("INSERT INTO bench_items SELECT generate_series(1, 1000), 'item'")
