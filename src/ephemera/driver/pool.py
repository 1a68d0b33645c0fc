"""Pools: environments of a system that are up already, for whichever branch, or test run, asks first.

``$XDG_STATE_HOME/ephemera/pools/<system>-<hash of the checkout>.json`` says how many are wanted. Each has a stack name
of its own, and a lease in phase ``pooled``. Claiming one is a change of that lease, under its lock: whoever gets it
looks whether it is still what the branch would make now, and then the lease says which branch it is of. They are made
by :mod:`ephemera.driver.filling`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from ephemera.contract.catalog import Manifest
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.settings import Settings
from ephemera.driver import definition, evidence, holding, known
from ephemera.driver.workspace import Workspace
from ephemera.home import documents, leases
from ephemera.home.leases import Lease
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host import clock
from ephemera.host.processes import ProcessId
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

    system: str
    project: str
    checkout: str
    size: int
    config: Mapping[str, str]
    problem: str = ""
    failures: int = 0
    tried_at: float = 0.0

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.system}-{hashlib.sha256(self.checkout.encode()).hexdigest()[:8]}"

    def workspace(self) -> Workspace:
        """The project that it makes environments of."""
        return Workspace(Path(self.checkout), self.project)


def claim(
    workspace: Workspace, system: Manifest, settings: Settings, phase: Literal["kept", "disposable"]
) -> EnvironmentOutputs | None:
    """The outputs of an environment of the pool that is what ``settings`` would make now, given to nobody else; None
    without one. A disposable one is held by this process, a kept one by nobody."""
    me = ProcessId.of()
    for lease in _members(workspace.project, settings.system):
        found = known.read(lease.stack)
        if not free(lease) or found is None or not definition.same_request(found.definition, settings):
            continue
        if leases.take(lease.stack, free, holder=me) is None:
            continue  # somebody was faster
        held = _held_by(me)
        if known.why_not(found, workspace, lease.stack, system, settings, any_branch=True):
            leases.take(lease.stack, held, holder=None, expires_at=0.0)  # for the reaper, and never given again
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
    """Whether it waits to be claimed."""
    return lease.phase == "pooled" and lease.expires_at > clock.now() and not lease.in_use()


def members(pool: Pool) -> list[Lease]:
    """Leases of its environments that nobody has claimed, oldest first; those that are coming up, or going, too."""
    return _members(Path(pool.checkout), pool.system)


def pools() -> list[Pool]:
    """Every pool of this user, by name."""
    found = (read(path.stem) for path in sorted((state_dir() / "pools").glob("*.json")))
    return [pool for pool in found if pool is not None]


def read(name: str) -> Pool | None:
    """Return the pool of that name, or None. One that cannot be read is set aside."""

    def parsed(document: dict[str, Any]) -> Pool:
        known = {each.name for each in fields(Pool)}
        found = Pool(**{key: value for key, value in document.items() if key in known})
        texts = (found.system, found.project, found.checkout, found.problem, *found.config, *found.config.values())
        if not all(isinstance(text, str) for text in texts) or found.name != name:
            raise TypeError("it is no pool of that name")
        if type(found.size) is not int or type(found.failures) is not int or not 0 <= found.size <= LARGEST:
            raise TypeError("its size is no number of environments")
        if type(found.tried_at) not in (int, float):
            raise TypeError("a time is no time")
        return found

    return documents.read(_path(name), parsed)


def write(pool: Pool) -> None:
    """Want that many from now on; none at all with size 0, which forgets the pool."""
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
    """Whether environments are missing, and the last failure is long enough ago to try again."""
    pause = _FIRST_PAUSE_SECONDS * 2 ** (pool.failures - 1) if pool.failures else 0.0
    return missing(pool) and clock.now() >= pool.tried_at + min(pause, _LONGEST_PAUSE_SECONDS)


def missing(pool: Pool) -> bool:
    """Whether fewer are there, or coming up, than are wanted."""
    there = [lease for lease in members(pool) if free(lease) or (lease.phase == "creating" and lease.held())]
    return len(there) < pool.size


def start_if_due() -> None:
    """Fill pools that want it, each in a process of its own; the asking command goes on."""
    for pool in pools():
        if due(pool):
            start(pool)


def start(pool: Pool) -> None:
    """Have a process of its own make the pool what it is to be."""
    folder = state_dir() / "logs"
    with suppress(OSError):
        folder.mkdir(exist_ok=True)
    detached("ephemera.driver.filling", [pool.name], folder / "pools.log").returncode = 0


def lock_file(name: str, what: Literal["filling", "waiting"]) -> Path:
    """Held by whoever fills, or empties, the pool; by whoever waits to be the next one."""
    return state_dir() / "pools" / f"{name}.{what}"


def _members(checkout: Path, system: str) -> list[Lease]:
    found = [
        lease
        for lease in leases.all_leases()
        if lease.unclaimed and (lease.system, lease.checkout) == (system, str(checkout))
    ]
    return sorted(found, key=lambda lease: lease.created_at)


def _held_by(me: ProcessId) -> Callable[[Lease], bool]:
    return lambda lease: lease.phase == "pooled" and lease.holder == me


def _guarded(name: str) -> AbstractContextManager[None]:
    return locked(_path(name).with_suffix(".lock"))


def _write(pool: Pool) -> None:
    documents.write(_path(pool.name), asdict(pool), schema=_SCHEMA)


def _path(name: str) -> Path:
    return state_dir() / "pools" / f"{name}.json"
