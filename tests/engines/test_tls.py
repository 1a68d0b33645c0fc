"""An engine across the network, over TCP with TLS: by variables, by a Docker context, and what is wrong with either."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ephemera.lifecycle import removal

from .conftest import THERE, TLS_PORT, Ephemera, Remote

_URL = f"tcp://{THERE}:{TLS_PORT}"


@pytest.fixture
def secured(ephemera: Ephemera, machine: Remote) -> Ephemera:
    """The command, with the other machine's engine and its certificates."""
    ephemera.variables.update(
        machine.engine.variables,
        DOCKER_HOST=_URL,
        DOCKER_TLS_VERIFY="1",
        DOCKER_CERT_PATH=str(machine.folder / "tls"),
    )
    return ephemera


def _context(folder: Path, certificates: Path, **endpoint: Any) -> None:
    """A current context, as `docker context create` writes it."""
    name = hashlib.sha256(b"far").hexdigest()
    meta, material = folder / "contexts" / "meta" / name, folder / "contexts" / "tls" / name / "docker"
    meta.mkdir(parents=True)
    material.mkdir(parents=True)
    document = {"Name": "far", "Endpoints": {"docker": {"Host": _URL, **endpoint}}}
    (meta / "meta.json").write_text(json.dumps(document))
    for file in ("ca.pem", "cert.pem", "key.pem"):
        (material / file).write_text((certificates / file).read_text())
    (folder / "config.json").write_text(json.dumps({"currentContext": "far"}))


def test_what_cannot_be_reached_is_refused_before_anything_is_made(secured: Ephemera, machine: Remote) -> None:
    assert secured("ls").code == 0
    done = secured("up", "web")
    assert done.code == 2, done.err
    assert f"ports that the Docker engine at {_URL} publishes on its own loopback cannot be reached" in done.err
    assert "DOCKER_HOST=ssh://" in done.err
    assert "EPHEMERA_PUBLISH_HOST=" in done.err
    assert "EPHEMERA_EXPOSE=none" in done.err
    assert done.err.count("ephemera: ") == 1
    with machine.engine.client() as client:
        assert removal.find(client, backend=secured.backend) == []


def test_published_where_the_user_says(secured: Ephemera, machine: Remote) -> None:
    done = secured("up", "web", "--output", "json", EPHEMERA_PUBLISH_HOST=THERE)
    assert done.code == 0, done.err
    endpoint = done.json["services"]["web"]["endpoints"]["http"]
    assert endpoint["host"] == THERE
    with urllib.request.urlopen(endpoint["url"], timeout=5) as answer:  # noqa: S310 - http, as the outputs say
        assert answer.status == 200
    assert secured("down", "web").code == 0
    with machine.engine.client() as client:
        assert removal.find(client, backend=secured.backend) == []


def test_context_with_certificates(ephemera: Ephemera, machine: Remote, tmp_path: Path) -> None:
    _context(tmp_path / "docker", machine.folder / "tls")
    assert ephemera("ls", DOCKER_CONFIG=str(tmp_path / "docker")).code == 0


def test_context_that_skips_verification_serves_the_plugin_too(
    ephemera: Ephemera, machine: Remote, tmp_path: Path
) -> None:
    certificates = tmp_path / "mixed"
    certificates.mkdir()
    for file, owner in (("ca.pem", "other"), ("cert.pem", "tls"), ("key.pem", "tls")):
        (certificates / file).write_text((machine.folder / owner / file).read_text())
    _context(tmp_path / "docker", certificates, SkipTLSVerify=True)
    ephemera.variables.update(
        EPHEMERA_SUBNET_POOL=machine.engine.pool, DOCKER_CONFIG=str(tmp_path / "docker"), EPHEMERA_PUBLISH_HOST=THERE
    )
    done = ephemera("up", "web")
    assert done.code == 0, done.err
    assert ephemera("down", "web").code == 0


@pytest.mark.parametrize(
    ("verify", "folder", "said"),
    [
        ("", "", f"the Docker engine at {_URL} wants TLS: set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH"),
        ("1", "other", f"no TLS with the Docker engine at {_URL} ("),
        ("1", "nowhere", "holds no ca.pem, cert.pem, key.pem"),
    ],
    ids=["without", "another's", "no files"],
)
def test_what_is_wrong_with_certificates_is_told(
    ephemera: Ephemera, machine: Remote, verify: str, folder: str, said: str
) -> None:
    path = str(machine.folder / folder) if folder else ""
    done = ephemera("ls", DOCKER_HOST=_URL, DOCKER_TLS_VERIFY=verify, DOCKER_CERT_PATH=path)
    assert done.code == 5
    assert said in done.err
    assert len(done.err.splitlines()) == 1
