"""Development mode, by the command: what is saved is live within seconds, and the next ``up`` ends it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from ephemera.docker.connection import connected
from ephemera.model import labels
from tests.dev_command import LIVE_SECONDS, READY, Dev, asked, save

from .conftest import Ephemera

_PORTS = {"api": 8000, "worker": 8001}
_SERVE = """import http.server

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{mark}")

print("serving {mark}", flush=True)
http.server.ThreadingHTTPServer(("", {port}), Handler).serve_forever()
"""


def _save(dev: Dev, service: str, mark: str) -> float:
    """Save code of the service that answers ``mark``; seconds until it does."""
    return save(_source(dev, service), _SERVE.format(mark=mark, port=_PORTS[service]), dev.url(service), mark)


def _source(dev: Dev, service: str) -> Path:
    return dev.command.project / "services" / service / "serve.py"


def _mounts(stack: str, service: str) -> list[tuple[str, str, bool]]:
    """Of the host's folders, into the service's container: from, to, writable."""
    with connected() as client:
        document = client.api.inspect_container(f"{stack}-{service}")
    return [(each["Source"], each["Destination"], each["RW"]) for each in document["Mounts"] if each["Type"] == "bind"]


@pytest.fixture
def dev_project(ephemera: Ephemera) -> Iterator[Ephemera]:
    """The project, with names for images of the test's own, which are removed."""
    name = f"dev-{secrets.token_hex(3)}"
    ephemera.variables["CHAIN_IMAGE"] = name
    yield ephemera
    for process in ephemera.started:
        process.kill()
        process.wait()
    ephemera("down", ephemera.stack("chain"))
    with connected() as client:
        for service in _PORTS:
            for image in client.api.images(filters={"label": f"{labels.IMAGE}={name}-{service}"}):
                client.api.remove_image(image["Id"], force=True)


def test_saved_code_is_live_within_three_seconds_and_the_next_up_puts_images_back(dev_project: Ephemera) -> None:
    dev = Dev(dev_project, "chain")
    dev.line(READY)
    folder = str(dev_project.project / "services" / "api")
    assert _mounts(dev.stack, "api") == [(folder, "/srv", False)]
    assert _mounts(dev.stack, "store") == []

    seconds: dict[str, list[float]] = {service: [] for service in _PORTS}
    for mark in ("first", "second"):
        for service in _PORTS:
            seconds[service].append(_save(dev, service, f"{service} {mark}"))
            told = dev.line(f"{service}: ")
            assert re.fullmatch(rf"{service}: serve\.py changed, live after \d\.\d s", told)
    print("seconds from the write to the first answer:", seconds)
    assert max(min(each) for each in seconds.values()) < LIVE_SECONDS, seconds  # other tests may slow one of them down
    assert any(re.match(r"api +\| serving api first", line) for line in dev.printed), dev.printed
    listed = dev_project("ls", "--output", "json").json
    assert [item["development"] for item in listed] == [["api", "worker"]]
    assert "running, dev" in dev_project("ls").out

    assert dev.end() == 0
    assert any(f"{dev.stack} goes on running" in line for line in dev.printed)
    done = dev_project("up", "chain")
    assert done.code == 0, done.err
    assert _mounts(dev.stack, "api") == _mounts(dev.stack, "worker") == []
    assert asked(dev.url("api")) == "api second", "the image is not of what is in the folder now"
    status = dev_project("status", "--output", "json").json["services"]
    assert not any(service["development"] for service in status)


def test_broken_code_is_shown_and_the_next_good_save_recovers(dev_project: Ephemera) -> None:
    dev = Dev(dev_project, "chain")
    dev.line(READY)
    _source(dev, "api").write_text("def (")
    dev.line("SyntaxError")
    dev.line("api: serve.py changed, NOT live, it exited with code 1; the next save tries again")
    _save(dev, "api", "mended")
    dev.line("api: serve.py changed, live after")

    recipe = dev_project.project / "services" / "worker" / "Dockerfile"
    recipe.write_text(f"{recipe.read_text()}# another line\n")
    dev.line("Dockerfile changed, which no mount brings in: end this and start it again to build")

    done = dev_project("up", "chain", "-c", "greeting=bye")
    assert done.code == 0, done.err
    assert dev.ended() == 3
    assert any("an `up` ended development mode" in line for line in dev.printed), dev.printed


def test_suite_runs_after_each_change_and_stops_at_the_first_failure(dev_project: Ephemera) -> None:
    suite = dev_project.project / "chain_tests"
    suite.mkdir()
    catalog = dev_project.project / "chain.py"
    catalog.write_text(catalog.read_text().replace('    "chain",\n', '    "chain",\n    suite="chain_tests",\n'))
    (suite / "test_chain.py").write_text(
        "def test_mark(environment):\n    assert environment.http('api').get('/').text == 'right'\n\n\n"
        "def test_after(environment):\n    pass\n"
    )
    dev = Dev(dev_project, "chain", "--test", "--down")
    dev.line(f"{dev.stack} is in development mode: api, worker")
    dev.line("stopping after 1 failures")
    dev.line("tests FAILED after")
    _save(dev, "api", "right")
    dev.line("2 passed")
    dev.line("tests passed after")
    (suite / "test_chain.py").write_text("def test_other(environment):\n    pass\n")
    dev.line("1 passed")
    dev.line("tests passed after")
    in_ci = dev_project.pytest("chain_tests", "--ephemera-env", dev.stack, CI="true")
    assert "bring it up with `ephemera up`, which runs what images hold" in in_ci.out
    assert dev.end() == 0
    assert any(f"{dev.stack} is gone after" in line for line in dev.printed)
    assert dev_project.left() == []


@pytest.mark.parametrize(
    ("arguments", "variables", "what"),
    [
        (["dev", "chain"], {"CI": "true"}, "development mode is not for CI"),
        (
            ["dev", "chain"],
            {"DOCKER_HOST": "ssh://nobody@127.0.0.1:1"},
            "cannot be mounted on that of the Docker engine",
        ),
        (["dev", "web"], {}, "no service of 'web' to start has a source folder that can be mounted"),
        (["run", "chain", "-c", "development=true"], {}, "of a branch's own environment"),
        (["pool", "--system", "chain", "--size", "1", "-c", "development=true"], {}, "of a branch's own environment"),
    ],
    ids=["ci", "remote", "no-source", "run", "pool"],
)
def test_development_mode_is_refused_where_it_has_no_place(
    ephemera: Ephemera, arguments: list[str], variables: dict[str, str], what: str
) -> None:
    done = ephemera(*arguments, cwd=None, **variables)
    assert done.code == 2, done.err
    assert what in done.err
    assert ephemera.left() == []
