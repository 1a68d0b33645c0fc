from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ephemera import lifecycle
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.pulumi.workspace import Workspace
from tests.unit.cli.conftest import Command


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/docs" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """It says nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server with API docs."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def outputs(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with a database, and two services that answer HTTP, the second without docs."""

    def service(name: str, url: str) -> dict[str, Any]:
        internal = {"internal_host": name, "internal_port": 80, "internal_url": url}
        endpoint = {"scheme": url.partition(":")[0], "host": "127.0.0.1", "port": port, "url": url, **internal}
        return {"container": name, "image": "i", "endpoints": {"main": endpoint}}

    services = {
        "db": service("db", f"postgresql://127.0.0.1:{port}/shop"),
        "api": service("api", f"http://127.0.0.1:{port}"),
        "worker": service("worker", f"http://127.0.0.1:{port}/under"),
    }
    document = EnvironmentOutputs.parse(
        {"stack": "shop-main", "system": "shop", "branch": "main", "services": services}
    )
    monkeypatch.setattr(Workspace, "find", lambda: Workspace(tmp_path))
    monkeypatch.setattr(lifecycle, "find_stack", lambda *_: "shop-main")
    monkeypatch.setattr(lifecycle, "outputs", lambda *_: document)


@pytest.mark.usefixtures("outputs")
def test_address_of_a_service_and_of_its_docs_is_printed(ephemera: Command, port: int) -> None:
    assert ephemera("open", "worker").out == f"http://127.0.0.1:{port}/under\n"
    said = ephemera("open", "api", "--docs", "--output", "json")
    assert said.document == {"service": "api", "url": f"http://127.0.0.1:{port}/docs"}


@pytest.mark.usefixtures("outputs")
@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "name one: api, worker"),
        (["db"], "service 'db' of shop-main publishes no HTTP"),
        (["worker", "--docs"], "worker has no API docs"),
        (["nobody"], "unknown service in shop-main 'nobody'"),
    ],
)
def test_what_cannot_be_opened_is_told(ephemera: Command, arguments: list[str], what: str) -> None:
    said = ephemera("open", *arguments)
    assert said.exit_code == 2
    assert what in said.err
