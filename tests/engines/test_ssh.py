"""An engine on another machine, over SSH: an environment there is used as one here."""

from __future__ import annotations

import urllib.request

import psutil

from ephemera.lifecycle import removal
from tests.driver_command import until

from .conftest import Ephemera, Remote

_SECONDS = 15


def _get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - http, as the outputs say
        return int(answer.status)


def _answers(url: str) -> bool:
    try:
        return _get(url) == 200
    except OSError:
        return False


def _forwarders(stack: str) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if {"ephemera.docker.forwarder", stack} <= set(process.info["cmdline"] or ())]


def _objects(remote: Remote, command: Ephemera) -> list[str]:
    with remote.engine.client() as client:
        return [str(item) for item in removal.find(client, backend=command.backend)]


def test_environment_over_there_is_reached_here(away: Ephemera, remote: Remote) -> None:
    done = away("up", "web", "--output", "json")
    assert done.code == 0, done.err
    endpoint = done.json["services"]["web"]["endpoints"]["http"]
    assert endpoint["host"].startswith("127.83.")
    assert endpoint["port"] == 8000, "the standard port, as with an engine here"
    assert _get(endpoint["url"]) == 200
    with remote.engine.client() as client:
        bound = client.api.containers()[0]["Ports"]
    assert {port["IP"] for port in bound} == {endpoint["host"]}, "on loopback alone, over there too"
    assert _listening(endpoint["host"], 8000) == ["ssh"], "what answers here is the forwarded port"

    status = away("status", "web", "--output", "json")
    assert status.code == 0, status.err
    assert away("ls").out.count("web") >= 1
    assert away("up", "web").code == 0, "unchanged"
    (forwarder,) = _forwarders(away.stack("web"))

    assert away("down", "web").code == 0
    assert _objects(remote, away) == []
    psutil.wait_procs([forwarder], timeout=_SECONDS)
    assert not forwarder.is_running()
    assert not _answers(endpoint["url"])


def test_connection_that_is_lost_and_a_forwarder_that_was_killed_are_made_again(away: Ephemera, remote: Remote) -> None:
    url = away("up", "web", "--output", "json").json["services"]["web"]["endpoints"]["http"]["url"]
    for connection in remote.connections():
        connection.kill()
    until(lambda: not _answers(url), _SECONDS)
    until(lambda: _answers(url), _SECONDS)
    (forwarder,) = _forwarders(away.stack("web"))
    forwarder.kill()
    until(lambda: not _answers(url), _SECONDS)
    assert away("up", "web").code == 0
    until(lambda: _answers(url), _SECONDS)
    assert away("down", "web").code == 0


def test_failed_environment_leaves_nothing_on_either_machine(away: Ephemera, remote: Remote) -> None:
    done = away("up", "web", "-c", "behaviour=exit")
    assert done.code == 3, done.err
    assert "cannot find the config" in done.err
    assert _objects(remote, away) == []
    until(lambda: _forwarders(away.stack("web")) == [], _SECONDS)


def test_run_of_the_suite(away: Ephemera, remote: Remote) -> None:
    done = away("run", "web", "--output", "json")
    assert done.code == 0, done.err
    assert done.json["tests"]["passed"] == 2
    assert done.json["leftovers"] == []
    assert _objects(remote, away) == []


def test_shell_gets_the_address_as_it_is(away: Ephemera, remote: Remote) -> None:
    """Our connection ends by itself: what a person starts by hand has to log in on its own."""
    exported = away("env").out
    assert f"DOCKER_HOST={remote.url}" in exported
    assert "unix://" not in exported


def _listening(address: str, port: int) -> list[str]:
    return [
        psutil.Process(each.pid).name()
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr == (address, port) and each.pid
    ]
