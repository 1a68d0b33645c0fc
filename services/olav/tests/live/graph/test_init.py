"""`python -m olav.init` against the real thing."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

import psycopg
import pytest
from chassis.waiting import StartError
from doubles.model_server import Fault, ModelServer
from olav.documents import INDEX, Document, Documents, load, prepare, shipped
from olav.init import program
from olav.settings import InitSettings
from opensearchpy import AsyncOpenSearch


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


async def count(url: str) -> int:
    client = AsyncOpenSearch(url)
    try:
        return int((await client.count(index=INDEX))["count"])
    finally:
        await client.close()


def init(environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command, as the container runs it."""
    passed = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    passed["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, "-m", "olav.init"], env={**passed, **environ}, capture_output=True, text=True, timeout=50
    )


async def test_it_prepares_everything_once(environ: dict[str, str], model: ModelServer) -> None:
    first = await asyncio.to_thread(init, environ)
    assert first.returncode == 0, first.stderr
    asked = len(model.asked)
    before = rows(environ["DATABASE_URL"], "SELECT * FROM users ORDER BY username")
    second = await asyncio.to_thread(init, {**environ, "OLAV_ADMIN_PASSWORD": "another-password"})
    assert second.returncode == 0, second.stderr
    assert [row[0] for row in before] == ["admin", "operator", "viewer"]
    assert rows(environ["DATABASE_URL"], "SELECT * FROM users ORDER BY username") == before
    assert all(str(row[1]).startswith("$argon2id$") for row in before)
    assert rows(environ["DATABASE_URL"], "SELECT count(*) FROM checkpoints") == [(0,)]
    assert await count(environ["OPENSEARCH_URL"]) == len(shipped())
    assert len(model.asked) == asked, "nothing was to be embedded again"
    told = first.stdout + first.stderr + second.stdout + second.stderr
    assert not [secret for secret in ("password-of", "another-password", "key-of-the-model") if secret in told]


async def test_without_opensearch_there_are_users_and_no_documents(environ: dict[str, str], model: ModelServer) -> None:
    done = await asyncio.to_thread(init, {**environ, "OPENSEARCH_URL": ""})
    assert done.returncode == 0, done.stderr
    assert "OPENSEARCH_URL is not set" in done.stdout
    assert rows(environ["DATABASE_URL"], "SELECT count(*) FROM users") == [(3,)]
    assert model.asked == []


async def test_several_at_once_do_it_once(settings: InitSettings, database_url: str, opensearch_url: str) -> None:
    await asyncio.gather(*(program.run(settings) for _ in range(4)))
    assert rows(database_url, "SELECT count(*) FROM schema_migrations") == [(1,)]
    assert rows(database_url, "SELECT count(*) FROM users") == [(3,)]
    assert await count(opensearch_url) == len(shipped())


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"LLM_API_KEY": ""}, "bad environment: LLM_API_KEY"),
        ({"OLAV_VIEWER_PASSWORD": ""}, "bad environment: OLAV_VIEWER_PASSWORD"),
    ],
)
def test_a_bad_environment_is_one_line(environ: dict[str, str], change: dict[str, str], line: str) -> None:
    done = init({**environ, **change})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert line in done.stderr


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"DATABASE_URL": "postgresql://olav@127.0.0.1:1/olav"}, "postgres (DATABASE_URL)"),
        ({"OPENSEARCH_URL": "http://127.0.0.1:1"}, "opensearch (OPENSEARCH_URL)"),
        ({"LLM_BASE_URL": "http://127.0.0.1:1/v1"}, "(LLM_BASE_URL)"),
    ],
)
async def test_what_is_away_is_named(environ: dict[str, str], change: dict[str, str], what: str) -> None:
    settings = InitSettings.model_validate({**environ, **change})
    with pytest.raises(StartError) as caught:
        await program.run(settings, patience_seconds=0.3)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_the_command_fails_with_one_line(environ: dict[str, str], model: ModelServer) -> None:
    model.failing = Fault(status=401)
    done = await asyncio.to_thread(init, environ)
    assert done.returncode == 1
    assert done.stderr == (
        "olav-init: embeddings of the sample documents (LLM_BASE_URL): the model failed: it answered 401\n"
    )


async def test_only_what_changed_is_indexed_again(opensearch_url: str) -> None:
    def document(name: str, text: str) -> Document:
        return Document(id=name, title=name, category="search", text=text)

    embedded: list[str] = []

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        embedded.extend(texts)
        return [[1.0, 0.0]] * len(texts)

    async with Documents(opensearch_url) as store:
        await prepare(store.client)
        await prepare(store.client)
        both = [document("one", "first"), document("two", "second")]
        assert await load(store.client, both, embed, model="m") == 2
        assert await load(store.client, both, embed, model="m") == 0
        assert await load(store.client, [both[0], document("two", "changed")], embed, model="m") == 1
        assert embedded == ["one\nfirst", "two\nsecond", "two\nchanged"]
        assert await load(store.client, both, embed, model="another") == 2
    assert await count(opensearch_url) == 2
