"""Digests from a registry, and images pulled by them."""

from __future__ import annotations

import base64
import json
import secrets
import tomllib
from pathlib import Path

import docker
import pytest

from ephemera.host import surroundings
from ephemera.images import ensure, lock_project
from ephemera.model.images import PublicImage

from .registry import PASSWORD, USER, private_registry


def test_what_is_locked_is_pulled_by_its_digest(
    client: docker.DockerClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.setattr(surroundings, "folder", lambda: tmp_path)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with private_registry(secrets.token_bytes(8)) as reference:
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {reference.partition("/")[0]: {"auth": auth}}}))
        image = PublicImage(reference=reference)
        lock = lock_project(tmp_path, [reference], lambda _: None)
        digest = tomllib.loads(lock.read_text())[reference]
        pulled = ensure([image], "registry")[image]
        try:
            assert pulled == f"{reference.removesuffix(':1')}@{digest}"
            assert client.api.inspect_image(pulled)["RepoDigests"] == [pulled]
            assert client.api.inspect_image(pulled)["RepoTags"] == [], "the tag was not asked for"
        finally:
            client.api.remove_image(pulled, force=True)
