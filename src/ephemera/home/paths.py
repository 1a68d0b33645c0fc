"""Where things live: per user, never in the checkout, so that a deleted clone leaves nothing that cannot be found.

State (what an environment's life depends on) and cache (what can be made again) follow the XDG base directories.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ephemera.contract.errors import MachineError
from ephemera.host import surroundings


def state_dir() -> Path:
    """Directory of Pulumi state, passphrase, key, leases and address allocations; made on first use, mode 0700.

    Raises :class:`MachineError` if it cannot be made or written to.
    """
    return _writable(_private(_base("XDG_STATE_HOME", ".local/state")))


def cache_dir() -> Path:
    """Directory of engine, plugins, wheels and base images' inputs; made on first use, mode 0700."""
    return _private(_base("XDG_CACHE_HOME", ".cache"))


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
    if not os.access(directory, os.W_OK | os.X_OK):  # another user's, or on a disk that is mounted read-only
        raise MachineError(f"{directory} cannot be written to", remedy=surroundings.REMEDY)
    return directory


def _private(directory: Path) -> Path:
    if not directory.is_dir():
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:  # of a home that is not there, is another user's, or cannot be written to
            raise MachineError(f"{directory} cannot be made ({error.strerror})", remedy=surroundings.REMEDY) from error
    return directory
