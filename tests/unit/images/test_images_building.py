"""One build, with an engine that answers as it is told to."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from docker.errors import ImageNotFound
from requests.exceptions import ConnectionError as BrokenConnectionError
from requests.exceptions import ReadTimeout

from ephemera.docker import connection
from ephemera.home import identity
from ephemera.images import ImageBuildError, context, ensure, resolve
from ephemera.model import labels
from ephemera.model.errors import InputError, MachineError
from ephemera.model.images import ServiceImage

Build = Callable[..., list[str]]
_TIMED_OUT = "UnixHTTPConnectionPool(host='localhost', port=None): Read timed out."


@dataclass
class _Api:
    """``events``: of the build; an exception among them is raised. ``made``: whether the image is there afterwards."""

    events: Iterable[dict[str, Any] | Exception] = ()
    made: bool = True
    timeout: int = 60
    asked: dict[str, str] = field(default_factory=dict)
    sent: bytes = b""
    closed: bool = False

    def _url(self, path: str) -> str:
        return path

    def _post(self, _: str, *, data: IO[bytes], params: dict[str, str], **__: Any) -> Any:
        self.asked, self.sent = params, data.read()
        return self

    def close(self) -> None:
        self.closed = True

    def _raise_for_status(self, response: Any) -> None:
        assert response is self

    def _stream_helper(self, response: Any, *, decode: bool) -> Iterator[dict[str, Any]]:
        assert response is self
        assert decode
        for event in self.events:
            if isinstance(event, Exception):
                raise event
            yield event

    def inspect_image(self, reference: str) -> None:
        if reference.startswith("ephemera/"):
            raise ImageNotFound("it is not there")

    def images(self, *, name: str) -> list[str]:
        return [name] if self.made else []


@pytest.fixture
def image(tmp_path: Path) -> ServiceImage:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM x\nCOPY a /\n")
    (context / "a").write_text("content")
    return ServiceImage(name="api", context=context, arguments={"GIVEN": "1"})


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, image: ServiceImage) -> Build:
    """Builds the image from a Dockerfile, if one is given, and returns the lines of progress."""

    def building(api: _Api, dockerfile: str = "", mode: Any = "local") -> list[str]:
        if dockerfile:
            (image.context / "Dockerfile").write_text(dockerfile)
        client = SimpleNamespace(api=api, version=lambda: {"Version": "24.0.7"}, close=lambda: None)
        monkeypatch.setattr(connection, "connect", lambda: client)
        lines: list[str] = []
        assert ensure([image], mode, lines.append)[image] == resolve(image, mode) == api.asked["t"]
        assert api.closed
        return lines

    return building


def test_classic_builder_gets_labels_in_the_dockerfile_and_no_credentials(build: Build) -> None:
    api = _Api([{"stream": "Step 1/2 : FROM x\n"}, {"stream": "\x1b[31mred\x1b[0m\rmore\n"}])
    assert build(api) == ["api: Step 1/2 : FROM x", "api: red", "api: more"]
    assert "version" not in api.asked
    assert json.loads(api.asked["buildargs"])["GIVEN"] == "1"
    assert api.asked["networkmode"] == "default"
    assert f'LABEL {labels.IMAGE}="api" {labels.BACKEND}="{identity.backend_id()}"'.encode() in api.sent


def test_buildkit_gets_the_dockerfile_as_it_is_and_labels_beside_it(build: Build) -> None:
    text = "# syntax=docker/dockerfile:1\nFROM x\nRUN --mount=type=cache,target=/c y\n"
    api = _Api()
    assert build(api, text, "registry") == ["api: built by BuildKit, for `RUN --mount` in line 3"]
    assert api.asked["version"] == "2"
    assert json.loads(api.asked["labels"]) == labels.of_image("api", identity.backend_id())
    assert text.encode() in api.sent
    build(api, text, "local")
    assert b"#\nFROM x\nRUN --mount" in api.sent


def test_frontend_that_only_a_registry_has_is_asked_for_in_both_modes(build: Build) -> None:
    api, text = _Api(), "# syntax=some/frontend\nFROM x\n"
    assert build(api, text) == ["api: built by BuildKit, for `# syntax=some/frontend`"]
    assert text.encode() in api.sent


@pytest.mark.parametrize("error", [ReadTimeout(_TIMED_OUT), BrokenConnectionError(_TIMED_OUT)])
def test_step_that_says_nothing_for_too_long_is_given_up(build: Build, error: Exception) -> None:
    api = _Api([{"stream": "Step 2/2 : RUN x\n"}, error])
    with pytest.raises(ImageBuildError, match=r"it said nothing for 30 minutes \(at Step 2/2 : RUN x\)"):
        build(api)
    assert api.closed


def test_engine_that_goes_away_is_none_of_the_image(build: Build) -> None:
    with pytest.raises(MachineError):
        build(_Api([BrokenConnectionError("reset by peer")]))


def test_build_that_ends_without_an_image_has_failed(build: Build) -> None:
    with pytest.raises(ImageBuildError, match="the engine ended it without a word"):
        build(_Api(made=False))


def test_buildkit_that_takes_no_context_over_the_api_is_explained(build: Build) -> None:
    error = "failed to read downloaded context: failed to load cache key: invalid response status 403"
    with pytest.raises(ImageBuildError, match=r"BuildKit of Docker 24\.0\.7 takes no build context .* update to 27\.5"):
        build(_Api([{"error": error}]), "FROM x\nCOPY --link a /\n")


def test_context_that_changes_while_it_is_packed_is_named_by_what_was_packed(
    build: Build, image: ServiceImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, times, dockerfile = context.files, count(), image.context / "Dockerfile"
    read = dockerfile.read_text()

    def edited(*arguments: Any) -> dict[str, Path]:
        looked = next(times)
        if looked == 1:  # when it is packed
            (image.context / "a").write_text("newer")
        dockerfile.write_text("FROM newer\n" if looked == 1 else read)
        return listed(*arguments)

    monkeypatch.setattr(context, "files", edited)
    api = _Api()
    (line,) = build(api)
    assert line.startswith("api: its sources changed meanwhile; if they always do, name files")
    assert b"newer" in api.sent
    assert b"FROM newer" not in api.sent


def test_wrong_network_is_refused_also_when_nothing_is_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "outside")
    with pytest.raises(InputError, match="EPHEMERA_BUILD_NETWORK is 'outside'"):
        ensure([], "local")


def test_mount_that_only_a_client_could_fill_is_explained(build: Build) -> None:
    api = _Api(events=[{"error": "failed to solve: no active sessions"}], made=False)
    with pytest.raises(ImageBuildError, match="a build is given no secrets and no SSH agent: leave out its"):
        build(api, "FROM x\nRUN --mount=type=secret,id=token cat /run/secrets/token\n")


def test_full_disk_of_this_machine_is_told_from_the_engines(
    build: Build, image: ServiceImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image.context / "large").write_bytes(bytes(1 << 20))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: io.BufferedWriter(io.FileIO("/dev/full", "w")))
    with pytest.raises(ImageBuildError, match=r"the disk of /.* is full \(at packing its context\): make room there"):
        build(_Api())
