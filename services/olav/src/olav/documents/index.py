"""The index: its template, its mapping, and what is in it."""

import base64
import hashlib
import json
import struct
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any

from opensearchpy import AsyncOpenSearch
from opensearchpy.helpers import async_bulk
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

INDEX = "olav-documents"

Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]

# Vectors are bytes (big-endian float32), not numbers: the doc values of a numeric field come back sorted. No k-NN
# field: that plugin is not in every OpenSearch, and the same search has to work on each.
_TEMPLATE: dict[str, Any] = {
    "index_patterns": [f"{INDEX}*"],
    "priority": 100,
    "version": 1,
    "template": {
        "settings": {"number_of_shards": 1, "number_of_replicas": 0},
        "mappings": {
            "dynamic": "strict",
            "properties": {
                "title": {"type": "text", "analyzer": "english"},
                "category": {"type": "keyword"},
                "text": {"type": "text", "analyzer": "english"},
                "digest": {"type": "keyword"},
                "vector": {"type": "binary", "doc_values": True},
            },
        },
    },
}


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    title: str = Field(min_length=1)
    category: str = Field(min_length=1)
    text: str = Field(min_length=1)


def shipped() -> list[Document]:
    """The documents that come with this program."""
    return TypeAdapter(list[Document]).validate_json(files("olav.documents").joinpath("corpus.json").read_bytes())


async def prepare(client: AsyncOpenSearch) -> None:
    """The template and the index; one that is there stays as it is. One at a time. Raises OpenSearch's errors."""
    await client.indices.put_index_template(name=INDEX, body=_TEMPLATE)
    if not await client.indices.exists(index=INDEX):
        await client.indices.create(index=INDEX)


async def load(client: AsyncOpenSearch, documents: Sequence[Document], embed: Embed, *, model: str) -> int:
    """Put in what is missing, was changed, or has vectors of another `model`; returns how many. Found at once after.

    Raises OpenSearch's errors, and those of `embed`.
    """
    digests = {document.id: _digest(document, model) for document in documents}
    present = await client.mget(index=INDEX, body={"ids": list(digests)}, _source_includes="digest")
    known = {item["_id"]: item["_source"].get("digest") for item in present["docs"] if item["found"]}
    wanted = [document for document in documents if known.get(document.id) != digests[document.id]]
    if not wanted:
        return 0
    vectors = await embed([f"{document.title}\n{document.text}" for document in wanted])
    actions = [
        {
            "_op_type": "index",
            "_index": INDEX,
            "_id": document.id,
            "_source": {
                **document.model_dump(exclude={"id"}),
                "digest": digests[document.id],
                "vector": encoded(vector),
            },
        }
        for document, vector in zip(wanted, vectors, strict=True)
    ]
    await async_bulk(client, actions, refresh="true")
    return len(wanted)


def encoded(vector: Sequence[float]) -> str:
    """As a binary field takes it."""
    return base64.b64encode(struct.pack(f">{len(vector)}f", *vector)).decode()


def _digest(document: Document, model: str) -> str:
    return hashlib.sha256(json.dumps([model, document.model_dump()], sort_keys=True).encode()).hexdigest()
