"""Leases: who uses which environment, until when. One document per stack; the state of record for sweeps and `ls`.

A lease is written before the first side effect of a stack and removed after the last. Its ``phase`` tells a guardian
what to do when the holder dies: ``kept`` environments are unlocked, all others are destroyed. ``pooled`` ones wait for
a branch; the process that claims one holds it until it has found it fit.

A process of another PID namespace or host can be judged neither alive nor dead: its lease ends by expiry alone. A lease
that cannot be read is set aside (:mod:`ephemera.home.documents`): its stack is then like one that plain `pulumi` made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ephemera.contract import progress
from ephemera.contract.errors import InputError
from ephemera.contract.labels import Identity
from ephemera.contract.names import is_pool_stack, stack_name
from ephemera.home import documents
from ephemera.home.documents import DiskError
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.processes import ProcessId

_SCHEMA = 2
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
    ``docker``: id of the Docker engine that it is on, empty while that is not known; ``docker_url``: where that was
    reached. ``others``: fields of the document that this version does not know; they are kept.
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
    docker: str = ""
    docker_url: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

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
        """Return whether its holder lives, or may: one that cannot be seen from here is not taken for dead."""
        return self.holder is not None and not self.holder.dead()

    def in_use(self) -> bool:
        """Return whether a process works with the environment: then it is not reaped, however old it is."""
        return any(process is not None and process.alive() for process in (self.holder, self.suite, *self.users))

    def orphaned(self) -> bool:
        """Return whether its holder died and no guardian is there to clean up after it."""
        guarded = self.guardian is not None and not self.guardian.dead()
        return self.holder is not None and self.holder.dead() and not guarded


def read(stack: str) -> Lease | None:
    """Return the stack's lease, or None. One that cannot be read is set aside."""
    return read_file(_path(stack))


def read_file(path: Path) -> Lease | None:
    """Return the lease in that file, which is called like its stack, or None. One that cannot be read is set aside."""
    return documents.read(path, lambda document: _parsed(path.stem, document))


def _parsed(stack: str, document: dict[str, Any]) -> Lease:
    document.pop(documents.SCHEMA, None)
    for role in ("holder", "engine", "suite", "guardian"):
        document[role] = _process(document[role]) if document.get(role) is not None else None
    document["users"] = tuple(_process(user) for user in document.get("users", ()))
    named = {each.name for each in fields(Lease)} - {"others"}
    others = {key: value for key, value in document.items() if key not in named}
    lease = _checked(Lease(**{key: document[key] for key in document.keys() & named}, others=others))
    if lease.stack != stack:
        raise ValueError(f"it is of {lease.stack}")
    return lease


def _process(document: dict[str, Any]) -> ProcessId:
    """The process that was written down; one of before it was told by its ticks can be judged by none."""
    known = {each.name for each in fields(ProcessId)}
    process = ProcessId(**{key: value for key, value in document.items() if key in known})
    texts = (process.boot, process.namespace, process.host)
    if not all(type(number) is int for number in (process.pid, process.ticks)) or not 0 < process.pid < 2**31:
        raise TypeError("a process is no process")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a process is no process")
    return process


def _checked(lease: Lease) -> Lease:
    times = (lease.created_at, lease.used_at, lease.expires_at)
    texts = (lease.stack, lease.project, lease.system, lease.branch, lease.owner, lease.checkout, lease.run)
    if not all(type(number) in (int, float) and -math.inf < number < math.inf for number in times):
        raise TypeError("a time is no time")
    if not all(isinstance(text, str) for text in (*texts, lease.docker, lease.docker_url)):
        raise TypeError("a name is no text")
    if lease.phase not in get_args(Phase):
        raise ValueError(f"its phase is {lease.phase!r}")
    if not all(isinstance(flag, bool) for flag in (lease.seeded, lease.claimed)):
        raise TypeError("seeded or claimed is no boolean")
    return lease


def write(lease: Lease) -> None:
    """Record it, atomically."""
    with _guarded(lease.stack):
        _write(lease)


def change(stack: str, **fields: Any) -> Lease | None:
    """Change fields of the stack's lease and return it; None when it has none."""
    return _updated(stack, lambda lease: replace(lease, **fields))


def note(stack: str, **fields: Any) -> None:
    """Change fields that only help to clean up sooner; nothing depends on them when the disk is full."""
    _updated(stack, lambda lease: replace(lease, **fields), if_possible=True)


@contextmanager
def using(stack: str) -> Iterator[None]:
    """Mark the stack as in use by this process, which does not hold it; its expiry moves on.

    Raises :class:`InputError` for one that is being taken down.
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

    _updated(stack, begun, if_possible=True)
    try:
        yield
    finally:
        _updated(stack, ended, if_possible=True)


def first_seen(
    stack: str, project: str, checkout: str, identity: Identity, *, docker: str = "", docker_url: str = ""
) -> Lease:
    """Return a lease for a stack that has none, because plain ``pulumi up`` made it, or what it had cannot be read.

    Nothing holds it; the default TTL runs. It is written down unless the disk is full."""
    now = clock.now()
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
        docker=docker,
        docker_url=docker_url,
    )
    with _guarded(stack):
        _write_if_possible(lease)
    return lease


def extend(stack: str, ttl_seconds: float) -> Lease | None:
    """Move the expiry to ``ttl_seconds`` from now, should it be earlier; None without a lease.

    Raises :class:`DiskError` where that cannot be recorded.
    """
    return _updated(stack, lambda lease: _used(lease, ttl_seconds))


def touch(stack: str, ttl_seconds: float = DEFAULT_TTL_SECONDS, **fields: Any) -> Lease | None:
    """Move the expiry to ``ttl_seconds`` from now, should it be earlier, and change ``fields``; None without a lease.

    Using an environment goes on when the disk is full: then its expiry stays what it was.
    """
    return _updated(stack, lambda lease: _used(replace(lease, **fields), ttl_seconds), if_possible=True)


def claim(stack: str, allowed: Callable[[Lease], bool]) -> bool:
    """Mark the stack as being taken down, if its lease still allows it: then nobody begins to use it any more."""
    return take(stack, allowed, phase="destroying") is not None


def take(stack: str, allowed: Callable[[Lease], bool], **fields: Any) -> Lease | None:
    """Change fields of the stack's lease, if it still allows it: of several processes that ask, one gets it."""
    return _updated(stack, lambda lease: replace(lease, **fields) if allowed(lease) else None)


def remove(stack: str) -> None:
    """Forget it."""
    with _guarded(stack):
        documents.remove(_path(stack))


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
                _drop(path)


@contextmanager
def _guarded(stack: str) -> Iterator[None]:
    path = _path(stack).with_suffix(".lock")
    with locked(path):
        try:
            yield
        finally:
            if not _path(stack).is_file():
                _drop(path)


def _updated(stack: str, how: Callable[[Lease], Lease | None], *, if_possible: bool = False) -> Lease | None:
    """Write and return what becomes of the stack's lease; None if it has none, or if it is to stay as it is.

    ``if_possible``: a disk that does not take it is no error.
    """
    with _guarded(stack):
        lease = read(stack)
        changed = how(lease) if lease is not None else None
        if changed is not None:
            (_write_if_possible if if_possible else _write)(changed)
        return changed


def _drop(lock: Path) -> None:
    with suppress(OSError):  # an empty file that stays is in no way
        lock.unlink(missing_ok=True)


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
