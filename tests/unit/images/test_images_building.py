"""One build, with an engine that answers as it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from requests.exceptions import ConnectionError as BrokenConnectionError
from requests.exceptions import ReadTimeout

from ephemera.contract import labels
from ephemera.contract.errors import InputError
from ephemera.contract.images import ServiceImage
from ephemera.home import identity
from ephemera.images import ImageBuildError, building, context, ensure, resolve

_TIMED_OUT = "UnixHTTPConnectionPool(host='localhost', port=None): Read timed out."


@dataclass
class _Api:
    """``events``: of the build; an exception among them is raised. ``made``: whether the image is there afterwards."""

    events: Iterable[dict[str, Any] | Exception] = ()
    made: bool = True
    timeout: int = 1800
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

    def images(self, *, name: str) -> list[str]:
        return [name] if self.made else []


@pytest.fixture
def image(tmp_path: Path) -> ServiceImage:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM x\nCOPY a /\n")
    (context / "a").write_text("content")
    return ServiceImage(name="api", context=context, arguments={"GIVEN": "1"})


def _build(api: _Api, image: ServiceImage, mode: Any = "local") -> list[str]:
    """Build it and return the lines of its progress."""
    lines: list[str] = []
    client: Any = SimpleNamespace(api=api, version=lambda: {"Version": "24.0.7"})
    assert building.build(client, image, {}, mode, lines.append) == resolve(image, mode) == api.asked["t"]
    assert api.closed
    return lines


def _with(image: ServiceImage, text: str) -> ServiceImage:
    (image.context / "Dockerfile").write_text(text)
    return image


def test_classic_builder_gets_labels_in_the_dockerfile_and_no_credentials(image: ServiceImage) -> None:
    api = _Api([{"stream": "Step 1/2 : FROM x\n"}, {"stream": "\x1b[31mred\x1b[0m\rmore\n"}])
    assert _build(api, image) == ["api: Step 1/2 : FROM x", "api: red", "api: more"]
    assert "version" not in api.asked
    assert json.loads(api.asked["buildargs"])["GIVEN"] == "1"
    assert api.asked["networkmode"] == "default"
    assert f'LABEL {labels.IMAGE}="api" {labels.BACKEND}="{identity.backend_id()}"'.encode() in api.sent


def test_buildkit_gets_the_dockerfile_as_it_is_and_labels_beside_it(image: ServiceImage) -> None:
    text = "# syntax=docker/dockerfile:1\nFROM x\nRUN --mount=type=cache,target=/c y\n"
    api = _Api()
    assert _build(api, _with(image, text), "registry") == ["api: built by BuildKit, for `RUN --mount` in line 3"]
    assert api.asked["version"] == "2"
    assert json.loads(api.asked["labels"]) == labels.of_image("api", identity.backend_id())
    assert text.encode() in api.sent
    _build(api, image, "local")
    assert b"#\nFROM x\nRUN --mount" in api.sent


def test_frontend_that_only_a_registry_has_is_asked_for_in_both_modes(image: ServiceImage) -> None:
    api, text = _Api(), "# syntax=some/frontend\nFROM x\n"
    assert _build(api, _with(image, text)) == ["api: built by BuildKit, for `# syntax=some/frontend`"]
    assert text.encode() in api.sent


@pytest.mark.parametrize("error", [ReadTimeout(_TIMED_OUT), BrokenConnectionError(_TIMED_OUT)])
def test_step_that_says_nothing_for_too_long_is_given_up(image: ServiceImage, error: Exception) -> None:
    api = _Api([{"stream": "Step 2/2 : RUN x\n"}, error])
    with pytest.raises(ImageBuildError, match=r"it said nothing for 30 minutes \(at Step 2/2 : RUN x\)"):
        _build(api, image)
    assert api.closed


def test_engine_that_goes_away_is_none_of_the_image(image: ServiceImage) -> None:
    with pytest.raises(BrokenConnectionError):
        _build(_Api([BrokenConnectionError("reset by peer")]), image)


def test_build_that_ends_without_an_image_has_failed(image: ServiceImage) -> None:
    with pytest.raises(ImageBuildError, match="the engine ended it without a word"):
        _build(_Api(made=False), image)


def test_buildkit_that_takes_no_context_over_the_api_is_explained(image: ServiceImage) -> None:
    error = "failed to read downloaded context: failed to load cache key: invalid response status 403"
    with pytest.raises(ImageBuildError, match=r"BuildKit of Docker 24\.0\.7 takes no build context .* update to 27\.5"):
        _build(_Api([{"error": error}]), _with(image, "FROM x\nCOPY --link a /\n"))


def test_context_that_changes_while_it_is_packed_is_named_by_what_was_packed(
    image: ServiceImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = context.files

    def edited(*arguments: Any) -> dict[str, Path]:
        (image.context / "a").write_text("newer")
        (image.context / "Dockerfile").write_text("FROM newer\n")
        return listed(*arguments)

    read = (image.context / "Dockerfile").read_text()
    monkeypatch.setattr(context, "files", edited)
    api = _Api()
    made = building.build(SimpleNamespace(api=api), image, {}, "local", lambda _: None)
    monkeypatch.undo()
    assert b"newer" in api.sent
    assert b"FROM newer" not in api.sent
    (image.context / "Dockerfile").write_text(read)
    assert made == resolve(image, "local")


def test_wrong_network_is_refused_also_when_nothing_is_to_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "outside")
    with pytest.raises(InputError, match="EPHEMERA_BUILD_NETWORK is 'outside'"):
        ensure([], "local")


def test_mount_that_only_a_client_could_fill_is_explained(image: ServiceImage) -> None:
    image = _with(image, "FROM x\nRUN --mount=type=secret,id=token cat /run/secrets/token\n")
    api = _Api(events=[{"error": "failed to solve: no active sessions"}], made=False)
    with pytest.raises(ImageBuildError, match="a build is given no secrets and no SSH agent: leave out its"):
        _build(api, image)
