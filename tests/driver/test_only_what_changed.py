"""An update touches what changed, and nothing else: the same containers run on, data is kept."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ephemera.docker.connection import connected
from ephemera.model import labels

from .conftest import Ephemera

_PSQL = ("psql", "-U", "shop", "-d", "shop", "-tAc")


@dataclass(frozen=True)
class Chain:
    """The system in which services need each other: store → setup (a one-shot) → api → worker."""

    command: Ephemera
    image: str

    @property
    def stack(self) -> str:
        return self.command.stack("chain")

    def up(self, *arguments: str) -> set[str]:
        """Update it; the services whose container is another one, was started again, or is gone or new."""
        before = self.lives()
        done = self.command("up", "chain", *arguments)
        assert done.code == 0, done.err
        after = self.lives()
        return {service for service in before | after if before.get(service) != after.get(service)}

    def lives(self) -> dict[str, tuple[str, str]]:
        """By service: id of its container, and when that was started."""
        with connected() as client:
            listed = client.api.containers(all=True, filters={"label": f"{labels.STACK}={self.stack}"})
            found = {item["Labels"][labels.SERVICE]: client.api.inspect_container(item["Id"]) for item in listed}
        return {service: (document["Id"], document["State"]["StartedAt"]) for service, document in found.items()}

    def built(self) -> dict[str, set[str]]:
        """By name: ids of the images that were built so far."""
        found: dict[str, set[str]] = {f"{self.image}-api": set(), f"{self.image}-worker": set()}
        with connected() as client:
            for name, ids in found.items():
                ids |= {item["Id"] for item in client.api.images(filters={"label": f"{labels.IMAGE}={name}"})}
        return found

    def sql(self, statement: str) -> str:
        """What the store answers."""
        done = self.command("exec", "--stack", self.stack, "store", "--", *_PSQL, statement)
        assert done.code == 0, done.err
        return done.out.strip()

    def edit(self, path: str, pattern: str, replacement: str) -> None:
        """Change a file of the project, which must hold what is replaced."""
        file = self.command.project / path
        text, count = re.subn(pattern, replacement, file.read_text())
        assert count == 1, f"{pattern!r} is in {path} {count} times"
        file.write_text(text)


@pytest.fixture
def chain(ephemera: Ephemera, tmp_path: Path) -> Iterator[Chain]:
    """It, up, with images of the test's own and a row in the store."""
    image = f"chain-{secrets.token_hex(4)}"
    ephemera.variables["CHAIN_IMAGE"] = image
    chain = Chain(ephemera, image)
    try:
        assert chain.up() == {"store", "setup", "api", "worker"}
        chain.sql("CREATE TABLE kept AS SELECT 42 AS answer")
        yield chain
        assert chain.sql("SELECT answer FROM kept") == "42"
        done = ephemera("down", chain.stack)
        assert done.code == 0, done.err
        assert ephemera.left() == []
    finally:
        with connected() as client:
            for ids in chain.built().values():
                for identifier in ids:
                    client.api.remove_image(identifier, force=True)


def test_changed_source_rebuilds_one_image_and_replaces_one_container(chain: Chain) -> None:
    before = chain.built()
    chain.edit("services/api/serve.py", "import http.server\n", "import http.server  # changed\n")
    assert chain.up() == {"api"}  # the worker needs it, and runs on: only its variables would replace it
    after = chain.built()
    assert len(after[f"{chain.image}-api"] - before[f"{chain.image}-api"]) == 1
    assert after[f"{chain.image}-worker"] == before[f"{chain.image}-worker"]
    assert chain.up() == set()
    assert chain.up("--force") == set()  # which the engine finds, too


def test_changed_variable_replaces_the_service_that_has_it(chain: Chain) -> None:
    assert chain.up("-c", "greeting=bye") == {"api"}
    chain.edit("chain.py", '"API_URL": "http://api:8000"', '"API": api.started')
    assert chain.up() == {"worker"}
    assert chain.up("-c", "greeting=again") == {"api", "worker"}  # the worker wants to know which one it is


def test_replaced_store_keeps_its_data_and_those_that_need_it_run_on(chain: Chain) -> None:
    assert chain.up("-c", "connections=30") == {"store"}
    assert chain.sql("SHOW max_connections") == "30"


def test_service_that_left_the_program_goes_alone(chain: Chain) -> None:
    chain.edit("chain.py", r'    Container\(\n        "worker",', '    return\n    Container(\n        "worker",')
    assert chain.up() == {"worker"}
    assert set(chain.lives()) == {"store", "setup", "api"}
