"""Leases: who uses which environment, until when. One file per stack; the state of record for sweeps and `ls`.

A lease is written before the first side effect of a stack and removed after the last. Its ``phase`` tells a guardian
what to do when the holder dies: ``kept`` environments are unlocked, all others are destroyed. ``pooled`` ones wait for
a branch; the process that claims one holds it until it has found it fit.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ephemera.contract.errors import InputError, MachineError
from ephemera.contract.labels import Identity
from ephemera.contract.names import is_pool_stack, stack_name
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host.processes import ProcessId

DEFAULT_TTL_SECONDS = 12 * 3600.0
POOL_BRANCH = "pool"
"""What labels of a pool's environments, and leases of unclaimed ones, give as their branch."""

Phase = Literal["creating", "disposable", "kept", "pooled", "destroying"]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Times are seconds since the epoch. ``checkout``: absolute folder of the project that made the stack.
    ``run``: id of the command or test run that holds it. ``engine``: leader of the engine's process group,
    ``suite``: pytest's process, where they run. ``users``: attached sessions, once for each use.
    ``seeded``: whether the suite's seed data is in it. ``claimed``: whether its branch took it out of a pool.
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
    users: tuple[ProcessId, ...] = ()
    seeded: bool = False
    claimed: bool = False
    created_at: float
    used_at: float
    expires_at: float

    @property
    def from_pool(self) -> bool:
        """Whether it was made for a pool: its branch is then the lease's, and not what its labels say."""
        return is_pool_stack(self.stack, self.system)

    @property
    def unclaimed(self) -> bool:
        """Whether no branch has claimed it yet: it comes up for a pool, waits in it, or is taken down out of it."""
        made = self.branch == POOL_BRANCH and self.phase in ("creating", "destroying")
        return self.from_pool and (self.phase == "pooled" or made)

    def held(self) -> bool:
        """Whether its holder lives."""
        return self.holder is not None and self.holder.alive()

    def in_use(self) -> bool:
        """Whether anybody works with the environment: then it is not reaped, however old it is."""
        return any(process is not None and process.alive() for process in (self.holder, self.suite, *self.users))

    def orphaned(self) -> bool:
        """Whether its holder died and nobody is there to clean up after it."""
        guarded = self.guardian is not None and self.guardian.alive()
        return self.holder is not None and not self.holder.alive() and not guarded


def read(stack: str) -> Lease | None:
    """The stack's lease, or None."""
    return read_file(_path(stack))


def read_file(path: Path) -> Lease | None:
    """The lease in that file, which may be another user's, or None."""
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        for role in ("holder", "engine", "suite", "guardian"):
            document[role] = ProcessId(**document[role]) if document.get(role) else None
        document["users"] = tuple(ProcessId(**user) for user in document.get("users", ()))
        return _checked(Lease(**document))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MachineError(
            f"lease {path} cannot be read", remedy="remove it, then `ephemera down` its stack"
        ) from error


def _checked(lease: Lease) -> Lease:
    times = (lease.created_at, lease.used_at, lease.expires_at)
    processes = (lease.holder, lease.engine, lease.suite, lease.guardian, *lease.users)
    known = [process for process in processes if process is not None]
    numbers = [*times, *(process.started for process in known)]
    texts = (lease.stack, lease.project, lease.system, lease.branch, lease.owner, lease.checkout, lease.run)
    if not all(isinstance(number, int | float) and -math.inf < number < math.inf for number in numbers):
        raise TypeError("no time")
    if not all(type(process.pid) is int and 0 < process.pid < 2**31 for process in known):
        raise TypeError("no process")
    if not all(isinstance(text, str) for text in texts) or lease.phase not in get_args(Phase):
        raise TypeError("no text or phase")
    return lease


def write(lease: Lease) -> None:
    """Record it, atomically."""
    with _guarded(lease.stack):
        _write(lease)


def change(stack: str, **fields: Any) -> Lease | None:
    """Change fields of the stack's lease; None when it has none."""
    with _guarded(stack):
        lease = read(stack)
        if lease is not None:
            lease = replace(lease, **fields)
            _write(lease)
        return lease


@contextmanager
def using(stack: str) -> Iterator[None]:
    """Mark the stack as in use by this process, which does not hold it; its expiry moves on.

    Raises :class:`InputError` for one that is being taken down.
    """
    me = ProcessId.of()
    with _guarded(stack):
        lease = read(stack)
        if lease is not None:
            if lease.phase == "destroying":
                raise InputError(f"environment {stack!r} is being taken down", remedy="bring up another one")
            _write(_used(replace(lease, users=(*(user for user in lease.users if user.alive()), me))))
    try:
        yield
    finally:
        with _guarded(stack):
            lease = read(stack)
            if lease is not None and me in lease.users:
                at = lease.users.index(me)
                _write(_used(replace(lease, users=(*lease.users[:at], *lease.users[at + 1 :]))))


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


def touch(stack: str, ttl_seconds: float = DEFAULT_TTL_SECONDS, **fields: Any) -> Lease | None:
    """Expiry moves with use, and only ahead: ``ttl_seconds`` from now, should it be earlier. None without a lease.

    ``fields`` are changed with it.
    """
    with _guarded(stack):
        lease = read(stack)
        if lease is not None:
            lease = _used(replace(lease, **fields), ttl_seconds)
            _write(lease)
        return lease


def claim(stack: str, allowed: Callable[[Lease], bool]) -> bool:
    """Mark the stack as being taken down, if its lease still allows it: then nobody begins to use it any more."""
    return take(stack, allowed, phase="destroying") is not None


def take(stack: str, allowed: Callable[[Lease], bool], **fields: Any) -> Lease | None:
    """Change fields of the stack's lease, if it still allows it: of several processes that ask, one gets it."""
    with _guarded(stack):
        lease = read(stack)
        if lease is None or not allowed(lease):
            return None
        lease = replace(lease, **fields)
        _write(lease)
        return lease


def remove(stack: str) -> None:
    """Forget it."""
    with _guarded(stack):
        _path(stack).unlink(missing_ok=True)
        _partial(stack).unlink(missing_ok=True)  # of a writer that was killed


def all_leases() -> list[Lease]:
    """Every lease of this user, by stack."""
    leases = (read(path.stem) for path in sorted((state_dir() / "leases").glob("*.json")))
    return [lease for lease in leases if lease is not None]


def claimed_as(stack: str, system: str, checkout: str) -> str | None:
    """The stack that the branch which would call its own ``stack`` has claimed from a pool; None without one."""
    for lease in all_leases():
        its_own = lease.claimed and lease.phase in ("kept", "destroying")
        if its_own and (lease.system, lease.checkout, stack_name(system, lease.branch)) == (system, checkout, stack):
            return lease.stack
    return None


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


def _write(lease: Lease) -> None:
    partial = _partial(lease.stack)
    partial.write_text(json.dumps(asdict(lease), indent=1))
    partial.replace(_path(lease.stack))


def _used(lease: Lease, ttl_seconds: float = DEFAULT_TTL_SECONDS) -> Lease:
    now = time.time()
    return replace(lease, used_at=now, expires_at=max(lease.expires_at, now + ttl_seconds))


def _partial(stack: str) -> Path:
    return _path(stack).with_suffix(".partial")


def _path(stack: str) -> Path:
    return state_dir() / "leases" / f"{stack}.json"
