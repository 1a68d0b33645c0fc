"""Pools: environments of a system that are up already, for the branch, or test run, that asks first.

``$XDG_STATE_HOME/ephemera/pools/<system>-<hash of the checkout>.json`` says how many are wanted. Each has a stack name
of its own, and a lease in phase ``pooled``. To claim one is to change that lease, under its lock: the claimant checks
whether it is still what the branch would make now, and then the lease names the branch. They are made by
:mod:`ephemera.lifecycle.filling`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from ephemera.home import documents, leases
from ephemera.home.leases import Lease
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import holding
from ephemera.model.catalog import Manifest
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.settings import Settings
from ephemera.observe import evidence
from ephemera.pulumi import known
from ephemera.pulumi.workspace import Workspace
from ephemera.warm.client import detached

LARGEST = 64
"""Environments that a pool has at most."""
_SCHEMA = 1
_FIRST_PAUSE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Pool:
    """What is wanted of a system in one checkout. ``config``: settings, key → text as in Pulumi config. ``problem``:
    why the last try to make one failed; ``failures``: tries that failed in a row; ``tried_at``: seconds since the
    epoch."""

    __pydantic_config__: ClassVar = ConfigDict(strict=True, allow_inf_nan=False)

    system: str
    project: str
    checkout: str
    size: Annotated[int, Field(ge=0, le=LARGEST)]
    config: Mapping[str, str]
    problem: str = ""
    failures: int = 0
    tried_at: float = 0.0

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.system}-{hashlib.sha256(self.checkout.encode()).hexdigest()[:8]}"

    def workspace(self) -> Workspace:
        """Return the project that it makes environments of."""
        return Workspace(Path(self.checkout), self.project)


_POOL = TypeAdapter(Pool)


def claim(
    workspace: Workspace, system: Manifest, settings: Settings, phase: Literal["kept", "disposable"]
) -> EnvironmentOutputs | None:
    """Claim an environment of the pool that is what ``settings`` would make now; return its outputs, None without one.

    This process holds a disposable one; a kept one has no holder.
    """
    me = ProcessId.of()

    def held(lease: Lease) -> bool:
        return lease.phase == "pooled" and lease.holder == me

    for lease in _members(workspace.project, settings.system):
        found = known.read(lease.stack)
        if not free(lease) or found is None or not known.same_request(found, settings):
            continue
        if leases.take(lease.stack, free, holder=me) is None:
            continue  # another process was faster
        if known.why_not(found, workspace, lease.stack, system, settings, any_branch=True):
            leases.take(lease.stack, held, holder=None, expires_at=0.0)  # for the reaper, and never claimed again
            continue
        now = clock.now()
        mine = leases.take(
            lease.stack,
            held,
            phase=phase,
            branch=settings.branch,
            claimed=phase == "kept",
            run=evidence.new_run(lease.stack),
            holder=me if phase == "disposable" else None,
            used_at=now,
            expires_at=now + leases.DEFAULT_TTL_SECONDS,
        )
        if mine is None:
            continue  # it was taken down by name meanwhile
        if phase == "disposable":
            holding.keep(workspace.project, lease.stack)
        return known.shown(lease.stack, found).model_copy(update={"branch": settings.branch})
    return None


def free(lease: Lease) -> bool:
    """Return whether it waits to be claimed."""
    return lease.phase == "pooled" and lease.expires_at > clock.now() and not lease.in_use()


def members(pool: Pool) -> list[Lease]:
    """Return the leases of its unclaimed environments, oldest first; also of those that come up, or are taken down."""
    return _members(Path(pool.checkout), pool.system)


def pools() -> list[Pool]:
    """Return every pool of this user, by name."""
    found = (read(path.stem) for path in sorted((state_dir() / "pools").glob("*.json")))
    return [pool for pool in found if pool is not None]


def read(name: str) -> Pool | None:
    """Return the pool of that name, or None. One that cannot be read is set aside."""

    def parsed(document: dict[str, Any]) -> Pool:
        found = _POOL.validate_json(json.dumps(document))
        if found.name != name:
            raise ValueError(f"it is pool {found.name}")
        return found

    return documents.read(_path(name), parsed)


def write(pool: Pool) -> None:
    """Want that many from now on; size 0 forgets the pool."""
    with _guarded(pool.name):
        if pool.size:
            _write(pool)
        else:
            _path(pool.name).unlink(missing_ok=True)


def note(pool: Pool, problem: str) -> None:
    """Remember how a try to make one ended; ``problem`` is empty when it was made."""
    with _guarded(pool.name):
        if (current := read(pool.name)) is not None:
            failures = current.failures + 1 if problem else 0
            _write(replace(current, problem=problem, failures=failures, tried_at=clock.now()))


def due(pool: Pool) -> bool:
    """Return whether environments are missing, and the last failure is long enough ago to try again."""
    pause = _FIRST_PAUSE_SECONDS * 2 ** (pool.failures - 1) if pool.failures else 0.0
    return missing(pool) and clock.now() >= pool.tried_at + min(pause, _LONGEST_PAUSE_SECONDS)


def missing(pool: Pool) -> bool:
    """Return whether fewer are ready, or coming up, than are wanted."""
    there = [lease for lease in members(pool) if free(lease) or (lease.phase == "creating" and lease.held())]
    return len(there) < pool.size


def start_if_due() -> None:
    """Fill the pools that are due, each in a process of its own."""
    for pool in pools():
        if due(pool):
            start(pool)


def start(pool: Pool) -> None:
    """Fill the pool in a process of its own."""
    detached("ephemera.lifecycle.filling", [pool.name], state_dir() / "logs" / "pools.log").returncode = 0


def filling(name: str, *, timeout_seconds: float | None = None) -> AbstractContextManager[None]:
    """Hold the lock of filling, or emptying, the pool."""
    return locked(_path(name).with_suffix(".filling"), timeout_seconds=timeout_seconds)


def _members(checkout: Path, system: str) -> list[Lease]:
    found = [
        lease
        for lease in leases.all_leases()
        if lease.unclaimed and (lease.system, lease.checkout) == (system, str(checkout))
    ]
    return sorted(found, key=lambda lease: lease.created_at)


def _guarded(name: str) -> AbstractContextManager[None]:
    return locked(_path(name).with_suffix(".lock"))


def _write(pool: Pool) -> None:
    documents.write(_path(pool.name), asdict(pool), schema=_SCHEMA)


def _path(name: str) -> Path:
    return state_dir() / "pools" / f"{name}.json"
