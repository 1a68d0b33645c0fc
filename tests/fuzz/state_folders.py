"""Damaged state folders: one of several environments as real use leaves it, with one of its documents damaged.

The folder is the one that an earlier version wrote (``tests/unit/home/earlier``), carried on by this version: besides
the environments that were there, one is held by a living process, one by a dead one, one has expired.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ephemera.home import documents, identity, leases
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import FakeClient, engine_lock, marks

DAMAGED, OTHER, POOLED, HELD, DEAD, EXPIRED = (
    "data-main",
    "web-main",
    "web--mmhcz9",
    "web-held-sgjcfi",
    "web-dead-abc234",
    "web-old",
)
STACKS = (DAMAGED, OTHER, POOLED, HELD, DEAD, EXPIRED)
DUE = (DEAD, EXPIRED)
"""What the reaper takes down."""
ENGINE = "ABCD:EFGH"
"""Id of the Docker engine."""

_CONTAINER = "f354f8cf304b71ca86b72648e0d08c55f3e5b3650f203f209357099b031cc1db"
_AT = "2026-11-30T13:38:07Z"
_NETWORK = "bf5ce56266b3919c12a14f194e88af41f5207789ebff94badac66d95f12a2247"
"""As the state names them."""
_EARLIER = Path(__file__).parents[1] / "unit" / "home" / "earlier" / "1"
_A_FILE, _A_FOLDER, _A_LINK = "a file", "a folder", "a link to nowhere"
_FIELDS_OF_EACH = 22
_VALUES: tuple[Any, ...] = (None, True, -1, 3.5, "", "text", [], {}, [{}], {"a": []}, 10**30, float("inf"), "web-main")


@dataclass(frozen=True)
class Files:
    """Content by path, relative to the folder that holds ``state`` and ``shop``; None is a folder, a path a link."""

    content: dict[str, bytes | Path | None] = field(default_factory=dict)

    @staticmethod
    def of(root: Path) -> Files:
        """Read what is there."""
        found: dict[str, bytes | Path | None] = {}
        for folder, folders, files in os.walk(root):
            inside = "" if folder == str(root) else f"{os.path.relpath(folder, root)}/"
            for name in (*folders, *files):
                path = Path(folder, name)
                is_link = path.is_symlink()
                found[f"{inside}{name}"] = (
                    path.readlink() if is_link else None if name in folders else path.read_bytes()
                )
        return Files(found)

    def about(self, stack: str) -> dict[str, bytes | Path]:
        """What is recorded of a stack, in files that are named after it: no locks, no evidence, nothing set aside."""
        return {
            name: content
            for name, content in self.content.items()
            if stack in name
            and content is not None
            and not name.endswith(".lock")
            and "/artifacts/" not in name
            and not documents.is_aside(Path(name))
        }

    def write(self, root: Path) -> None:
        """Have that there and nothing else; what is so already is not touched."""
        there = Files.of(root).content
        differing = [name for name in there if name not in self.content or there[name] != self.content[name]]
        for name in reversed(differing):  # what is in a folder before the folder
            path = root / name
            if there[name] is None:
                shutil.rmtree(path)
            else:
                path.unlink()
        for name, content in self.content.items():
            path = root / name
            if name in there and name not in differing:
                continue
            if isinstance(content, Path):
                path.symlink_to(content)
            elif content is None:
                path.mkdir(mode=0o700)
            else:
                path.write_bytes(content)

    def replaced(self, name: str, content: bytes | Path | None) -> Files:
        """The same with another content at that path, and nothing beneath it."""
        kept = {key: value for key, value in self.content.items() if not key.startswith(f"{name}/")}
        return Files({**kept, name: content})


@dataclass(frozen=True)
class Damage:
    """``document``: which, by its path; ``how``: in a word or two."""

    document: str
    how: str
    files: Files

    @property
    def blocks(self) -> bool:
        """Whether something of another kind is in its place: a file can hardly be worked with then, or not written."""
        return self.how in (_A_FILE, _A_FOLDER, _A_LINK)

    @property
    def forges(self) -> bool:
        """Whether it is the identity that tells this user's objects from all others'."""
        return self.document.endswith("/backend-id")

    def __str__(self) -> str:
        return f"{self.document}: {self.how}"


def whole(root: Path) -> Files:
    """Make the folder in ``root``, undamaged."""
    state, project = state_dir(), root / "shop"
    shutil.copytree(_EARLIER, state, dirs_exist_ok=True)
    for path in [path for path in state.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_bytes().replace(b"/home/dev/shop", str(project).encode()))
    identity.derived_keys_dir()
    identity.salt_file().write_text("v1:BD9skE7yu04=:v1:vaG7vrIRzQz1jECS:wLVMRx8icL12qE8H1pSub9KBD8BxUA==")
    (identity.derived_keys_dir() / "dd5fcbb74fdf").write_bytes(bytes(range(32)))
    workspace = Workspace(project)
    template = leases.read(OTHER)
    assert template is not None
    dead, living = ProcessId.of_started(2**22 - 1), ProcessId.of()
    now = time.time()
    alive: dict[str, Any] = {"docker": ENGINE, "docker_url": "unix:///var/run/docker.sock", "expires_at": now + 40000}
    given: dict[str, dict[str, Any]] = {
        DAMAGED: {"system": "data"},
        OTHER: {},
        POOLED: {"branch": "pool", "phase": "pooled"},
        HELD: {"branch": "held", "phase": "disposable", "holder": living, "users": (living,)},
        DEAD: {"branch": "dead", "phase": "disposable", "holder": dead, "engine": dead, "guardian": dead},
        EXPIRED: {"branch": "old", "expires_at": now - 5.0},
    }
    for stack, fields in given.items():
        leases.write(replace(template, stack=stack, **{**alive, **fields}))
        if not workspace.exists(stack):
            workspace.create(stack)
        if stack == DAMAGED:
            workspace.write_config(stack, {"system": "data", "branch": "main", "owner": "dev@laptop"})
        else:
            workspace.write_config(stack, {"system": "web", "branch": stack.removeprefix("web-"), "owner": "dev"})
    workspace.share_salt(DAMAGED)
    engine_lock(workspace, DAMAGED, pid=2**22 - 1)
    history = workspace.state_file(DAMAGED).parents[2] / "history" / "shop" / DAMAGED
    history.mkdir(parents=True)
    (history / f"{DAMAGED}-1.history.json").write_text('{"kind": "update", "version": 1}')
    for name, content in {
        f"operations/{DAMAGED}.lock": "",
        f"guardians/{DAMAGED}.log": "owner 7 died\n",
        f"scratch/{DAMAGED}/data/remembered.json": json.dumps(
            {"ready": {"postgres": ["data-main-postgres-id", ""]}, "services": {"postgres": {"container": "c"}}}
        ),
        f"recordings/{DAMAGED}.lock": "",
        "logs/reaper.log": "",
        "identity.lock": "",
        "machine.lock": "",
    }.items():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(content)
    return Files.of(root)


def fill(client: FakeClient) -> None:
    """Put on the Docker engine what the folder's environments are made of."""
    client.told = {"ID": ENGINE}
    backend = "212ead31adc1"
    for stack in STACKS:
        service = "postgres" if stack == DAMAGED else "web"
        client.api.add("network", stack, marks(stack, backend), Id=_NETWORK if stack == DAMAGED else f"{stack}-id")
        identifier = _CONTAINER if stack == DAMAGED else f"{stack}-id"
        client.api.add("container", f"{stack}-{service}", marks(stack, backend, service), Mounts=[], Id=identifier)
        client.api.add("volume", f"{stack}-data", marks(stack, backend), CreatedAt=_AT)
        client.api.documents[identifier] = {
            "Id": identifier,
            "Name": f"/{stack}-{service}",
            "Config": {"Image": "ephemera/postgres:1", "Env": [], "Labels": {}},
            "State": {"Running": True, "Status": "running", "ExitCode": 0, "StartedAt": _AT, "FinishedAt": _AT},
            "NetworkSettings": {"Networks": {stack: {"NetworkID": _NETWORK, "Aliases": [service]}}},
        }


def damaged(files: Files, seed: int) -> Iterator[Damage]:
    """Every document of the folder, each in every way; the same ones for a ``seed``."""
    dice = random.Random(seed)  # noqa: S311
    for document, content in files.content.items():
        if not _is_ours(document):
            continue
        if content is None:
            ways: dict[str, bytes | Path | None] = {_A_FILE: b"", _A_LINK: Path("/nowhere/at/all")}
        else:
            assert isinstance(content, bytes)
            ways = {**dict(_torn(content)), **dict(_otherwise(content, dice))}
        for how, instead in ways.items():
            yield Damage(document, how, files.replaced(document, instead))


def _is_ours(document: str) -> bool:
    """Documents of the environment that suffers, and of none; and leases of a pooled and of a due one."""
    of_another = any(stack in document for stack in STACKS if stack != DAMAGED)
    if document == f"shop/Pulumi.{DAMAGED}.yaml":
        return True
    leased = document in (f"state/ephemera/leases/{stack}.json" for stack in (POOLED, DEAD))
    return document.startswith("state/ephemera/") and (leased or not of_another)


def _torn(content: bytes) -> Iterator[tuple[str, bytes | Path | None]]:
    yield "empty", b""
    for part in (1, len(content) // 3, len(content) - 1):
        if 0 < part < len(content):
            yield f"cut after {part} bytes", content[:part]
    yield "zeros", b"\0" * max(1, len(content))
    yield "binary", bytes(range(256)) * 4
    yield "twice", content * 2 if content else b"\n"
    yield "null", b"null"
    yield "a list", b"[]"
    yield "a number", b"3"
    yield "a text", b'"text"'
    yield "deep", b"[" * 3_000
    yield "deep objects", b'{"a":' * 3_000
    yield _A_FOLDER, None
    yield _A_LINK, Path("/nowhere/at/all")


def _otherwise(content: bytes, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """JSON that is something else in one place."""
    try:
        document = json.loads(content)
    except ValueError:
        return
    if not isinstance(document, dict):
        return
    yield "unknown fields", json.dumps({**document, "unknown": {"a": [1]}, "more": None}).encode()
    yield "a later schema", json.dumps({**document, "schema": 99, "version": 99}).encode()
    places = list(_places(document))
    for place in dice.sample(places, min(_FIELDS_OF_EACH, len(places))):
        value = dice.choice(_VALUES)
        changed = json.loads(content)
        _at(changed, place)(value)
        yield f"{'.'.join(map(str, place))} is {value!r}", json.dumps(changed).encode()


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from _places(part, (*path, key))


def _at(document: Any, place: tuple[Any, ...]) -> Callable[[Any], None]:
    for key in place[:-1]:
        document = document[key]
    return lambda value: document.__setitem__(place[-1], value)
