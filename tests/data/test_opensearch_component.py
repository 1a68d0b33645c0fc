"""The OpenSearch component as people use it: up, status, data that stays, reset."""

from __future__ import annotations

import httpx

from tests.driver_command import Ephemera, until

_DEADLINE_SECONDS = 60.0


def _up(ephemera: Ephemera, *arguments: str) -> str:
    """Where it answers."""
    done = ephemera("up", "search", "--output", "json", *arguments)
    assert done.code == 0, done.out
    service = done.json["services"]["search"]
    assert service["capabilities"]["version"] == "2.16.0"
    return str(service["endpoints"]["http"]["url"])


def test_it_is_ready_keeps_its_data_and_brings_it_back(ephemera: Ephemera) -> None:
    with httpx.Client(base_url=_up(ephemera), timeout=_DEADLINE_SECONDS) as client:
        assert client.get("/_cluster/health").json()["status"] in ("green", "yellow")
        assert client.put("/books/_doc/1", json={"a": 1}).status_code == 404, "auto_create_index is as it was set"
        assert client.put("/album").status_code == 200
        assert client.put("/album/_doc/1?refresh=true", json={"a": 1}).status_code == 201
        assert ephemera("reset", "search", "--remember").code == 0
        assert client.delete("/album/_doc/1?refresh=true").status_code == 200
        done = ephemera("restart", "search", "--stack", ephemera.stack("search"))
        assert done.code == 0, done.err
        assert client.get("/album/_doc/1").status_code == 404, "it came back without its data"
        [restored] = ephemera("reset", "search", "--output", "json").json["services"]
        assert restored["did"] == "1 indexes put back"
        assert client.get("/album/_doc/1").json()["_source"] == {"a": 1}
        assert client.get("/_nodes/jvm").json()["nodes"].popitem()[1]["jvm"]["mem"]["heap_max_in_bytes"] < 410 * 2**20
    [status] = ephemera("status", "search", "--output", "json").json["services"]
    assert status["up"]
    until(lambda: _health(ephemera) == "healthy", _DEADLINE_SECONDS)
    assert ephemera("down", "search").code == 0
    assert ephemera.left() == []


def _health(ephemera: Ephemera) -> str:
    [status] = ephemera("status", "search", "--output", "json").json["services"]
    return str(status["health"])


def test_where_nothing_is_published_it_is_asked_inside(ephemera: Ephemera) -> None:
    done = ephemera("up", "search", "--expose", "none")
    assert done.code == 0, done.err
    script = "exec 3<>/dev/tcp/127.0.0.1/9200; printf 'PUT /album HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3"
    assert "200" in ephemera("exec", "-s", "search", "search", "--", "bash", "-c", script).out
    [restored] = ephemera("reset", "search", "--output", "json").json["services"]
    assert restored["did"] == "1 dropped"
