"""The search: by words and by vectors at once, the two rankings merged."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypedDict

from chassis.errors import ApiError, unavailable
from opensearchpy import AsyncOpenSearch
from opensearchpy.exceptions import ConnectionError as Unreachable
from opensearchpy.exceptions import TransportError

from olav.documents.index import INDEX

# Reciprocal rank fusion: ranks can be compared, the scores of words and of vectors cannot. 60 is the constant of its
# authors (Cormack, Clarke, Büttcher, SIGIR 2009).
_FUSION = 60
_CANDIDATES = 10
# Words of a question, each of which is looked for in two fields: a query may have 1,024 clauses in all.
_MOST_WORDS = 400

# The cosine, 1 added since a score is never negative. Vectors of another length are of another model: last.
_COSINE = """
if (doc['vector'].size() == 0) { return 0; }
def stored = doc['vector'].value;
int dimensions = params.query.length;
if (stored.length != 4 * dimensions) { return 0; }
byte[] bytes = stored.bytes;
int at = stored.offset;
double dot = 0;
double square = 0;
for (int i = 0; i < dimensions; i++) {
  int high = ((bytes[at] & 255) << 24) | ((bytes[at + 1] & 255) << 16);
  int bits = high | ((bytes[at + 2] & 255) << 8) | (bytes[at + 3] & 255);
  double value = Float.intBitsToFloat(bits);
  dot += params.query[i] * value;
  square += value * value;
  at += 4;
}
return square == 0 ? 0 : 1 + Math.max(-1, Math.min(1, dot / Math.sqrt(square)));
"""


class Found(TypedDict):
    """`score`: 1 when it is first by words and by vectors, towards 0 the further down."""

    id: str
    title: str
    text: str
    score: float


class Documents:
    """The index at `url`, for one event loop."""

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        # Without retries of its own: whoever asks is told at once, and may ask again.
        self.client = AsyncOpenSearch(url, timeout=timeout_seconds, max_retries=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def ping(self) -> None:
        """Raises OpenSearch's errors when the cluster does not answer within 2 s, or has lost data."""
        await self.client.cluster.health(params={"wait_for_status": "yellow", "timeout": "1s", "request_timeout": 2})

    async def search(self, question: str, vector: Sequence[float], *, category: str, limit: int = 4) -> list[Found]:
        """The best `limit` documents, best first; those of `category` are preferred. Raises ApiError."""
        by_words = {
            "bool": {
                "must": {"multi_match": {"query": words(question), "fields": ["title^2", "text"]}},
                "should": {"term": {"category": {"value": category, "boost": 2}}},
            }
        }
        by_vectors = {
            "script_score": {
                "query": {"match_all": {}},
                "script": {"source": _COSINE, "params": {"query": _unit(vector)}},
            }
        }
        asked: list[dict[str, Any]] = []
        for query in (by_words, by_vectors):
            asked += [{}, {"query": query, "size": _CANDIDATES, "_source": ["title", "text"]}]
        with _reached():
            answer = await self.client.msearch(index=INDEX, body=asked)
            rankings = [_hits(response) for response in answer["responses"]]
        return _merged(rankings)[:limit]


def words(question: str) -> str:
    """The question's distinct words in their order, as many as one query may have."""
    kept: dict[str, None] = {}
    room = _MOST_WORDS
    for word in re.findall(r"\w+", question):
        # Scripts without spaces are taken apart by the character, and what is longer than 255 is cut.
        room -= 0 if word in kept else 1 + len(word) // 255 if word.isascii() else len(word)
        if room < 0:
            break
        kept[word] = None
    return " ".join(kept)


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [value / length for value in vector] if length else list(vector)


def _hits(response: dict[str, Any]) -> list[dict[str, Any]]:
    if "error" in response:
        raise TransportError(response["status"], response["error"]["type"], response)
    hits: list[dict[str, Any]] = response["hits"]["hits"]
    return hits


def _merged(rankings: Sequence[list[dict[str, Any]]]) -> list[Found]:
    best = len(rankings) / (_FUSION + 1)
    scores: dict[str, float] = {}
    sources: dict[str, dict[str, str]] = {}
    for hits in rankings:
        for rank, hit in enumerate(hits, start=1):
            scores[hit["_id"]] = scores.get(hit["_id"], 0.0) + 1 / (_FUSION + rank) / best
            sources[hit["_id"]] = hit["_source"]
    order = sorted(scores, key=lambda name: (-scores[name], name))
    return [
        Found(id=name, title=sources[name]["title"], text=sources[name]["text"], score=round(scores[name], 4))
        for name in order
    ]


@contextmanager
def _reached() -> Iterator[None]:
    """What OpenSearch cannot do now is a 503 that names it; a query that it does not understand stays a defect."""
    try:
        yield
    except Unreachable as error:
        raise unavailable("opensearch") from error
    except TransportError as error:
        if error.status_code == 404:
            raise ApiError(
                503, "opensearch_unavailable", f"opensearch has no index {INDEX}: run python -m olav.init"
            ) from error
        if error.status_code in (429, 502, 503, 504):
            raise unavailable("opensearch") from error
        raise
