"""The data of OpenSearch: indexes, streams, aliases, definitions and settings; what did not change is left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, OpenSearchException, RequestError, TransportError
from opensearchpy.exceptions import ConnectionError as Unreachable
from opensearchpy.helpers import bulk

from ephemera.components.opensearch_data import DATA
from ephemera.components.opensearch_http import Cluster
from ephemera.model.data import DataError
from tests.data.server import ADDRESS, Server, Service, running

_READY_SECONDS = 120.0
_PORT = 9200
_VARIABLES = {
    "discovery.type": "single-node",
    "path.repo": "/usr/share/opensearch/data/ephemera",
    "node.store.allow_mmap": "false",
}
_TMPFS = {"/tmp": "", "/usr/share/opensearch/logs": "mode=1777"}  # noqa: S108 - in the container
_UNCHANGED = "nothing had changed"
_SCRIPT = {"script": {"lang": "painless", "source": "1"}}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running("opensearch", _PORT, environment=_VARIABLES, tmpfs=_TMPFS, read_only=True, mem_limit="1g") as found:
        yield found


@pytest.fixture(scope="module")
def service(server: Server) -> Service:
    return server.service("search", {})


@pytest.fixture(scope="module")
def inside(server: Server) -> Service:
    """The same, with nothing published."""
    found = server.service("search", {})
    [endpoint] = found.outputs.endpoints.values()
    hidden = endpoint.model_copy(update={"host": None, "port": None, "url": None, "internal_port": _PORT})
    found.outputs = found.outputs.model_copy(update={"endpoints": {"http": hidden}})
    return found


@pytest.fixture(scope="module")
def connected(server: Server) -> Iterator[OpenSearch]:
    with OpenSearch([{"host": ADDRESS, "port": server.port}], max_retries=0, timeout=60) as found:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                found.cluster.health(params={"wait_for_status": "yellow"})
                break
            except (Unreachable, TransportError):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield found


@pytest.fixture
def client(connected: OpenSearch) -> OpenSearch:
    """An empty node with a bit of everything."""
    connected.indices.delete_data_stream(name="*")
    unlocked = {"index.blocks.write": None, "index.blocks.read_only": None}
    connected.indices.put_settings(index="*", body=unlocked, params={"expand_wildcards": "all", "ignore": 404})
    connected.indices.delete(index="*", params={"expand_wildcards": "open,closed"})
    mappings = {"properties": {"text": {"type": "text"}, "n": {"type": "long"}}}
    settings = {"number_of_replicas": 0, "number_of_shards": 2}
    for name in ("books", "letters", "ünïcode"):
        body = {"mappings": mappings, "settings": settings, "aliases": {f"all-{name}": {"filter": {"term": {"n": 1}}}}}
        connected.indices.create(index=name, body=body)
    bulk(
        connected,
        [
            {"_index": name, "_id": str(number), "text": f"number {number}", "n": number}
            for name in ("books", "letters", "ünïcode")
            for number in range(20)
        ],
    )
    connected.ingest.put_pipeline(id="stamp", body={"processors": [{"set": {"field": "seen", "value": True}}]})
    connected.transport.perform_request("PUT", "/_search/pipeline/few", body={"request_processors": []})
    connected.cluster.put_component_template(name="part", body={"template": {"settings": {"number_of_replicas": 0}}})
    stream = {"index_patterns": ["events-*"], "data_stream": {}, "composed_of": ["part"]}
    connected.indices.put_index_template(name="events", body=stream)
    connected.indices.put_template(name="old", body={"index_patterns": ["old-*"], "order": 3})
    connected.put_script(id="one", body=_SCRIPT)
    connected.index(index="events-here", body=_event("began"), params={"op_type": "create"})
    connected.cluster.put_settings(body={"persistent": {"action.auto_create_index": "true"}})
    return connected


def _event(what: str) -> dict[str, str]:
    return {"@timestamp": "2024-05-06T07:08:09Z", "what": what}


def _everything(client: OpenSearch) -> dict[str, Any]:
    """All that a client can see, but for what names a copy of an index and no content."""
    client.indices.refresh(index="*", params={"expand_wildcards": "open,hidden"})
    hits = client.search(index="*", params={"size": 1000, "version": "true", "expand_wildcards": "open,hidden"})
    indexes = client.indices.get(index="*", params={"expand_wildcards": "all"})
    for index in indexes.values():
        for volatile in ("uuid", "version", "history"):
            index["settings"]["index"].pop(volatile, None)
    return {
        "documents": {(hit["_index"], hit["_id"]): (hit["_source"], hit["_version"]) for hit in hits["hits"]["hits"]},
        "indexes": indexes,
        "streams": {
            each["name"]: [index["index_name"] for index in each["indices"]]
            for each in client.indices.get_data_stream()["data_streams"]
        },
        "templates": [client.indices.get_template(), client.indices.get_index_template()],
        "parts": client.cluster.get_component_template(),
        "pipelines": [client.ingest.get_pipeline(), client.transport.perform_request("GET", "/_search/pipeline")],
        "script": client.get_script(id="one"),
        "settings": client.cluster.get_settings(),
    }


def _change_documents(client: OpenSearch) -> None:
    client.index(index="books", id="new", body={"text": "new"})
    client.index(index="books", id="1", body={"text": "another"})
    client.delete(index="books", id="2")


def _change_definitions(client: OpenSearch) -> None:
    client.indices.put_mapping(index="books", body={"properties": {"more": {"type": "keyword"}}})
    client.indices.put_settings(index="letters", body={"index.refresh_interval": "7s"})
    client.indices.put_alias(index="books", name="further")
    client.indices.delete_alias(index="letters", name="all-letters")
    client.indices.put_alias(index="ünïcode", name="all-ünïcode", body={"filter": {"term": {"n": 2}}})


def _drop(client: OpenSearch) -> None:
    client.indices.delete(index="books,ünïcode")
    client.indices.delete_data_stream(name="events-here")


def _make_anew(client: OpenSearch) -> None:
    client.indices.delete(index="books")
    client.index(index="books", id="1", body={"n": "no number any more"})
    client.indices.delete_data_stream(name="events-here")
    client.index(index="events-here", body=_event("again"), params={"op_type": "create"})


def _create(client: OpenSearch) -> None:
    client.indices.create(index="created", body={"aliases": {"all-created": {}}})
    client.index(index="events-there", body=_event("began"), params={"op_type": "create"})
    client.ingest.put_pipeline(id="created", body={"processors": []})
    client.indices.put_template(name="created", body={"index_patterns": ["created-*"]})
    client.cluster.put_component_template(name="created", body={"template": {}})
    client.indices.put_index_template(
        name="created", body={"index_patterns": ["c-*"], "priority": 9, "composed_of": ["created"]}
    )
    client.put_script(id="created", body=_SCRIPT)


def _write_to_stream(client: OpenSearch) -> None:
    client.index(index="events-here", body=_event("went on"), params={"op_type": "create"})
    client.indices.rollover(alias="events-here")


def _undefine(client: OpenSearch) -> None:
    client.ingest.delete_pipeline(id="stamp")
    client.transport.perform_request("DELETE", "/_search/pipeline/few")
    client.indices.delete_template(name="old")
    client.put_script(id="one", body={"script": {"lang": "painless", "source": "2"}})
    client.cluster.put_component_template(name="part", body={"template": {"settings": {"number_of_replicas": 1}}})
    client.cluster.put_settings(
        body={"persistent": {"action.auto_create_index": None}, "transient": {"search.max_buckets": 100}}
    )


def _lock(client: OpenSearch) -> None:
    client.index(index="books", id="new", body={"text": "new"})
    client.indices.put_settings(index="books", body={"index.blocks.write": True})
    client.indices.put_settings(index="ünïcode", body={"index.blocks.read_only": True})
    client.indices.close(index="letters")


@pytest.mark.parametrize(
    "change",
    [_change_documents, _change_definitions, _drop, _make_anew, _create, _write_to_stream, _undefine, _lock],
)
def test_everything_comes_back(service: Service, client: OpenSearch, change: Any) -> None:
    remembered, before = DATA.remember(service), _everything(client)
    for _ in range(2):
        change(client)
        assert DATA.restore(service, remembered) != _UNCHANGED
        assert _everything(client) == before
        assert DATA.restore(service, remembered) == _UNCHANGED


def test_what_did_not_change_is_left_alone(service: Service, client: OpenSearch) -> None:
    remembered = DATA.remember(service)
    before = client.cat.indices(params={"h": "index,uuid", "s": "index"})
    client.index(index="books", id="new", body={"text": "new"})
    assert DATA.restore(service, remembered) == "1 indexes put back"
    assert client.cat.indices(params={"h": "index,uuid", "s": "index"}) == before


def test_nothing_can_be_remembered_too(service: Service, connected: OpenSearch) -> None:
    connected.indices.delete_data_stream(name="*")
    connected.indices.delete(index="*")
    remembered = DATA.remember(service)
    connected.index(index="created", body={"a": 1})
    assert DATA.restore(service, remembered) == "1 dropped"
    assert connected.indices.get(index="*") == {}


def test_last_state_is_the_one_that_is_come_back_to(service: Service, client: OpenSearch) -> None:
    DATA.remember(service)
    client.index(index="books", id="new", body={"text": "new"})
    remembered = DATA.remember(service)
    client.delete(index="books", id="new")
    DATA.restore(service, remembered)
    assert client.get(index="books", id="new")["_source"] == {"text": "new"}
    assert len(client.snapshot.get(repository="ephemera", snapshot="_all")["snapshots"]) == 1


def test_where_nothing_is_published_it_is_asked_inside(inside: Service, client: OpenSearch) -> None:
    remembered, before = DATA.remember(inside), _everything(client)
    _change_documents(client)
    _undefine(client)
    assert DATA.restore(inside, remembered) == "1 indexes put back, 7 definitions put back"
    assert _everything(client) == before


def test_clients_stay_and_may_write_meanwhile(service: Service, client: OpenSearch) -> None:
    """A service that writes all the time is refused for a moment, and goes on over the same connection."""
    remembered = DATA.remember(service)
    ended, written, surprises = threading.Event(), threading.Event(), []

    def write() -> None:
        while not ended.is_set():
            try:
                client.index(index="books", id="beat", body={"n": 1})
                written.set()
            except (AuthorizationException, RequestError):  # it is being closed (403), or is closed (400)
                ended.wait(0.01)
            except OpenSearchException as error:
                surprises.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            written.clear()
            assert written.wait(_READY_SECONDS)
            assert DATA.restore(service, remembered) != _UNCHANGED
    finally:
        ended.set()
        writer.join()
    assert surprises == []
    DATA.restore(service, remembered)
    assert client.exists(index="books", id="beat") is False


def test_what_is_written_while_it_is_remembered_is_brought_back_each_time(
    service: Service, client: OpenSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Cluster.ask

    def ask(cluster: Cluster, method: str, path: str, body: Any = None) -> Any:
        answer = asked(cluster, method, path, body)
        if method == "PUT" and "wait_for_completion" in path:
            client.index(index="books", id="late", body={"n": 1})
        return answer

    monkeypatch.setattr(Cluster, "ask", ask)
    remembered = DATA.remember(service)
    monkeypatch.undo()
    assert DATA.restore(service, remembered) == "1 indexes put back"
    assert client.exists(index="books", id="late") is False


def test_closed_index_cannot_be_remembered(service: Service, client: OpenSearch) -> None:
    client.indices.close(index="books")
    with pytest.raises(DataError, match="the data of 'search': books is closed: open or delete it"):
        DATA.remember(service)


def test_what_is_refused_is_told(service: Service, client: OpenSearch) -> None:
    remembered = DATA.remember(service)
    client.snapshot.delete(repository="ephemera", snapshot="*")
    client.index(index="books", id="new", body={"text": "new"})
    with pytest.raises(
        DataError, match=r"the data of 'search': POST /_snapshot/ephemera/\w+/_restore: .*does not exist"
    ):
        DATA.restore(service, remembered)


def test_node_that_does_not_answer_is_told(service: Service, inside: Service) -> None:
    for gone in (service, inside):
        [endpoint] = gone.outputs.endpoints.values()
        dead = endpoint.model_copy(update={"port": endpoint.port and 9, "internal_port": 9})
        silent = Service(gone.client, gone.container, gone.outputs.model_copy(update={"endpoints": {"x": dead}}), {})
        with pytest.raises(DataError, match=r"(?i)the data of .*connection refused"):
            DATA.remember(silent)


def test_it_survives_a_restart(server: Server, service: Service, client: OpenSearch) -> None:
    remembered, before = DATA.remember(service), _everything(client)
    client.index(index="books", id="new", body={"text": "new"})
    server.container.kill()
    server.container.start()
    with OpenSearch([{"host": ADDRESS, "port": server.port}], max_retries=0, timeout=60) as found:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                found.cluster.health(params={"wait_for_status": "green"})
                break
            except (Unreachable, TransportError):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert DATA.restore(server.service("search", {}), remembered) == "1 indexes put back"
        assert _everything(found) == before
