"""Migrations: each once, in order, by one program at a time; and what is refused."""

import asyncio

import psycopg
import pytest
from chassis.database import Database
from chassis.migrations import Migration, MigrationError, alone, migrate
from chassis.waiting import StartError
from pydantic import SecretStr


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


def database(url: str) -> Database:
    return Database(SecretStr(url), application="test", max_connections=4)


ONE = Migration(version=1, name="0001_one", text="CREATE TABLE one (a int)")


async def test_one_that_fails_leaves_nothing(database_url: str) -> None:
    broken = Migration(version=2, name="0002_two", text="CREATE TABLE two (a int); DROP TABLE schema_migrations")
    async with database(database_url) as opened, opened.pool.connection() as connection:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await migrate(connection, [ONE, broken])
        assert rows(database_url, "SELECT to_regclass('two'), name FROM schema_migrations") == [(None, "0001_one")]
        assert await migrate(connection, [ONE]) == 1


async def test_another_text_a_newer_schema_and_a_missing_extension_are_refused(database_url: str) -> None:
    async with database(database_url) as opened, opened.pool.connection() as connection:
        await migrate(connection, [ONE])
        with pytest.raises(MigrationError, match="0001_one was applied with another text"):
            await migrate(connection, [Migration(version=1, name="0001_one", text="CREATE TABLE one (b int)")])
        lacking = Migration(version=2, name="0002_two", text="CREATE EXTENSION nowhere")
        with pytest.raises(MigrationError, match=r"nowhere.*: use a PostgreSQL image that has it"):
            await migrate(connection, [ONE, lacking])
        await connection.execute("INSERT INTO schema_migrations VALUES (7, '0007', 'x')")
        with pytest.raises(MigrationError, match="schema version 7, this program knows up to 1"):
            await migrate(connection, [ONE])


async def test_one_program_at_a_time(database_url: str) -> None:
    async with database(database_url) as opened:

        async def hold(package: str) -> None:
            async with opened.pool.connection() as connection, alone(connection, package, 0.1):
                pass

        async with opened.pool.connection() as first, alone(first, "shop", 1):
            with pytest.raises(StartError, match=r"another program has been migrating for more than 0\.1 s"):
                await hold("shop")
            await hold("another")
        await hold("shop")


async def test_several_that_come_at_once_migrate_once(database_url: str) -> None:
    async with database(database_url) as opened:

        async def once() -> int:
            async with opened.pool.connection() as connection, alone(connection, "shop", 10):
                return await migrate(connection, [ONE])

        assert await asyncio.gather(*(once() for _ in range(4))) == [1] * 4
    assert rows(database_url, "SELECT count(*) FROM schema_migrations") == [(1,)]
