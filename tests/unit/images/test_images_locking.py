"""Digests are written only when every registry answered; the base image says what it lacks."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError

from ephemera.contract.errors import MachineError
from ephemera.images import base, locking, recipes
from ephemera.images.errors import ImageMissingError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for room in (recipes, locking):
        monkeypatch.setattr(room, "data_dir", lambda _: tmp_path)
    (tmp_path / "engines.toml").write_text('[nats]\nofficial = "nats:2"\n[redis]\nofficial = "redis:7"\n[mine]\n')
    recipes.recipes.cache_clear()
    recipes.digests.cache_clear()
    yield tmp_path
    recipes.recipes.cache_clear()
    recipes.digests.cache_clear()


def registry(monkeypatch: pytest.MonkeyPatch, silent: str = "") -> None:
    def inspect_distribution(reference: str) -> dict[str, Any]:
        if reference == silent:
            raise APIError("unauthorized", explanation="no such manifest")
        return {"Descriptor": {"digest": f"sha256:{reference[0]}"}}

    @contextmanager
    def connected() -> Iterator[Any]:
        yield SimpleNamespace(api=SimpleNamespace(inspect_distribution=inspect_distribution))

    monkeypatch.setattr(locking, "connected", connected)


def test_every_official_image_gets_its_digest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry(monkeypatch)
    path = locking.lock(lambda _: None)
    assert path == folder / "images.lock"
    assert tomllib.loads(path.read_text()) == {"nats:2": "sha256:n", "redis:7": "sha256:r"}
    assert recipes.pinned("nats:2") == "nats@sha256:n"


def test_a_registry_that_does_not_answer_leaves_the_file_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "images.lock").write_text('"nats:2" = "sha256:old"\n')
    registry(monkeypatch, silent="redis:7")
    with pytest.raises(ImageMissingError, match="'redis:7' is not to be had: no such manifest"):
        locking.lock(lambda _: None)
    assert (folder / "images.lock").read_text() == '"nats:2" = "sha256:old"\n'


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
