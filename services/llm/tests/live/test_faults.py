"""Faults: slow, failing, cut; by headers and by the admin endpoint; and what the record says of them."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from chassis.testing import wait_until
from live.harness import Double

CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "one two"}]}
EMBED: dict[str, Any] = {"model": "text-embedding-3-small", "input": "one"}
NORMAL = {
    "delay_ms": 0,
    "chunk_delay_ms": 0,
    "fail_status": None,
    "retry_after_ms": 100,
    "cut_after": None,
    "times": None,
    "endpoint": None,
}


def _chat(double: Double, **headers: str) -> httpx.Response:
    asked = {f"x-double-{name.replace('_', '-')}": value for name, value in headers.items()}
    return double.http.post("/v1/chat/completions", json=CHAT, headers=asked)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, "invalid_request_error", "invalid_api_key"),
        (429, "requests", "rate_limit_exceeded"),
        (500, "server_error", None),
        (503, "server_error", None),
    ],
)
def test_a_header_makes_one_request_fail(double: Double, status: int, kind: str, code: str | None) -> None:
    failed = _chat(double, fail=str(status))
    assert failed.status_code == status
    assert failed.json()["error"] | {"message": ""} == {"message": "", "type": kind, "param": None, "code": code}
    assert ("retry-after" in failed.headers) == (status == 429)
    assert _chat(double).status_code == 200


def test_the_client_knows_the_errors(double: Double) -> None:
    wanted: Any = CHAT
    for status, error in (
        (401, openai.AuthenticationError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ):
        with pytest.raises(error):
            double.openai.chat.completions.create(**wanted, extra_headers={"x-double-fail": str(status)})


def test_a_header_makes_one_request_slow(double: Double) -> None:
    started = time.monotonic()
    assert _chat(double, delay_ms="300").status_code == 200
    assert time.monotonic() - started >= 0.3
    assert double.seen()[0]["faults"] == {"delay_ms": 300}


def test_a_slow_request_keeps_no_other_waiting(double: Double) -> None:
    double.behave(delay_ms=60_000, times=1)
    with pytest.raises(httpx.ReadTimeout):
        double.http.post("/v1/chat/completions", json=CHAT, timeout=1.0)
    assert _chat(double).status_code == 200
    # The client that went away is noticed, long before its time is over.
    wait_until(lambda: double.seen()[0]["outcome"] == "aborted", "the first request is over")


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_stream_is_cut(double: Double, after: int) -> None:
    def stream(headers: dict[str, str]) -> Iterator[bytes]:
        asked = CHAT | {"stream": True}
        with double.http.stream("POST", "/v1/chat/completions", json=asked, headers=headers) as response:
            yield from response.iter_raw()

    received: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        received.extend(stream({"x-double-cut-after": str(after)}))
    assert b"".join(received).count(b"data: ") == after
    assert double.seen()[0]["outcome"] == "cut"


def test_the_client_knows_that_a_stream_was_cut(double: Double) -> None:
    double.behave(cut_after=3, times=1)
    wanted: Any = CHAT
    chunks: list[Any] = []
    with pytest.raises(openai.APIConnectionError):
        chunks.extend(double.openai.chat.completions.create(**wanted, stream=True))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Answer", " to"]


def test_a_cut_after_the_end_and_of_no_stream_is_none(double: Double) -> None:
    assert _chat(double, cut_after="0").status_code == 200
    whole = double.http.post(
        "/v1/chat/completions", json=CHAT | {"stream": True}, headers={"x-double-cut-after": "1000"}
    )
    assert whole.text.endswith("data: [DONE]\n\n")
    assert [seen["outcome"] for seen in double.seen()] == ["answered", "answered"]


def test_a_client_that_leaves_a_stream_is_noticed(double: Double) -> None:
    double.behave(chunk_delay_ms=50)
    with double.http.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as stream:
        next(stream.iter_raw())
    wait_until(lambda: double.seen()[0]["outcome"] == "aborted", "the stream is over")


def test_behaviour_lasts_so_many_times(double: Double) -> None:
    double.behave(fail_status=500, times=2)
    assert double.http.get("/admin/behaviour").json() == NORMAL | {"fail_status": 500, "times": 2}
    assert [_chat(double).status_code for _ in range(2)] == [500, 500]
    assert double.http.get("/admin/behaviour").json() == NORMAL
    assert _chat(double).status_code == 200


def test_behaviour_lasts_until_it_is_reset(double: Double) -> None:
    double.behave(fail_status=429, retry_after_ms=1500)
    limited = [_chat(double) for _ in range(3)]
    assert {answer.status_code for answer in limited} == {429}
    assert (limited[0].headers["retry-after"], limited[0].headers["retry-after-ms"]) == ("2", "1500")
    assert double.http.delete("/admin/behaviour").json() == NORMAL
    assert _chat(double).status_code == 200


def test_behaviour_of_one_endpoint(double: Double) -> None:
    double.behave(fail_status=500, times=1, endpoint="chat")
    assert double.http.post("/v1/embeddings", json=EMBED).status_code == 200
    assert double.http.get("/v1/models").status_code == 200
    assert [_chat(double).status_code for _ in range(2)] == [500, 200]


def test_a_header_wins_over_the_behaviour(double: Double) -> None:
    double.behave(fail_status=500)
    assert _chat(double, fail="429").status_code == 429


def test_faults_do_not_touch_health_models_and_admin(double: Double) -> None:
    double.behave(fail_status=500)
    for path in ("/health", "/v1/models", "/admin/behaviour", "/admin/requests"):
        assert double.http.get(path).status_code == 200, path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("delay-ms", "soon"),
        ("delay-ms", "-1"),
        ("delay-ms", "700000"),
        ("chunk-delay-ms", "1.5"),
        ("fail", "418"),
        ("cut-after", ""),
    ],
)
def test_a_bad_header_is_refused(double: Double, name: str, value: str) -> None:
    refused = double.http.post("/v1/chat/completions", json=CHAT, headers={f"x-double-{name}": value})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == f"x-double-{name}"


@pytest.mark.parametrize(
    "behaviour",
    [{"fail_status": 418}, {"delay_ms": -1}, {"delay_ms": "10"}, {"times": 0}, {"cut": 1}, {"endpoint": "models"}, []],
    ids=str,
)
def test_a_bad_behaviour_is_refused_and_changes_nothing(double: Double, behaviour: object) -> None:
    double.behave(delay_ms=1)
    refused = double.http.put("/admin/behaviour", json=behaviour)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert double.http.get("/admin/behaviour").json() == NORMAL | {"delay_ms": 1}


def test_the_record_says_what_reached_the_model(double: Double) -> None:
    before = double.http.get("/admin/requests").json()["seen"]
    _chat(double)
    double.http.post("/v1/embeddings", json=EMBED)
    chat, embeddings = double.seen(before)
    assert (chat["number"], chat["method"], chat["path"]) == (before + 1, "POST", "/v1/chat/completions")
    assert (chat["body"], embeddings["body"]) == (CHAT, EMBED)
    assert (chat["status"], chat["outcome"], chat["faults"]) == (200, "answered", {})
    assert double.seen(before + 1) == [embeddings]
    assert double.seen(before + 2) == []


def test_the_record_is_bounded_in_number(double: Double) -> None:
    for _ in range(105):
        double.http.get("/v1/models")
    numbers = [seen["number"] for seen in double.seen()]
    assert numbers == list(range(numbers[0], numbers[0] + 100))


def test_the_record_is_bounded_in_size(double: Double) -> None:
    large = EMBED | {"input": "x " * 500_000}
    for _ in range(6):
        double.http.post("/v1/embeddings", json=large).raise_for_status()
    assert [len(seen["body"]["input"]) for seen in double.seen()] == [1_000_000] * 4
