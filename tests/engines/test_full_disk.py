"""A Docker engine whose disk fills up: one clear error, nothing half made, and all is well once there is room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ephemera import images
from ephemera.lifecycle import removal
from ephemera.model.images import ServiceImage
from tests.engine_daemon import PrivateEngine, private_engine
from tests.surroundings import follow

from .conftest import Ephemera

_DISK_MB = 600
_TOO_MUCH = f"{_DISK_MB}M"


@pytest.fixture(scope="module")
def engine(python_image: str) -> Iterator[PrivateEngine]:
    """An engine with a small disk, on which the python image takes a fifth."""
    with private_engine(python_image, disk_mb=_DISK_MB) as found:
        yield found


@pytest.fixture
def context(tmp_path: Path, python_image: str) -> Path:
    """A build context on the python image."""
    (tmp_path / "Dockerfile").write_text(f"FROM {python_image}\n")
    return tmp_path


def _step(context: Path, instruction: str) -> ServiceImage:
    with (context / "Dockerfile").open("a") as dockerfile:
        dockerfile.write(f"{instruction}\n")
    return ServiceImage(name="filler", context=context)


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        while True:
            file.write(bytes(65536))


def _tags(engine: PrivateEngine) -> set[str]:
    with engine.client() as client:
        return {tag for image in client.api.images() for tag in image["RepoTags"] if tag.startswith("ephemera/filler")}


@pytest.mark.parametrize("filling", ["step", "context"])
def test_build_that_fills_the_disk(
    engine: PrivateEngine, context: Path, monkeypatch: pytest.MonkeyPatch, filling: str
) -> None:
    follow(monkeypatch)
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    step = f"RUN head -c {_TOO_MUCH} /dev/zero > /big"
    if filling == "context":
        step = "COPY big /big"
        with (context / "big").open("wb") as file:
            file.truncate(_DISK_MB * 1024 * 1024)
    with pytest.raises(images.ImageBuildError) as caught:
        images.ensure([_step(context, step)], "local")
    assert f"the disk of the Docker engine is full ({engine.data})" in caught.value.message
    assert "ephemera images prune" in caught.value.remedy
    assert _tags(engine) == set(), "nothing half made"
    with engine.client() as client:
        assert client.api.containers(all=True) == []
    (context / "big").unlink(missing_ok=True)
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text().replace(step, "RUN echo small > /big"))
    built = images.ensure([ServiceImage(name="filler", context=context)], "local")
    assert _tags(engine) == set(built.values()), "the next one works"
    with engine.client() as client:
        for reference in built.values():
            client.api.remove_image(reference)


def test_full_disk_while_an_environment_is_made(ephemera: Ephemera, engine: PrivateEngine) -> None:
    ballast = engine.data / "ballast"
    with pytest.raises(OSError, match="No space left"):
        _fill(ballast)
    ephemera.variables.update(engine.variables)
    done = ephemera("up", "web")
    assert done.code == 3, done.err
    assert "no space left on device" in done.err
    with engine.client() as client:
        assert removal.find(client, backend=ephemera.backend) == []
    ballast.unlink()
    assert ephemera("up", "web").code == 0
    assert ephemera("down", "web").code == 0


def test_doctor_tells_of_the_disk(ephemera: Ephemera, engine: PrivateEngine) -> None:
    done = ephemera("doctor", DOCKER_HOST=engine.host)
    (line,) = [line for line in done.out.splitlines() if line.startswith("engine disk")]
    assert "failed" in line
    assert f"GB free at {engine.data}, 3 GB are needed" in line
    assert done.code == 5
