"""Where things live: per user, never in the checkout, so that a deleted clone leaves nothing that cannot be found.

State (what an environment's life depends on) and cache (what can be made again) follow the XDG base directories. State
holds secrets and programs are run from the cache: both are refused where another user can change them.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ephemera.host import ownership, surroundings
from ephemera.model.errors import MachineError

_STATE, _CACHE = "XDG_STATE_HOME", "XDG_CACHE_HOME"
_checked: dict[Path, tuple[int, ...]] = {}


def state_dir() -> Path:
    """Directory of Pulumi state, passphrase, key, leases and address allocations; made on first use, mode 0700.

    Raises :class:`MachineError` if it cannot be made or written to, and if another user owns it or can change it.
    """
    return _writable(_private(_base(_STATE, ".local/state"), ownership.OPEN, _STATE))


def cache_dir() -> Path:
    """Directory of engine, plugins, wheels and base images' inputs; made on first use, mode 0700.

    Raises :class:`MachineError` if it cannot be made, and if another user owns it or can change it.
    """
    return _private(_base(_CACHE, ".cache"), ownership.SHARED, _CACHE)


def own_cache_dir(name: str) -> Path:
    """Folder of that name in the cache, for this user alone; made on first use, mode 0700."""
    directory = cache_dir() / name
    directory.mkdir(mode=0o700, exist_ok=True)
    ownership.narrow(directory, ownership.OPEN, _remedy(_CACHE))
    return directory


def cached_program(path: Path) -> Path:
    """Return ``path``, an executable in the cache. Raises :class:`MachineError` when another user can change it."""
    return ownership.program(path, cache_dir(), f"remove {path.parent}: it is made again")


def checkout_dir(project: Path) -> Path:
    """``.ephemera/`` of a checkout: virtual environment, artifacts, logs; ignored by git."""
    directory = project / ".ephemera"
    directory.mkdir(exist_ok=True)
    return directory


def _base(variable: str, default: str) -> Path:
    # The XDG specification: a relative path in the variable is to be ignored.
    configured = surroundings.variables().get(variable, "")
    return _ours(configured if configured.startswith("/") else str(surroundings.home() / default))


@cache  # asked for a hundred times in a command
def _ours(base: str) -> Path:
    return Path(base, "ephemera")


def _writable(directory: Path) -> Path:
    # On a disk that has become read-only an environment can still be looked at and destroyed.
    if not os.access(directory, os.W_OK | os.X_OK) and not os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise MachineError(f"{directory} cannot be written to", remedy=surroundings.REMEDY)
    return directory


def _private(directory: Path, closed: int, variable: str) -> Path:
    # Once a process and as long as it stays as it is: a fork of the warm process looks for itself.
    if _checked.get(directory) != (seen := _seen(directory)) or seen is None:
        ownership.keep(directory, closed=closed, remedy=_remedy(variable))
        if now := _seen(directory):
            _checked[directory] = now
    return directory


def _seen(directory: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(directory)  # noqa: PTH116 - hundreds of times in a command
    except OSError:
        return None
    return os.getpid(), os.geteuid(), status.st_dev, status.st_ino, status.st_uid, status.st_mode


def _remedy(variable: str) -> str:
    return f"run this as its owner (with sudo: `sudo -H`), or set {variable} to a folder that only you can change"
