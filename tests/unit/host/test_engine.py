from __future__ import annotations

import gc
import json
import os
import time
from pathlib import Path

import pytest

from ephemera.contract.errors import MachineError
from ephemera.host import engine
from ephemera.host.ports import free_port
from tests.unit.doubles import FakeClient


def _configured(**document: object) -> Path:
    folder = Path(os.environ["DOCKER_CONFIG"])
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def _context(name: str, host: str) -> None:
    folder = Path(os.environ["DOCKER_CONFIG"]) / "contexts" / "meta" / name.encode().hex()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def test_local_socket_without_any_configuration() -> None:
    assert engine.docker_host() == "unix:///var/run/docker.sock"
    assert engine.is_local()


def test_variable_wins_over_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    _configured(currentContext="far")
    _context("far", "tcp://far:2376")
    monkeypatch.setenv("DOCKER_HOST", "tcp://near:2375")
    assert engine.docker_host() == "tcp://near:2375"


def test_current_context_of_the_docker_configuration() -> None:
    _configured(currentContext="far")
    _context("other", "tcp://other:2376")
    _context("far", "tcp://far:2376")
    assert engine.docker_host() == "tcp://far:2376"
    assert not engine.is_local()
    assert engine.published_host() == "far"


def test_context_variable_wins_over_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    _configured(currentContext="far")
    _context("rootless", "unix:///run/user/1000/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    assert engine.docker_host() == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert engine.docker_host() == engine.DEFAULT_HOST


def test_context_that_is_not_there_is_refused() -> None:
    _configured(currentContext="gone")
    with pytest.raises(MachineError, match="Docker context 'gone' is not there"):
        engine.docker_host()


def test_configuration_that_cannot_be_read_counts_as_none() -> None:
    (_configured() / "config.json").write_text("{")
    assert engine.docker_host() == engine.DEFAULT_HOST


@pytest.mark.parametrize(
    ("host", "local", "published"),
    [
        ("unix:///var/run/docker.sock", True, "127.0.0.1"),
        ("tcp://10.0.0.7:2376", False, "10.0.0.7"),
        ("ssh://me@build.example:22", False, "build.example"),
    ],
)
def test_where_published_ports_are_reached(host: str, local: bool, published: str) -> None:
    assert engine.is_local(host) is local
    assert engine.published_host(host) == published


# docker-py leaves the socket of a failed connection to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scheme", ["tcp", "unix", "nonsense"])
def test_engine_that_does_not_answer_is_said_at_once(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = {
        "tcp": f"tcp://127.0.0.1:{free_port('127.0.0.1')}",
        "unix": f"unix://{tmp_path}/none.sock",
        "nonsense": "nonsense://",
    }
    monkeypatch.setenv("DOCKER_HOST", hosts[scheme])
    started = time.monotonic()
    with pytest.raises(MachineError, match="no Docker engine answers at") as caught:
        engine.connect()
    assert time.monotonic() - started < 3
    assert hosts[scheme] in caught.value.message
    assert "set DOCKER_HOST" in caught.value.remedy
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()


def test_client_is_closed_after_use(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "connect", lambda: client)
    with pytest.raises(ZeroDivisionError), engine.connected():
        raise ZeroDivisionError
    assert client.closed
