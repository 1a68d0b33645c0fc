"""Every answer has a request id; every error has the one body, and a defect shows nothing of itself."""

import json
import uuid
from collections.abc import AsyncIterator

import httpx
import psycopg
import pytest
from chassis.app import Api
from chassis.database import GONE
from chassis.errors import ApiError, unavailable
from chassis.observe import LARGEST_BODY
from chassis.settings import ServiceSettings
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send

SECRET = "the password is hunter2"  # noqa: S105


class Item(BaseModel):
    name: str
    parts: list[int] = []


class Sealed:
    """Middleware of a service's own, which refuses as it likes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/sealed":
            raise RuntimeError(SECRET)
        await self._app(scope, receive, send)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    gone: dict[type[Exception], ApiError] = {kind: unavailable("postgres") for kind in GONE}
    app = Api("shop", "1.2.3", ServiceSettings(), prefix="errors", gone=gone, around=Sealed)

    @app.post("/items/{number}")
    async def make(number: int, item: Item) -> Item:
        return item

    @app.delete("/items/{number}")
    async def drop(number: int) -> None: ...

    @app.get("/raise/{what}")
    async def fail(what: str) -> None:
        raise {
            "refusal": ApiError(409, "busy", "not now", field="name", known=["a"], headers={"X-More": "yes"}),
            "postgres": psycopg.OperationalError(SECRET),
            "defect": RuntimeError(SECRET),
        }[what]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://shop") as client:
        yield client


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, object]:
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
    error_of(await http.post("/items/1/", json={"name": "a"}), 404, "not_found")
    answer = await http.put("/items/1")
    error_of(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "DELETE, POST"


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
    assert str(error["message"]).startswith(field)


@pytest.mark.parametrize("body", [b"{", b'{"name": "\xff"}', b"[" * 100_000])
async def test_what_is_no_json(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post("/items/1", content=body, headers={"Content-Type": "application/json"})
    error_of(answer, 400, "bad_request")


async def test_a_body_too_large(http: httpx.AsyncClient) -> None:
    fits = json.dumps({"name": "a" * (LARGEST_BODY - 20)})
    assert (await http.post("/items/1", content=fits, headers={"Content-Type": "application/json"})).is_success
    answer = await http.post("/items/1", content=fits + " " * 20, headers={"Content-Type": "application/json"})
    error_of(answer, 413, "too_large")


async def test_a_refusal_keeps_its_parts(http: httpx.AsyncClient) -> None:
    answer = await http.get("/raise/refusal")
    error = error_of(answer, 409, "busy")
    assert (error["field"], error["known"], answer.headers["x-more"]) == ("name", ["a"], "yes")


async def test_a_service_that_is_gone(http: httpx.AsyncClient) -> None:
    answer = await http.get("/raise/postgres")
    error_of(answer, 503, "postgres_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("path", ["/raise/defect", "/sealed"])
async def test_a_defect_is_a_500_without_internals(
    http: httpx.AsyncClient, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    answer = await http.get(path)
    error_of(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    logged = capsys.readouterr().out
    assert answer.headers["x-request-id"] in logged
    assert "RuntimeError" in logged


async def test_requests_are_counted_by_the_pattern_of_their_route(http: httpx.AsyncClient) -> None:
    for number in range(3):
        await http.delete(f"/items/{number}")
    text = (await http.get("/metrics")).text
    assert 'errors_http_requests_total{method="DELETE",route="/items/{number}",status="200"} 3.0' in text
    assert "/items/1" not in text


async def test_the_openapi_document_says_which_errors_there_are(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    made, dropped = document["paths"]["/items/{number}"]["post"], document["paths"]["/items/{number}"]["delete"]
    assert set(made["responses"]) == {"200", "400", "413", "422", "503"}
    assert set(dropped["responses"]) == {"200", "422", "503"}
    assert set(document["paths"]["/health"]["get"]["responses"]) == {"200", "503"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    refused = made["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused == {"$ref": "#/components/schemas/ErrorBody"}
