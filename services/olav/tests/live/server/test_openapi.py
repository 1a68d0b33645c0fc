"""The OpenAPI document, held to what the server does: with a token and without."""

from collections.abc import Callable, Iterator

import pytest
from chassis.testing import keeps_its_word
from live.server.harness import Server, new_database
from redis import Redis


@pytest.fixture
def own_database(server_url: str) -> Iterator[str]:
    with new_database(server_url) as url:
        yield url


@pytest.mark.timeout(600)
@pytest.mark.parametrize("username", ["admin", "viewer", None])
def test_the_document_is_true(
    start: Callable[..., Server], redis: Redis, own_database: str, username: str | None
) -> None:
    server = start(DATABASE_URL=own_database, OLAV_TOKEN_SECONDS="86400", OLAV_LOGIN_ATTEMPTS="1000")
    headers = server.token(username) if username else {}
    # Without documents the orchestrator answers 503, and a logout would end the session that all else needs.
    kept = [
        "--exclude-path-regex",
        "^/orchestrator/(invoke|batch|stream|stream_log)$",
        "--exclude-path",
        "/auth/logout",
    ]
    keeps_its_word(server.url, *(kept if username else ()), headers=headers)
