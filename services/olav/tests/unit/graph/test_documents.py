"""What can be told of documents without OpenSearch: how rankings are merged, and what its failures become."""

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from chassis.errors import ApiError
from doubles.model_server import serving
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from olav.documents import Documents
from olav.documents.index import encoded
from olav.documents.search import words
from opensearchpy.exceptions import TransportError


def hit(name: str) -> dict[str, Any]:
    return {"_id": name, "_score": 1.0, "_source": {"title": name.upper(), "text": "…"}}


class Engine:
    """Answers every search with `status` and `responses`."""

    def __init__(self) -> None:
        self.status = 200
        self.responses: list[dict[str, Any]] = []
        self.app = FastAPI()
        self.app.post("/olav-documents/_msearch")(self._answer)

    async def _answer(self) -> JSONResponse:
        return JSONResponse({"responses": self.responses, "status": self.status}, self.status)


@pytest.fixture(scope="module")
def serving_engine() -> Iterator[tuple[Engine, str]]:
    engine = Engine()
    with serving(engine.app) as url:
        yield engine, url


@pytest.fixture
def engine(serving_engine: tuple[Engine, str]) -> tuple[Engine, str]:
    serving_engine[0].status = 200
    serving_engine[0].responses = [
        {"hits": {"hits": [hit("a"), hit("b"), hit("c")]}},
        {"hits": {"hits": [hit("b"), hit("a"), hit("d")]}},
    ]
    return serving_engine


async def test_two_rankings_become_one(engine: tuple[Engine, str]) -> None:
    async with Documents(engine[1]) as documents:
        found = await documents.search("why", [1.0, 0.0], category="search")
        best = await documents.search("why", [1.0, 0.0], category="search", limit=1)
    assert [document["id"] for document in found] == ["a", "b", "c", "d"]
    assert found[0] == {"id": "a", "title": "A", "text": "…", "score": 0.9919}
    assert found[2]["score"] == found[3]["score"] < 0.5
    assert [document["id"] for document in best] == ["a"]


async def test_first_in_both_is_the_best_there_can_be(engine: tuple[Engine, str]) -> None:
    engine[0].responses = [{"hits": {"hits": [hit("a")]}}, {"hits": {"hits": [hit("a")]}}]
    async with Documents(engine[1]) as documents:
        assert (await documents.search("why", [1.0, 0.0], category="search"))[0]["score"] == 1.0


@pytest.mark.parametrize(
    ("status", "inner"), [(503, None), (429, None), (502, None), (200, 503), (200, 429), (404, None), (200, 404)]
)
async def test_what_it_cannot_do_now_is_a_503_that_names_it(
    engine: tuple[Engine, str], status: int, inner: int | None
) -> None:
    engine[0].status = status
    if inner:
        engine[0].responses[1] = {"error": {"type": "some_exception"}, "status": inner}
    async with Documents(engine[1]) as documents:
        with pytest.raises(ApiError) as caught:
            await documents.search("why", [1.0, 0.0], category="search")
    assert (caught.value.status_code, caught.value.code) == (503, "opensearch_unavailable")
    assert ("olav.init" in str(caught.value.detail)) == (404 in (status, inner))


@pytest.mark.parametrize(("status", "inner"), [(400, None), (200, 400)])
async def test_a_query_that_it_does_not_understand_is_a_defect(
    engine: tuple[Engine, str], status: int, inner: int | None
) -> None:
    engine[0].status = status
    if inner:
        engine[0].responses[0] = {"error": {"type": "parsing_exception"}, "status": inner}
    async with Documents(engine[1]) as documents:
        with pytest.raises(TransportError):
            await documents.search("why", [1.0, 0.0], category="search")


async def test_one_that_is_away_is_a_503_at_once() -> None:
    async with Documents("http://127.0.0.1:1") as documents:
        with pytest.raises(ApiError, match="opensearch cannot be reached"):
            await documents.search("why", [1.0, 0.0], category="search")


def test_vectors_are_big_endian_floats() -> None:
    assert struct.unpack(">3f", base64.b64decode(encoded([1.0, -0.5, 2.0]))) == (1.0, -0.5, 2.0)


def test_a_question_is_searched_for_by_its_first_distinct_words() -> None:
    assert words("Why, why does the heap… the heap grow?") == "Why why does the heap grow"
    assert words(" ".join(f"w{number}" for number in range(800))).split() == [f"w{number}" for number in range(400)]
    assert words("内存 不足") == "内存 不足"
    assert words("?!") == ""
