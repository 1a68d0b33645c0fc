from __future__ import annotations

import gc
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import requests

from ephemera.docker import connection
from ephemera.docker.address import Address, Tls, configured
from ephemera.docker.ports import free_port
from ephemera.model.errors import EphemeraError, MachineError, NotReadyError
from tests.unit.doubles import FakeClient, refusal


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
        connection.connect()
    assert time.monotonic() - started < 3
    assert hosts[scheme] in caught.value.message
    assert "set DOCKER_HOST" in caught.value.remedy
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()


class _Pinged(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api_version = "1.41"
    connections: ClassVar[set[tuple[str, int]]] = set()

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        self.send_response(200)
        self.send_header("Api-Version", self.api_version)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_: object) -> None:
        pass


def test_client_speaks_the_engines_version_also_after_that_has_become_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pinged) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_port}")
        spoken = []
        for version in ("1.41", "1.41", "1.44", "1.44"):
            monkeypatch.setattr(_Pinged, "api_version", version)
            with connection.connected() as client:
                client.ping()
                spoken.append((client.api.api_version, len(_Pinged.connections)))
        server.shutdown()
    # One connection where the version was known before, two where it was not.
    assert spoken == [("1.41", 2), ("1.41", 3), ("1.44", 5), ("1.44", 6)]


def test_client_is_closed_after_use(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "connect", lambda: client)
    with pytest.raises(ZeroDivisionError), connection.connected():
        raise ZeroDivisionError
    assert client.closed


def test_engine_that_goes_away_meanwhile_is_said_and_its_client_is_closed(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "connect", lambda: client)
    with pytest.raises(MachineError, match=r"no Docker engine answers at .*connection closed"), connection.connected():
        raise requests.ConnectionError("connection closed")
    assert client.closed


@pytest.mark.parametrize(("status", "kind"), [(404, NotReadyError), (409, NotReadyError), (500, MachineError)])
def test_refusal_of_an_engine_that_lives_is_told_in_its_words(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[EphemeraError]
) -> None:
    monkeypatch.setattr(connection, "connect", lambda: client)
    with pytest.raises(kind, match="no space left on device") as caught, connection.connected():
        raise refusal(status)
    assert "answers" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert client.closed


def test_plain_answer_is_told_in_the_engines_words_too() -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 409, b'{"message": "it is paused\\n"}'
    assert connection.said(requests.HTTPError("409 Client Error", response=answer)) == "it is paused"
    assert connection.said(requests.HTTPError("409 Client Error")) == "409 Client Error"


@pytest.mark.parametrize("variable", ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"])
def test_plugin_is_told_of_no_other_engines_certificates(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    monkeypatch.setenv(variable, "/elsewhere")
    expected = {"DOCKER_HOST": "unix:///run/docker.sock", "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": ""}
    assert connection.variables() == expected
    assert connection.exported() == expected


def _secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str, verify: str = "1") -> None:
    for name in names:
        (tmp_path / name).write_text(f"the {name}")
    monkeypatch.setenv("DOCKER_HOST", "tcp://build.example:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", verify)
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))


def test_plugin_gets_the_folder_of_a_whole_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _secured(tmp_path, monkeypatch, "ca.pem", "cert.pem", "key.pem")
    given = connection.variables()
    assert given["DOCKER_HOST"] == "tcp://build.example:2376"
    assert given["DOCKER_CERT_PATH"] == str(tmp_path)
    assert given["DOCKER_TLS_VERIFY"] == "1"
    assert "DOCKER_KEY_MATERIAL" not in given
    assert {key: value for key, value in given.items() if key != "EPHEMERA_DOCKER"} == connection.exported()


def test_plugin_gets_the_texts_where_the_server_is_not_to_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _secured(tmp_path, monkeypatch, "ca.pem", "cert.pem", "key.pem", verify="")
    given = connection.variables()
    assert given["DOCKER_CERT_PATH"] == "", "it would verify what it finds there"
    assert given["DOCKER_CA_MATERIAL"] == ""
    assert given["DOCKER_KEY_MATERIAL"] == "the key.pem"
    assert "DOCKER_KEY_MATERIAL" not in connection.exported(), "which is printed"


def test_plugin_without_a_clients_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _secured(tmp_path, monkeypatch, "ca.pem")
    with pytest.raises(MachineError, match="needs a client's certificate"):
        connection.variables()


def test_plugin_verifies_by_the_machines_authorities_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _secured(tmp_path, monkeypatch, "cert.pem", "key.pem")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("all of them")
    monkeypatch.setattr(connection, "_authorities", lambda: bundle)
    assert connection.variables()["DOCKER_CA_MATERIAL"] == "all of them"
    bundle.write_text("")
    with pytest.raises(MachineError, match="no authorities to verify"):
        connection.variables()


def test_child_gets_the_address_whatever_the_plugin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tls = Tls(ca="/a/ca.pem", cert=None, key=None, verify=True)
    for address in (Address(url="ssh://build-box"), Address(url="tcp://build.example:2376", tls=tls)):
        for key, value in address.handed_on().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("DOCKER_HOST", "unix:///tmp/tunnel.sock")
        assert configured() == address


def test_client_configuration_that_is_a_fifo_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "config.json")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(MachineError, match=r"config\.json is not a regular file: move it away"):
        connection.connect()
