"""What is answered while PostgreSQL or Redis is away, and that it comes back by itself."""

from collections.abc import Callable
from urllib.parse import urlsplit

from chassis.testing import wait_until
from live.server.harness import Line, Server, through
from redis import Redis


def line_to(url: str, port: int) -> Line:
    parts = urlsplit(url)
    return Line(parts.hostname or "127.0.0.1", parts.port or port)


def test_redis_goes_and_comes_back(start: Callable[..., Server], redis: Redis, redis_url: str) -> None:
    line = line_to(redis_url, 6379)
    server = start(REDIS_URL=through(redis_url, line), OLAV_WORKERS="2")
    viewer = server.token("viewer")
    assert server.http.get("/health").status_code == 200
    line.cut()
    health = server.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
    assert [n for n, d in health.json()["dependencies"].items() if d["status"] == "down"] == ["redis"]
    for answer in (server.http.get("/me", headers=viewer), server.login("viewer")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "redis_unavailable")
        assert answer.headers["retry-after"] == "1"
    line.mend()
    wait_until(lambda: server.http.get("/health").status_code == 200, "healthy again", seconds=10)
    assert server.http.get("/me", headers=viewer).status_code == 200


def test_postgres_goes_and_comes_back(start: Callable[..., Server], redis: Redis, database_url: str) -> None:
    line = line_to(database_url, 5432)
    server = start(DATABASE_URL=through(database_url, line), OLAV_WORKERS="2")
    wait_until(lambda: server.http.get("/health").status_code == 200, "healthy")
    viewer = server.token("viewer")
    line.cut()
    health = server.http.get("/health")
    assert health.status_code == 503
    assert [n for n, d in health.json()["dependencies"].items() if d["status"] == "down"] == ["postgres"]
    answer = server.login("viewer")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "postgres_unavailable")
    # A session that is there needs no PostgreSQL.
    assert server.http.get("/me", headers=viewer).status_code == 200
    status = server.http.get("/status", headers=viewer)
    assert (status.status_code, status.json()["status"]) == (200, "unhealthy")
    line.mend()
    wait_until(lambda: server.http.get("/health").status_code == 200, "healthy again", seconds=15)
    assert server.login("viewer").status_code == 200


def test_a_server_may_start_before_its_services(
    start: Callable[..., Server], redis: Redis, database_url: str, redis_url: str
) -> None:
    database, cache = line_to(database_url, 5432), line_to(redis_url, 6379)
    database.cut()
    cache.cut()
    server = start(DATABASE_URL=through(database_url, database), REDIS_URL=through(redis_url, cache), OLAV_WORKERS="2")
    assert server.http.get("/health").status_code == 503
    database.mend()
    cache.mend()
    wait_until(lambda: server.http.get("/health").status_code == 200, "healthy", seconds=15)
    assert server.login("admin").status_code == 200


def test_a_model_that_does_not_answer_is_named_and_nothing_else_stops(start: Callable[..., Server]) -> None:
    server = start(LLM_BASE_URL="http://127.0.0.1:1/v1", OLAV_WORKERS="1")
    health = server.http.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "degraded")
    assert [n for n, d in health.json()["dependencies"].items() if d["status"] == "down"] == ["llm"]
    status = server.http.get("/status", headers=server.token("viewer"))
    assert (status.status_code, status.json()["status"]) == (200, "degraded")
