"""Leases: who uses which environment, until when. One file per stack; the state of record for sweeps and `ls`.

A lease is written before the first side effect of a stack and removed after the last. Its ``phase`` tells a guardian
what to do when the holder dies: ``creating`` and ``disposable`` environments are destroyed, ``kept`` ones are unlocked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ephemera.contract.errors import MachineError
from ephemera.contract.labels import Identity
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId

DEFAULT_TTL_SECONDS = 12 * 3600.0

Phase = Literal["creating", "disposable", "kept"]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Times are seconds since the epoch. ``checkout``: absolute folder of the project that made the stack.
    ``run``: id of the command or test run that holds it. ``engine``: leader of the engine's process group,
    ``suite``: pytest's process, where they run.
    """

    stack: str
    project: str
    system: str
    branch: str
    owner: str
    checkout: str
    run: str
    phase: Phase
    holder: ProcessId | None
    engine: ProcessId | None = None
    suite: ProcessId | None = None
    guardian: ProcessId | None = None
    created_at: float
    used_at: float
    expires_at: float

    def held(self) -> bool:
        """Whether its holder lives."""
        return self.holder is not None and self.holder.alive()


def read(stack: str) -> Lease | None:
    """The stack's lease, or None."""
    path = _path(stack)
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        for role in ("holder", "engine", "suite", "guardian"):
            document[role] = ProcessId(**document[role]) if document.get(role) else None
        return Lease(**document)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, TypeError, AttributeError) as error:
        raise MachineError(
            f"lease {path} cannot be read", remedy="remove it, then `ephemera down` its stack"
        ) from error


def write(lease: Lease) -> None:
    """Record it, atomically."""
    path = _path(lease.stack)
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(lease), indent=1))
    partial.replace(path)


def change(stack: str, **fields: Any) -> Lease | None:
    """Change fields of the stack's lease; None when it has none."""
    with _guarded(stack):
        lease = read(stack)
        if lease is not None:
            lease = replace(lease, **fields)
            write(lease)
        return lease


def first_seen(stack: str, project: str, checkout: str, identity: Identity) -> Lease:
    """A lease for a stack that has none, because plain ``pulumi up`` made it: nobody holds it, the default TTL runs."""
    now = time.time()
    lease = Lease(
        stack=stack,
        project=project,
        system=identity.system,
        branch=identity.branch,
        owner=identity.owner,
        checkout=checkout,
        run="",
        phase="kept",
        holder=None,
        created_at=now,
        used_at=now,
        expires_at=now + DEFAULT_TTL_SECONDS,
    )
    write(lease)
    return lease


def touch(stack: str, ttl_seconds: float = DEFAULT_TTL_SECONDS) -> None:
    """Expiry moves with use."""
    now = time.time()
    change(stack, used_at=now, expires_at=now + ttl_seconds)


def remove(stack: str) -> None:
    """Forget it."""
    with _guarded(stack):
        _path(stack).unlink(missing_ok=True)


def all_leases() -> list[Lease]:
    """Every lease of this user, by stack."""
    leases = (read(path.stem) for path in sorted((state_dir() / "leases").glob("*.json")))
    return [lease for lease in leases if lease is not None]


@contextmanager
def exclusive(stack: str) -> Iterator[None]:
    """Hold the stack against every other command of this user: one at a time changes an environment."""
    path = state_dir() / "operations" / f"{stack}.lock"
    with locked(path):
        try:
            yield
        finally:
            if read(stack) is None:
                path.unlink(missing_ok=True)


@contextmanager
def _guarded(stack: str) -> Iterator[None]:
    path = _path(stack).with_suffix(".lock")
    with locked(path):
        try:
            yield
        finally:
            if not _path(stack).is_file():
                path.unlink(missing_ok=True)


def _path(stack: str) -> Path:
    return state_dir() / "leases" / f"{stack}.json"
