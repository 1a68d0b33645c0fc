"""What a build understands, reaches and is sent, with Docker's classic builder and with BuildKit."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from ephemera.home import identity
from ephemera.images import ImageBuildError, ImageMissingError, ensure, resolve
from ephemera.images import context as packing
from ephemera.model import labels
from ephemera.model.images import ServiceImage

from .registry import PASSWORD, USER, private_registry

_WITH_HEREDOCS = 23
_CLASSIC, _BUILDKIT = "RUN", "RUN --mount=type=cache,target=/cache"


def _add(context: Path, *instructions: str) -> None:
    with (context / "Dockerfile").open("a") as dockerfile:
        dockerfile.writelines(f"{line}\n" for line in instructions)


def test_what_only_buildkit_understands_is_built_by_it(client: docker.DockerClient, context: Path, name: str) -> None:
    unique = secrets.token_hex(8)  # BuildKit's cache does not end with the image
    (context / "run.sh").write_text("#!/bin/sh\n")
    _add(context, "COPY --chmod=0510 run.sh /", f"{_BUILDKIT} ls -l /run.sh; printf {unique}")
    image = ServiceImage(name=name, context=context)
    lines: list[str] = []
    reference = ensure([image], "local", lines.append)[image]
    assert f"{name}: built by BuildKit, for `COPY --chmod` in line 2" in lines
    assert any(line.startswith(f"{name}: -r-x--x---") for line in lines), lines
    assert f"{name}: {unique}" in lines
    assert any(
        line.startswith(f"{name}: Step [") and line.endswith("2/3] COPY --chmod=0510 run.sh /") for line in lines
    ), lines
    assert client.api.inspect_image(reference)["Config"]["Labels"] == labels.of_image(name, identity.backend_id())


def test_failed_step_of_buildkit_is_named_with_its_output(
    client: docker.DockerClient, context: Path, name: str
) -> None:
    command = f"{_BUILDKIT} echo about to fail; exit 7"
    _add(context, command, "RUN true")
    image = ServiceImage(name=name, context=context)
    with pytest.raises(ImageBuildError) as caught:
        ensure([image], "local")
    assert caught.value.step.endswith(command)
    assert "about to fail" in caught.value.output
    assert f"cannot be built: its command ended with exit code: 7 (at {caught.value.step})" in str(caught.value)
    with pytest.raises(ImageNotFound):
        client.api.inspect_image(resolve(image, "local"))


def test_what_the_engines_buildkit_is_too_old_for_is_said(
    client: docker.DockerClient, context: Path, name: str
) -> None:
    _add(context, "RUN <<EOF", "echo from a heredoc", "EOF")
    image = ServiceImage(name=name, context=context)
    if int(client.version()["Version"].split(".")[0]) >= _WITH_HEREDOCS:
        assert ensure([image], "local")[image]
        return
    with pytest.raises(ImageBuildError, match=r"does not understand the heredoc in line 2: update it \(23\.0 has"):
        ensure([image], "local")


def test_frontend_that_no_registry_has_is_the_engines_own(context: Path, name: str) -> None:
    text = (context / "Dockerfile").read_text()
    (context / "Dockerfile").write_text(f"# syntax=docker/dockerfile:1\n{text}{_BUILDKIT} true\n")
    lines: list[str] = []
    ensure([ServiceImage(name=name, context=context)], "local", lines.append)
    assert f"{name}: no registry answers for docker/dockerfile:1: the frontend in the engine is used" in lines


@pytest.fixture
def server() -> Iterator[int]:
    """Port on this machine's loopback where a server answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_accept, args=(listening,), daemon=True).start()
        yield int(listening.getsockname()[1])


def _accept(listening: socket.socket) -> None:
    while True:
        try:
            listening.accept()[0].close()
        except OSError:
            return


@pytest.mark.parametrize("run", [_CLASSIC, _BUILDKIT], ids=["classic", "BuildKit"])
def test_build_reaches_the_machines_loopback_only_when_that_is_asked_for(
    context: Path, name: str, server: int, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EPHEMERA_BUILD_NETWORK", raising=False)
    _add(context, f"{run} bash -c 'exec 3<>/dev/tcp/127.0.0.1/{server}'")
    image = ServiceImage(name=name, context=context)
    with pytest.raises(ImageBuildError, match="do not reach this machine's loopback: set EPHEMERA_BUILD_NETWORK=host"):
        ensure([image], "local")
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "host")
    assert ensure([image], "local")[image]


@pytest.mark.parametrize("run", [_CLASSIC, _BUILDKIT], ids=["classic", "BuildKit"])
def test_build_without_a_network(context: Path, name: str, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "none")
    _add(context, f'{run} test "$(ls /sys/class/net)" = lo')
    assert ensure([ServiceImage(name=name, context=context)], "local")


@pytest.mark.parametrize("copy", ["COPY", "COPY --chmod=0755"], ids=["classic", "BuildKit"])
def test_whatever_a_folder_holds_is_built_from(context: Path, name: str, copy: str) -> None:
    os.mkfifo(context / "control")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(context / "socket"))
    for odd in (b"b\xffd", b"new\nline", b"-dash", "sep\u2028".encode(), b"x" * 255):
        Path(context / os.fsdecode(odd)).write_text("content")
    (context / "dangling").symlink_to("nowhere")
    (context / "loop").symlink_to("loop")
    found = "test $(find /odd -type f -printf x | wc -c) = 6 && test $(find /odd -type l -printf x | wc -c) = 2"
    _add(context, f"{copy} . /odd", f"RUN {found} && test ! -e /odd/socket")
    assert ensure([ServiceImage(name=name, context=context)], "local")


def test_missing_credential_helper_stops_no_build(
    context: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "not-there", "credHelpers": {"r.example": "not-there"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert ensure([ServiceImage(name=name, context=context)], "local")


@pytest.mark.parametrize("copy", ["COPY", "COPY --chmod=0755"], ids=["classic", "BuildKit"])
def test_private_base_is_pulled_with_the_credentials_of_its_registry(
    client: docker.DockerClient, context: Path, name: str, copy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    config = tmp_path / "config.json"
    with private_registry(secrets.token_bytes(8)) as reference:
        (context / "Dockerfile").write_text(f"ARG BASE={reference}\nFROM $BASE\n{copy} Dockerfile /\n")
        image = ServiceImage(name=name, context=context)
        config.write_text('{"credsStore": "not-there"}')
        with pytest.raises(
            ImageMissingError, match="without credentials, since docker-credential-not-there not installed"
        ):
            ensure([image], "local")
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        config.write_text(json.dumps({"auths": {reference.partition("/")[0]: {"auth": auth}}}))
        try:
            assert ensure([image], "local")
        finally:
            client.api.remove_image(reference, force=True)


def test_files_that_change_while_they_are_packed_give_an_image_of_what_they_are_now(
    client: docker.DockerClient, context: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = ServiceImage(name=name, context=context)
    listed, times = packing.files, itertools.count()

    def edited(*arguments: Any) -> dict[str, Path]:
        if next(times):  # after the reference was resolved
            (context / "new").touch()
        return listed(*arguments)

    reference = resolve(image, "local")
    monkeypatch.setattr(packing, "files", edited)
    built = ensure([image], "local")[image]
    assert built == resolve(image, "local") != reference
    assert client.api.inspect_image(built)
    with pytest.raises(ImageNotFound):
        client.api.inspect_image(reference)
