"""The process: refusals, bad input, logs, how it starts and ends."""

from collections.abc import Callable
from typing import Any

import pytest
from chassis.testing import keeps_its_word
from live.harness import KEY, Double

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nowhere", "/admin/behaviour", "/admin/requests", "/nowhere"])
@pytest.mark.parametrize("key", ["", "Bearer", "Bearer sk-other", f"Basic {KEY}", f"Bearer {KEY}x"])
def test_without_the_key_nothing_is_answered(double: Double, path: str, key: str) -> None:
    refused = double.http.get(path, headers={"authorization": key})
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "invalid_api_key"


def test_the_key_is_taken_as_azure_sends_it(double: Double) -> None:
    assert double.http.get("/v1/models", headers={"authorization": "", "api-key": KEY}).status_code == 200


def test_without_a_key_of_its_own_everybody_is_answered(start: Callable[..., Double]) -> None:
    free = start(LLM_DOUBLE_KEY="", LLM_DOUBLE_MODELS="only/this:7b")
    assert free.http.get("/admin/behaviour", headers={"authorization": ""}).status_code == 200
    listed = free.http.get("/v1/models", headers={"authorization": ""}).json()
    assert [model["id"] for model in listed["data"]] == ["only/this:7b"]
    assert free.http.get("/v1/models/only/this:7b").json()["id"] == "only/this:7b"
    assert free.http.post("/v1/chat/completions", json=CHAT).json()["error"]["code"] == "model_not_found"
    assert free.end() == 0


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("chat/completions", {}, "model"),
        ("chat/completions", CHAT | {"messages": []}, "messages"),
        ("chat/completions", CHAT | {"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        ("chat/completions", CHAT | {"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ("chat/completions", CHAT | {"temperature": 9}, "temperature"),
        ("chat/completions", CHAT | {"n": 3}, "n"),
        ("embeddings", {"model": "gpt-4o"}, "input"),
        ("embeddings", {"model": "gpt-4o", "input": ""}, "input.0"),
        ("embeddings", {"model": "gpt-4o", "input": []}, "input"),
        ("embeddings", {"model": "gpt-4o", "input": ["a", ""]}, "input.1"),
        ("embeddings", {"model": "gpt-4o", "input": [[]]}, "input.0"),
        ("embeddings", {"model": "gpt-4o", "input": [-1]}, "input"),
        ("embeddings", {"model": "gpt-4o", "input": "a", "dimensions": 5000}, "dimensions"),
        ("embeddings", {"model": "gpt-4o", "input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("embeddings", {"model": "gpt-4o", "input": ["a"] * 2049}, "input"),
    ],
)
def test_a_bad_field_is_named(double: Double, path: str, body: object, param: str) -> None:
    refused = double.http.post(f"/v1/{path}", json=body)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, None)
    assert error["message"].startswith(f"{param}: ")


def test_a_schema_that_nothing_fits_is_refused(double: Double) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"$ref": "#"}}}
    refused = double.http.post("/v1/chat/completions", json=CHAT | {"response_format": wanted})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "response_format.json_schema.schema")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"model": "\\ud800"}'])
def test_what_is_no_request_is_refused(double: Double, body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        refused = double.http.post(path, content=body, headers={"content-type": "application/json"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error"), refused.text


def test_not_a_number_is_no_json(double: Double) -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], "input": "x", "unknown": NaN}'
    refused = double.http.post("/v1/embeddings", content=body, headers={"content-type": "application/json"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "the body is not JSON: NaN is not JSON")


def test_half_of_a_surrogate_pair_is_no_text(double: Double) -> None:
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud83d%s"}], "input": "\\ud83d%s"}'
    kind = {"content-type": "application/json"}
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        half, whole = (
            double.http.post(path, content=body.replace(b"%s", end), headers=kind) for end in (b"", b"\\udc0e")
        )
        assert (half.status_code, whole.status_code) == (400, 200)
    assert [seen["body"] and seen["body"]["input"] for seen in double.seen()] == [None, "\U0001f40e"] * 2


def test_a_large_body_is_refused(double: Double) -> None:
    large = CHAT | {"messages": [{"role": "user", "content": "x" * (1024 * 1024)}]}
    refused = double.http.post("/v1/chat/completions", json=large)
    assert refused.status_code == 413
    assert double.seen()[0]["body"] is None
    assert double.http.get("/v1/models").status_code == 200


def test_unknown_routes_and_methods(double: Double) -> None:
    missing, wrong = double.http.get("/v1/nowhere"), double.http.get("/v1/embeddings")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "invalid_request_error")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert "/v1/chat/completions" in double.http.get("/openapi.json").json()["paths"]


def test_unknown_fields_are_ignored(double: Double) -> None:
    assert double.http.post("/v1/chat/completions", json=CHAT | {"user": "me", "temperature": None}).status_code == 200


@pytest.mark.timeout(300)
@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {}], ids=["with the key", "without"])
def test_its_openapi_document_is_true(double: Double, headers: dict[str, str]) -> None:
    keeps_its_word(double.url, headers=headers)


def test_the_log_has_lines_but_no_prompt_and_no_key(start: Callable[..., Double]) -> None:
    double = start(LOG_LEVEL="debug")
    double.openai.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "a word of mine"}])
    assert double.end() == 0
    log = double.log.read_text()
    assert '"path": "/v1/chat/completions"' in log
    assert "a word of mine" not in log
    assert KEY not in log
