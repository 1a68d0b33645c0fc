"""The local OpenSearch image: the official one's interface, hardened, asked by a real client."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionError as Unreachable
from opensearchpy.exceptions import TransportError
from opensearchpy.helpers import bulk

from ephemera.images import ensure
from ephemera.model.images import EngineImage

_ADDRESS = "127.83.254.2"
_DEADLINE_SECONDS = 120.0
_DATA = "/usr/share/opensearch/data"
_HARDENED = {
    "cap_drop": ["ALL"],
    "read_only": True,
    "init": True,
    "security_opt": ["no-new-privileges"],
    "mem_limit": "1g",
    "tmpfs": {"/tmp": "size=64m", "/usr/share/opensearch/logs": "mode=1777"},  # noqa: S108 - in the container
}
_SETTINGS = {"discovery.type": "single-node", "cluster.name": "seekers", "DISABLE_SECURITY_PLUGIN": "true"}
_BOOKS = [
    {"title": "The Sea Wolf", "year": 1904, "shelf": "novel", "meaning": [1.0, 0.0]},
    {"title": "Moby Dick, or the Whale of the Sea", "year": 1851, "shelf": "novel", "meaning": [0.8, 0.6]},
    {"title": "A Treatise on Bees", "year": 1900, "shelf": "science", "meaning": [0.0, 1.0]},
]
Start = Callable[..., Any]


@pytest.fixture(scope="module")
def image() -> str:
    wanted = EngineImage(name="opensearch")
    return ensure([wanted], "local")[wanted]


@pytest.fixture(scope="module")
def start(client: docker.DockerClient, image: str) -> Iterator[Start]:
    """Starts containers of the image, hardened, on one volume; a client of one that answers."""
    name = f"test-opensearch-{secrets.token_hex(4)}"
    volume = client.volumes.create(name)
    started: list[Any] = []
    connections: list[OpenSearch] = []

    def starting(command: list[str] | None = None, **variables: str) -> tuple[Any, OpenSearch]:
        container = client.containers.run(
            image,
            command,
            detach=True,
            environment={**_SETTINGS, **variables},
            ports={"9200/tcp": (_ADDRESS, None)},
            volumes={name: {"bind": _DATA}},
            **_HARDENED,
        )
        started.append(container)
        container.reload()
        port = int(container.ports["9200/tcp"][0]["HostPort"])
        connection = OpenSearch([{"host": _ADDRESS, "port": port}], max_retries=0)
        connections.append(connection)
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            try:
                connection.cluster.health(params={"wait_for_status": "yellow"})
                return container, connection
            except (Unreachable, TransportError):
                container.reload()
                assert container.status == "running", container.logs().decode()
                assert time.monotonic() < deadline
                time.sleep(0.05)

    yield starting
    for connection in connections:
        connection.close()
    for container in started:
        container.remove(force=True, v=True)
    volume.remove(force=True)


@pytest.fixture(scope="module")
def running(start: Start) -> tuple[Any, OpenSearch]:
    """One server for the tests that do not end it."""
    container, connection = start(**{"node.attr.shelf": "upper"})
    return container, connection


@pytest.fixture
def books(running: tuple[Any, OpenSearch]) -> Iterator[OpenSearch]:
    _, connection = running
    properties = {"title": {"type": "text"}, "shelf": {"type": "keyword"}, "meaning": {"type": "float"}}
    settings = {"number_of_shards": 2, "number_of_replicas": 0}
    connection.indices.create(index="books", body={"settings": settings, "mappings": {"properties": properties}})
    made, failed = bulk(connection, [{"_index": "books", "_id": each["year"], **each} for each in _BOOKS], refresh=True)
    assert (made, failed) == (len(_BOOKS), [])
    yield connection
    connection.indices.delete(index="books")


def _titles(found: dict[str, Any]) -> list[str]:
    return [hit["_source"]["title"] for hit in found["hits"]["hits"]]


def test_it_is_the_version_that_is_meant_as_nobody_special(running: tuple[Any, OpenSearch]) -> None:
    container, connection = running
    told = connection.info()
    assert (told["version"]["number"], told["cluster_name"]) == ("2.16.0", "seekers")
    owners = {row[0] for row in container.top(ps_args="-eo uid,pid")["Processes"]}
    assert owners == {"1000"}


def test_variables_are_the_nodes_settings(running: tuple[Any, OpenSearch]) -> None:
    _, connection = running
    [node] = connection.nodes.info()["nodes"].values()
    assert node["attributes"]["shelf"] == "upper"
    assert {"cluster_manager", "data", "ingest"} <= set(node["roles"])
    assert {"-Xms512m", "-Xmx512m"} <= set(node["jvm"]["input_arguments"])


def test_it_starts_from_its_archive_of_classes(running: tuple[Any, OpenSearch]) -> None:
    container, _ = running
    code, said = container.exec_run(["sh", "-c", "grep -h opensearch.jsa /proc/[0-9]*/maps"])
    assert code == 0, said.decode()


def test_text_is_searched_in_the_order_of_relevance(books: OpenSearch) -> None:
    assert _titles(books.search(index="books", body={"query": {"match": {"title": "sea"}}})) == [
        "The Sea Wolf",
        "Moby Dick, or the Whale of the Sea",
    ]


def test_numbers_are_aggregated(books: OpenSearch) -> None:
    asked = {
        "size": 0,
        "aggs": {"shelves": {"terms": {"field": "shelf"}, "aggs": {"first": {"min": {"field": "year"}}}}},
    }
    buckets = books.search(index="books", body=asked)["aggregations"]["shelves"]["buckets"]
    assert [(each["key"], each["doc_count"], each["first"]["value"]) for each in buckets] == [
        ("novel", 2, 1851.0),
        ("science", 1, 1900.0),
    ]


def test_vectors_are_compared_by_a_script(books: OpenSearch) -> None:
    source = (
        "double sum = 0; for (int i = 0; i < 2; i++) { sum += params.by[i] * params._source.meaning[i]; } return sum"
    )
    script = {"source": source, "params": {"by": [0.0, 1.0]}}
    found = books.search(
        index="books", body={"query": {"script_score": {"query": {"match_all": {}}, "script": script}}}
    )
    assert _titles(found) == [
        "A Treatise on Bees",
        "Moby Dick, or the Whale of the Sea",
        "The Sea Wolf",
    ]
    assert found["hits"]["hits"][1]["_score"] == pytest.approx(0.6)


def test_pipeline_changes_documents(books: OpenSearch) -> None:
    processors = [
        {"grok": {"field": "title", "patterns": ["%{WORD:first}"]}},
        {"script": {"source": "ctx.age = 2000 - ctx.year"}},
        {"uppercase": {"field": "shelf"}},
    ]
    books.ingest.put_pipeline(id="stamp", body={"processors": processors})
    books.index(index="books", id="new", body=_BOOKS[0], params={"pipeline": "stamp"})
    found = books.get(index="books", id="new")["_source"]
    assert (found["first"], found["age"], found["shelf"]) == ("The", 96, "NOVEL")
    books.ingest.delete_pipeline(id="stamp")


@pytest.mark.parametrize("language", ["thai", "german", "cjk"])
def test_languages_are_there(running: tuple[Any, OpenSearch], language: str) -> None:
    _, connection = running
    asked = {"analyzer": language, "text": "สวัสดี Häuser 東京"}
    assert connection.indices.analyze(body=asked)["tokens"]


def test_it_ends_cleanly_and_data_is_kept_in_its_volume(start: Start, running: tuple[Any, OpenSearch]) -> None:
    container, connection = running
    connection.index(index="kept", id="1", body={"a": 1})
    container.stop(timeout=30)
    assert container.wait()["StatusCode"] == 143  # as Java ends on SIGTERM, having closed
    assert b"closed" in container.logs(tail=1)
    _, again = start(OPENSEARCH_JAVA_OPTS="-Xms384m -Xmx384m")
    assert again.get(index="kept", id="1")["_source"] == {"a": 1}
    [node] = again.nodes.info()["nodes"].values()
    assert node["jvm"]["mem"]["heap_max_in_bytes"] < 400 * 2**20


@pytest.mark.parametrize(
    ("command", "variables", "said"),
    [
        (None, {"DISABLE_SECURITY_PLUGIN": "false"}, "there is no security plugin in it: set DISABLE_SECURITY_PLUGIN"),
        (None, {"plugins.security.disabled": "false"}, "there is no security plugin in this image"),
        (None, {"no.such.setting": "1"}, "unknown setting [no.such.setting]"),
        (["-Eno.such.setting=1"], {}, "unknown setting [no.such.setting]"),
        (["--verbose"], {}, "argument '--verbose' is not known: give -Ename=value"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(
    client: docker.DockerClient, image: str, command: list[str] | None, variables: dict[str, str], said: str
) -> None:
    container = client.containers.run(image, command, detach=True, environment={**_SETTINGS, **variables}, **_HARDENED)
    try:
        assert container.wait(timeout=_DEADLINE_SECONDS)["StatusCode"] == 1
        last = container.logs(tail=1).decode()
        assert last.startswith("opensearch image: ")
        assert said in last
    finally:
        container.remove(force=True, v=True)


def test_other_commands_are_run_as_they_are(client: docker.DockerClient, image: str) -> None:
    container = client.containers.run(image, ["echo", "hello"], detach=True)
    try:
        assert container.wait()["StatusCode"] == 0
        assert container.logs() == b"hello\n"
    finally:
        container.remove(v=True)  # `remove=True` would leave the image's volume
