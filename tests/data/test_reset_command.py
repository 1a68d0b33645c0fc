"""``ephemera reset`` as people use it: what was made at start stays, what came since goes, services run on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ephemera.docker.connection import connected
from tests.driver_command import Ephemera, until


def _sql(ephemera: Ephemera, statement: str) -> str:
    done = ephemera("exec", "-s", "store", "postgres", "--", "psql", "-U", "shop", "-d", "shop", "-qAtc", statement)
    assert done.code == 0, done.out
    return done.out.strip()


def _redis(ephemera: Ephemera, *command: str) -> str:
    return ephemera("exec", "-s", "store", "redis", "--", "redis-cli", *command).out.strip()


def _clerk(ephemera: Ephemera) -> Any:
    with connected() as client:
        return client.containers.get(f"{ephemera.stack('store')}-clerk")


def _up(ephemera: Ephemera, *arguments: str) -> None:
    done = ephemera("up", *arguments)
    assert done.code == 0, done.err


@pytest.mark.parametrize("arguments", [(), ("--expose", "none")], ids=["published", "nothing published"])
def test_data_is_as_it_was_when_it_became_ready_and_services_run_on(
    ephemera: Ephemera, arguments: Sequence[str]
) -> None:
    _up(ephemera, "store", *arguments)
    started = _clerk(ephemera).attrs["State"]["StartedAt"]
    first = _sql(ephemera, "SELECT min(n) FROM beats")
    for deed in (
        "INSERT INTO goods VALUES ('gadget'); CREATE TABLE more (x integer); DELETE FROM beats",
        "ALTER TABLE goods ADD price integer; DROP TABLE IF EXISTS more",
    ):
        _sql(ephemera, deed)
        _redis(ephemera, "SET", "a", "1")
        done = ephemera("reset", "store", "--output", "json")
        assert done.code == 0, done.out
        assert [each["service"] for each in done.json["services"]] == ["postgres", "redis"]
        assert done.json["stack"] == ephemera.stack("store")
        assert 0 < done.json["services"][0]["seconds"] <= done.json["seconds"] < 30
        assert _sql(ephemera, "SELECT string_agg(t::text, ' ') FROM goods t") == "(widget)"
        assert _sql(ephemera, "SELECT to_regclass('more') IS NULL, min(n) FROM beats") == f"t|{first}"
        assert _redis(ephemera, "DBSIZE") == "0"
        beats = _sql(ephemera, "SELECT count(*) FROM beats")
        until(lambda beats=beats: _sql(ephemera, "SELECT count(*) FROM beats") != beats, 10)  # type: ignore[misc]
    clerk = _clerk(ephemera)
    assert (clerk.status, clerk.attrs["State"]["StartedAt"]) == ("running", started)
    assert "ERROR" not in clerk.logs().decode()
    assert "FATAL" not in clerk.logs().decode()
    done = ephemera("reset", "--only", "redis")
    assert done.code == 0
    assert "redis: 0 keys put back" in done.err
    assert "postgres:" not in done.err
    assert ephemera("down").code == 0
    assert ephemera.left() == []


def test_an_up_that_changed_something_makes_another_ready_state_and_one_that_did_not_makes_none(
    ephemera: Ephemera,
) -> None:
    _up(ephemera, "store")
    kept = ephemera.state / "ephemera" / "scratch" / ephemera.stack("store") / "data" / "remembered.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    password = json.loads(ephemera("outputs", "store", "--format", "json", "--show-secrets").out)
    for service in password["services"].values():
        assert not [value for value in service["credentials"].values() if len(value) > 8 and value in kept.read_text()]
    for arguments, expected in ((("store",), "widget"), (("store", "-c", "revision=2"), "gadget,widget")):
        _sql(ephemera, "INSERT INTO goods VALUES ('gadget')")
        _up(ephemera, *arguments)
        assert ephemera("reset").code == 0
        assert _sql(ephemera, "SELECT string_agg(name, ',' ORDER BY name) FROM goods") == expected
    _sql(ephemera, "DELETE FROM goods")
    assert ephemera("reset", "--remember").code == 0
    _sql(ephemera, "INSERT INTO goods VALUES ('gadget')")
    assert ephemera("reset").code == 0
    assert _sql(ephemera, "SELECT count(*) FROM goods") == "0"
    kept.unlink()
    done = ephemera("reset", "--output", "json")
    assert (done.code, done.json["error"]["kind"]) == (2, "bad_input")
    assert "was not remembered" in done.json["error"]["message"]


def test_data_that_nothing_can_bring_back_is_refused_by_name(ephemera: Ephemera) -> None:
    def shelf(*command: str) -> str:
        return ephemera("exec", "-s", "files", "shelf", "--", "sh", "-c", *command).out

    _up(ephemera, "files")
    shelf("echo dirt > /tmp/dirt")
    done = ephemera("reset")
    assert done.code == 2
    assert f"'attic' (volume {ephemera.stack('files')}-attic)" in done.err
    assert "cellar" not in done.err
    assert shelf("cat /tmp/*") == "dirt\n"
    done = ephemera("reset", "--only", "shelf")
    assert "shelf: tidied" in done.err
    assert shelf("cat /tmp/*") == ""
    done = ephemera("reset", "--only", "shelves", "--output", "json")
    assert (done.code, done.json["error"]["kind"]) == (2, "unknown_name")
    # The program says that it does not matter; one that names what is none is refused before anything changes.
    _up(ephemera, "files", "-c", "attic=ephemera.model.data:NOTHING")
    assert ephemera("reset").code == 0
    done = ephemera("up", "files", "-c", "attic=own:NOBODY")
    assert done.code == 2
    assert "data of service 'attic': 'own:NOBODY' cannot be imported" in done.err
    assert ephemera("reset").code == 0


def test_environment_that_is_not_there_is_refused(ephemera: Ephemera) -> None:
    done = ephemera("reset", "store", "--output", "json")
    assert (done.code, done.json["error"]["kind"]) == (2, "no_such_environment")
    assert ephemera.left() == []
