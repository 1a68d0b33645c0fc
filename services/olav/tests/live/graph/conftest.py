"""Fixtures: a database of its own for each test in a real PostgreSQL, a real OpenSearch, a model behind real HTTP.

`OLAV_TEST_DATABASE_URL` names a server and a user who may create databases, `OLAV_TEST_OPENSEARCH_URL` an OpenSearch
that is free to be written to: the index of the documents is dropped and made.
"""

import asyncio
from collections.abc import Iterator

import pytest
from chassis.settings import load
from chassis.testing import needed, new_database
from doubles.model_server import ModelServer, model_server
from olav.documents import INDEX
from olav.settings import InitSettings
from opensearchpy import AsyncOpenSearch


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def database_url() -> Iterator[str]:
    with new_database(needed("OLAV_TEST_DATABASE_URL", "a PostgreSQL in which databases may be created")) as url:
        yield url


@pytest.fixture
def opensearch_url() -> str:
    """Without documents, without their template."""
    url = needed("OLAV_TEST_OPENSEARCH_URL", "an OpenSearch that may be written to")

    async def clear() -> None:
        client = AsyncOpenSearch(url)
        await client.indices.delete(index=INDEX, ignore_unavailable=True)
        await client.indices.delete_index_template(name=INDEX, ignore=404)
        await client.close()

    asyncio.run(clear())
    return url


@pytest.fixture
def environ(database_url: str, opensearch_url: str, model: ModelServer) -> dict[str, str]:
    return {
        "LLM_PROVIDER": "openai",
        "LLM_API_KEY": "key-of-the-model",
        "LLM_BASE_URL": model.url,
        "POSTGRES_PASSWORD": "unused",
        "DATABASE_URL": database_url,
        "OPENSEARCH_URL": opensearch_url,
        "OLAV_ADMIN_PASSWORD": "password-of-admin",
        "OLAV_OPERATOR_PASSWORD": "password-of-operator",
        "OLAV_VIEWER_PASSWORD": "password-of-viewer",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> InitSettings:
    return load(InitSettings, environ)
