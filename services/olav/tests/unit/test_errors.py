"""Every answer has a request id; every error has the one body, and a defect shows nothing of itself."""

import json
import uuid
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
import redis
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from olav import errors
from olav.errors import ApiError
from olav.observe import LARGEST_BODY, Observed
from pydantic import BaseModel

SECRET = "the password is hunter2"  # noqa: S105


class Item(BaseModel):
    name: str
    parts: list[int] = []


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    errors.install(app)

    @app.post("/items/{number}")
    async def make(number: int, item: Item) -> Item:
        return item

    @app.get("/raise/{what}")
    async def fail(what: str) -> None:
        raise {
            "refusal": ApiError(409, "busy", "not now", field="name", headers={"X-More": "yes"}),
            "postgres": psycopg.OperationalError(SECRET),
            "redis": redis.ConnectionError(SECRET),
            "defect": RuntimeError(SECRET),
            "langserve": RequestValidationError([{"loc": ("question",), "msg": "bad", "type": "x"}]),
        }[what]

    transport = httpx.ASGITransport(app=Observed(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://olav") as client:
        yield client


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, str]:
    assert answer.status_code == status
    document = answer.json()
    assert list(document) == ["error"]
    assert document["error"]["code"] == code
    assert document["error"]["request_id"] == answer.headers["x-request-id"]
    return dict(document["error"])


async def test_a_request_id_is_made_or_taken_over(http: httpx.AsyncClient) -> None:
    made = [(await http.post("/items/1", json={"name": "a"})).headers["x-request-id"] for _ in range(2)]
    assert len({uuid.UUID(one) for one in made}) == 2
    given = await http.post("/items/1", json={"name": "a"}, headers={"X-Request-ID": "abc-1.2_3"})
    assert given.headers["x-request-id"] == "abc-1.2_3"


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "a\tb", '"><script>'])
async def test_a_request_id_that_is_none_is_replaced(http: httpx.AsyncClient, given: str) -> None:
    answer = await http.get("/nowhere", headers={"X-Request-ID": given})
    assert uuid.UUID(answer.headers["x-request-id"])


async def test_unknown_routes_and_methods(http: httpx.AsyncClient) -> None:
    error_of(await http.get("/nowhere"), 404, "not_found")
    error_of(await http.delete("/items/1"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/items/1", {}, "name"),
        ("/items/1", {"name": 1}, "name"),
        ("/items/1", {"name": "a", "parts": [1, "x"]}, "parts.1"),
        ("/items/x", {"name": "a"}, "number"),
        ("/items/1", [], "body"),
    ],
)
async def test_a_wrong_field_is_named(http: httpx.AsyncClient, path: str, body: object, field: str) -> None:
    error = error_of(await http.post(path, json=body), 422, "invalid_request")
    assert error["field"] == field
    assert error["message"].startswith(field)


async def test_langserves_fields_are_the_inputs(http: httpx.AsyncClient) -> None:
    error = error_of(await http.get("/raise/langserve"), 422, "invalid_request")
    assert error["field"] == "input.question"


@pytest.mark.parametrize("body", [b"{", b'{"name": "\xff"}', b"[" * 100_000])
async def test_what_is_no_json(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/items/1", content=body, headers={"Content-Type": "application/json"})
    error_of(answer, 400, "bad_request")


async def test_a_body_too_large(http: httpx.AsyncClient) -> None:
    fits = json.dumps({"name": "a" * (LARGEST_BODY - 20)})
    assert (await http.post("/items/1", content=fits, headers={"Content-Type": "application/json"})).is_success
    answer = await http.post("/items/1", content=fits + " " * 20, headers={"Content-Type": "application/json"})
    error_of(answer, 413, "too_large")


async def test_a_refusal_keeps_its_headers(http: httpx.AsyncClient) -> None:
    answer = await http.get("/raise/refusal")
    assert error_of(answer, 409, "busy")["field"] == "name"
    assert answer.headers["x-more"] == "yes"


@pytest.mark.parametrize("service", ["postgres", "redis"])
async def test_a_service_that_is_gone(http: httpx.AsyncClient, service: str) -> None:
    answer = await http.get(f"/raise/{service}")
    error_of(answer, 503, f"{service}_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "hunter2" not in answer.text


async def test_a_defect_is_a_500_without_internals(http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]) -> None:
    answer = await http.get("/raise/defect")
    error_of(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    logged = capsys.readouterr().out
    assert answer.headers["x-request-id"] in logged
    assert "RuntimeError" in logged
