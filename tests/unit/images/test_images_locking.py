"""Digests are written only when every registry answered; the base image says what it lacks."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.errors import APIError

from ephemera.images import base, locking
from ephemera.images.build_errors import ImageMissingError
from ephemera.images.references import pulled, resolve
from ephemera.model.errors import InputError, MachineError
from ephemera.model.images import AnyImage, EngineImage, PublicImage, ServiceImage
from ephemera.setup import apt


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the working directory below it."""
    project = tmp_path / "shop"
    (project / "deeper").mkdir(parents=True)
    (project / "Pulumi.yaml").touch()
    monkeypatch.chdir(project / "deeper")
    return project


def registry(monkeypatch: pytest.MonkeyPatch, silent: str = "") -> None:
    def inspect_distribution(reference: str, _credentials: object) -> dict[str, Any]:
        if reference == silent:
            raise APIError("unauthorized", explanation="no such manifest")
        return {"Descriptor": {"digest": f"sha256:{reference[0]}"}}

    @contextmanager
    def connected() -> Iterator[Any]:
        yield SimpleNamespace(api=SimpleNamespace(inspect_distribution=inspect_distribution))

    monkeypatch.setattr(locking, "connected", connected)


def test_a_project_locks_all_that_it_pulls(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch)
    service = ServiceImage(
        name="api",
        context=project,
        bases={"BASE": EngineImage("redis"), "TOOLS": ServiceImage(name="tools", context=project)},
    )
    known = PublicImage(reference="traefik@sha256:1")
    used: list[AnyImage] = [PublicImage(reference="mailpit:1"), EngineImage("python-service"), service, known]
    path = locking.lock_project(project, pulled(used), lambda _: None)
    assert path == project / "images.lock"
    digests = {"mailpit:1": "sha256:m", "python:3.12-slim": "sha256:p", "redis:7-alpine": "sha256:r"}
    assert tomllib.loads(path.read_text()) == digests
    resolved = [resolve(image, "registry") for image in (used[0], EngineImage("redis"), known)]
    assert resolved == ["mailpit@sha256:m", "redis@sha256:r", "traefik@sha256:1"]


def test_a_registry_that_does_not_answer_leaves_the_file_as_it_was(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "images.lock").write_text('"nats:2" = "sha256:old"\n')
    registry(monkeypatch, silent="redis:7")
    with pytest.raises(ImageMissingError, match="'redis:7' is not available: no such manifest"):
        locking.lock_project(project, ["nats:2", "redis:7"], lambda _: None)
    assert locking.pinned("nats:2") == "nats@sha256:old"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nats:2 = 1", r"images\.lock cannot be read \(.*\): write it again with `ephemera images lock`"),
        ('"nats:2" = "latest"', r"images\.lock: 'latest' of 'nats:2' is not a digest: write it again"),
        ('["nats:2"]\ndigest = "sha256:1"', r"images\.lock: \{.*\} of 'nats:2' is not a digest"),
    ],
)
def test_a_damaged_lock_is_one_error(project: Path, text: str, message: str) -> None:
    (project / "images.lock").write_text(text)
    with pytest.raises(InputError, match=message):
        locking.pinned("nats:2")


def making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *there: str) -> Callable[[], list[str]]:
    """Make the base image with stand-ins for the programs; ``there`` names those that exist. What debootstrap got."""
    log = tmp_path / "called"
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in there:
        script = 'echo "$@" >> "$LOG"; exit 9' if name == "debootstrap" else "exit 0"
        (programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (programs / name).chmod(0o755)
    for name in ("bash", "mktemp", "dirname", "rm", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (programs / "unshare").write_text('#!/bin/bash\nshift; exec "$@"\n')
    (programs / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("LOG", str(log))
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def made() -> list[str]:
        with pytest.raises(MachineError, match="the base image cannot be made"):
            base.import_base(cast(Any, None), "ephemera/base:1", lambda _: None)
        return log.read_text().split()

    return made


def test_signatures_are_checked_with_debians_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]]
) -> None:
    keyring = tmp_path / "debian.gpg"
    keyring.touch()
    monkeypatch.setattr(apt, "KEYRING", keyring)
    called = making(tmp_path, monkeypatch, "debootstrap", "gpgv")()
    assert called[2:4] == ["--force-check-gpg", f"--keyring={keyring}"]
    assert events == []


@pytest.mark.parametrize("missing", ["keyring", "gpgv"])
def test_where_they_cannot_be_checked_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[dict[str, Any]], missing: str
) -> None:
    keyring = tmp_path / "debian.gpg"
    if missing != "keyring":
        keyring.touch()
    monkeypatch.setattr(apt, "KEYRING", keyring)
    called = making(tmp_path, monkeypatch, "debootstrap", *(["gpgv"] if missing != "gpgv" else []))()
    assert not [argument for argument in called if "gpg" in argument]
    assert events == [{"type": "notice", "message": apt.UNCHECKED}]


def test_a_missing_keyring_is_installed_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = tmp_path / "debian.gpg"
    monkeypatch.setattr(apt, "KEYRING", keyring)
    monkeypatch.setattr(apt, "available", lambda: True)
    monkeypatch.setattr(apt, "install", lambda _, packages: keyring.touch() if packages == apt.DEBOOTSTRAP else None)
    monkeypatch.setattr(base, "mirror", lambda: "")
    assert f"--keyring={keyring}" in making(tmp_path, monkeypatch, "debootstrap", "gpgv")()


def test_the_base_image_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="can only be made by root: run once as root, or set EPHEMERA_IMAGES"):
        base.import_base(None, "ephemera/base:1", lambda _: None)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Debian|Debian|https://mirror.example/debian/", "https://mirror.example/debian/"),
        ("Debian|Debian-Security|https://mirror.example/security/", ""),
        ("Ubuntu|Ubuntu|https://mirror.example/ubuntu/", ""),
        ("Debian|Debian|https://user:secret@mirror.example/debian/", ""),
        ("", ""),
    ],
)
def test_the_machines_own_mirror_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str
) -> None:
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\necho '{said}'\n" if said else "#!/bin/sh\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert base.mirror() == expected
