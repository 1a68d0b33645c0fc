"""Leases: who uses which environment, until when. One document per stack; the record that sweeps and `ls` go by.

A lease is written before the first side effect of a stack and removed after the last. Its ``phase`` tells a guardian
what to do when the holder dies: ``kept`` environments are unlocked, all others are destroyed. ``pooled`` ones wait for
a branch; a process that claims one holds it until it has checked that it fits.

A process of another PID namespace or host can be judged neither alive nor dead: its lease ends by expiry alone. A lease
that cannot be read is set aside (:mod:`ephemera.home.documents`): its stack is then like one that plain `pulumi` made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter

from ephemera.home import documents
from ephemera.home.documents import DiskError
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.processes import ProcessId
from ephemera.model import progress
from ephemera.model.errors import InputError
from ephemera.model.labels import Identity
from ephemera.model.names import is_pool_stack, stack_name

_SCHEMA = 2
DEFAULT_TTL_SECONDS = 12 * 3600.0
POOL_BRANCH = "pool"
"""The branch in the labels of a pool's environments, and in the leases of unclaimed ones."""

Phase = Literal["creating", "disposable", "kept", "pooled", "destroying"]


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Times are seconds since the epoch. ``checkout``: absolute folder of the project that made the stack.
    ``run``: id of the command or test run that holds it. ``engine``: leader of the engine's process group,
    ``suite``: pytest's process, where they run. ``users``: attached sessions, once for each use.
    ``seeded``: whether the suite's seed data is in it. ``claimed``: whether its branch took it out of a pool.
    ``docker``: id of the Docker engine that it is on, empty while unknown; ``docker_url``: where that was reached.
    ``others``: fields of the document that this version does not know; they are kept.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, allow_inf_nan=False)

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
    docker: str = ""
    docker_url: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def from_pool(self) -> bool:
        """Whether it was made for a pool: its branch is then in the lease, not in its labels."""
        return is_pool_stack(self.stack, self.system)

    @property
    def unclaimed(self) -> bool:
        """Whether no branch has claimed it yet: it comes up for a pool, waits in it, or is taken down out of it."""
        made = self.branch == POOL_BRANCH and self.phase in ("creating", "destroying")
        return self.from_pool and (self.phase == "pooled" or made)

    def held(self) -> bool:
        """Return whether its holder lives, or may: one that cannot be seen from here is not taken for dead."""
        return self.holder is not None and not self.holder.dead()

    def in_use(self) -> bool:
        """Return whether a process works with the environment: then it is not reaped, however old it is."""
        return any(process is not None and process.alive() for process in (self.holder, self.suite, *self.users))

    def orphaned(self) -> bool:
        """Return whether its holder died and no guardian is there to clean up after it."""
        guarded = self.guardian is not None and not self.guardian.dead()
        return self.holder is not None and self.holder.dead() and not guarded


_LEASE = TypeAdapter(Lease)
_FIELDS = {each.name for each in fields(Lease)} - {"others"}


def read(stack: str) -> Lease | None:
    """Return the stack's lease, or None. One that cannot be read is set aside."""
    return read_file(_path(stack))


def read_file(path: Path) -> Lease | None:
    """Return the lease in ``path``, a file named after its stack, or None. One that cannot be read is set aside."""

    def parsed(document: dict[str, Any]) -> Lease:
        document.pop(documents.SCHEMA, None)
        others = {key: document.pop(key) for key in document.keys() - _FIELDS}
        lease = _LEASE.validate_json(json.dumps({**document, "others": others}))
        if lease.stack != path.stem:
            raise ValueError(f"it is of {lease.stack}")
        return lease

    return documents.read(path, parsed)


def all_leases() -> list[Lease]:
    """Return every lease of this user, by stack."""
    leases = (read(path.stem) for path in sorted((state_dir() / "leases").glob("*.json")))
    return [lease for lease in leases if lease is not None]


def claimed_as(stack: str, system: str, checkout: str) -> str | None:
    """Return the pool's stack that was claimed by the branch whose own would be named ``stack``; None without one."""
    for lease in all_leases():
        its_own = lease.claimed and lease.phase in ("kept", "destroying")
        if its_own and (lease.system, lease.checkout, stack_name(system, lease.branch)) == (system, checkout, stack):
            return lease.stack
    return None


def write(lease: Lease) -> None:
    """Record a lease. Raises :class:`DiskError`."""
    with _locked("leases", lease.stack):
        _write(lease)


def new(stack: str, project: str, checkout: str, identity: Identity, **fields: Any) -> Lease:
    """Return a lease, not written yet: kept, without a holder, with the default TTL; ``fields``: what is different."""
    now = clock.now()
    times = {"created_at": now, "used_at": now, "expires_at": now + DEFAULT_TTL_SECONDS}
    whose = {"system": identity.system, "branch": identity.branch, "owner": identity.owner}
    standard = {"run": "", "phase": "kept", "holder": None, **times, **whose, **fields}
    return Lease(stack=stack, project=project, checkout=checkout, **standard)


def first_seen(stack: str, project: str, checkout: str, identity: Identity, **fields: Any) -> Lease:
    """Return a lease for a stack that has none: plain ``pulumi up`` made it, or its lease cannot be read.

    It is written down unless the disk is full."""
    lease = new(stack, project, checkout, identity, **fields)
    with _locked("leases", stack):
        _write_if_possible(lease)
    return lease


def change(stack: str, **fields: Any) -> Lease | None:
    """Change fields of the stack's lease and return it; None without one. Raises :class:`DiskError`."""
    return take(stack, lambda _: True, **fields)


def take(stack: str, allowed: Callable[[Lease], bool], **fields: Any) -> Lease | None:
    """Change fields of the stack's lease if it is still ``allowed``, else return None: of several processes, one wins.

    Raises :class:`DiskError`.
    """
    return _updated(stack, lambda lease: replace(lease, **fields) if allowed(lease) else None, _write)


def note(stack: str, **fields: Any) -> None:
    """Change fields that only speed up a clean-up; a full disk is no error."""
    _updated(stack, lambda lease: replace(lease, **fields), _write_if_possible)


def extend(stack: str, ttl_seconds: float) -> Lease | None:
    """Move the expiry to ``ttl_seconds`` from now, unless it is later; None without a lease.

    Raises :class:`DiskError`.
    """
    return _updated(stack, lambda lease: _used(lease, ttl_seconds), _write)


def touch(stack: str, ttl_seconds: float = DEFAULT_TTL_SECONDS, **fields: Any) -> Lease | None:
    """Do as :func:`extend`, and change ``fields``; on a full disk the lease stays as it was."""
    return _updated(stack, lambda lease: _used(replace(lease, **fields), ttl_seconds), _write_if_possible)


@contextmanager
def using(stack: str) -> Iterator[None]:
    """Mark the stack as in use by this process, which does not hold it; its expiry moves on.

    Raises :class:`InputError` while it is being taken down.
    """
    me = ProcessId.of()

    def begun(lease: Lease) -> Lease:
        if lease.phase == "destroying":
            raise InputError(f"environment {stack!r} is being taken down", remedy="bring up another one")
        return _used(replace(lease, users=(*(user for user in lease.users if not user.dead()), me)))

    def ended(lease: Lease) -> Lease | None:
        if me not in lease.users:
            return None
        at = lease.users.index(me)
        return _used(replace(lease, users=(*lease.users[:at], *lease.users[at + 1 :])))

    _updated(stack, begun, _write_if_possible)
    try:
        yield
    finally:
        _updated(stack, ended, _write_if_possible)


def remove(stack: str) -> None:
    """Remove the stack's lease."""
    with _locked("leases", stack):
        documents.remove(_path(stack))


@contextmanager
def exclusive(stack: str) -> Iterator[None]:
    """Hold the stack against every other command of this user: only one at a time changes an environment."""
    with _locked("operations", stack):
        yield


@contextmanager
def _locked(folder: str, stack: str) -> Iterator[None]:
    """Hold a lock of the stack; its file goes with the lease."""
    path = state_dir() / folder / f"{stack}.lock"
    with locked(path):
        try:
            yield
        finally:
            if not _path(stack).is_file():
                with suppress(OSError):  # an empty file does no harm
                    path.unlink(missing_ok=True)


def _updated(stack: str, how: Callable[[Lease], Lease | None], write: Callable[[Lease], None]) -> Lease | None:
    """Write and return the changed lease; None if there is none, or ``how`` leaves it as it is."""
    with _locked("leases", stack):
        lease = read(stack)
        changed = how(lease) if lease is not None else None
        if changed is not None:
            write(changed)
        return changed


def _write(lease: Lease) -> None:
    document = asdict(lease)
    others = document.pop("others")
    documents.write(_path(lease.stack), {**others, **document}, schema=_SCHEMA)


def _write_if_possible(lease: Lease) -> None:
    try:
        _write(lease)
    except DiskError as error:
        progress.tell(f"the use of {lease.stack} is not recorded: {error.message}")


def _used(lease: Lease, ttl_seconds: float = DEFAULT_TTL_SECONDS) -> Lease:
    now = clock.now()
    return replace(lease, used_at=now, expires_at=max(lease.expires_at, now + ttl_seconds))


def _path(stack: str) -> Path:
    return state_dir() / "leases" / f"{stack}.json"
