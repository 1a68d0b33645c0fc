"""Images on the real engine: each test has names of its own and removes what it made."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from ephemera.docker.connection import connected
from ephemera.home.paths import cache_dir
from ephemera.images import ensure, resolve
from ephemera.model.images import EngineImage
from tests.surroundings import follow

_REMOVAL_SECONDS = 30


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    with connected() as found:
        yield found


@pytest.fixture(scope="session")
def base() -> str:
    """Reference of the local base image, made when it is not there."""
    image = EngineImage(name="base")
    ensure([image], "local")
    return resolve(image, "local")


@pytest.fixture(autouse=True)
def _followed(monkeypatch: pytest.MonkeyPatch) -> None:
    follow(monkeypatch)  # what a test sets is what ephemera finds around it


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own, so that what it prunes is what it made."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def name(client: docker.DockerClient) -> Iterator[str]:
    """A name that no other image has; every image with its label goes afterwards, intermediates too."""
    made = f"test-{secrets.token_hex(4)}"
    yield made
    for lock in (cache_dir() / "locks").glob(f"*{made}*"):  # a killed build leaves its lock file
        lock.unlink()
    # Stages become free when what was made from them is gone; the engine still ends the step of a killed build.
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while left := client.api.images(filters={"label": f"ephemera.image={made}"}):
        assert time.monotonic() < deadline, left
        for image in left:
            with contextlib.suppress(docker.errors.APIError):
                client.api.remove_image(image["Id"], force=True)


@pytest.fixture
def context(tmp_path: Path, base: str) -> Path:
    """A build context on the base image; a test adds instructions to its Dockerfile."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"FROM {base}\n")
    return folder
