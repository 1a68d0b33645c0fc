"""Packages of the system, on Debian and its descendants, for root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from ephemera.machine.work import CommandFailedError, Work


def available() -> bool:
    """Return whether packages can be installed."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(work: Work, packages: Sequence[str]) -> None:
    """Install packages without what they merely recommend; raises the failure as one line."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Two clones, or the system's own updates, may be at it: wait for them.
    apt_get = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "--yes"]
    with work.alone("apt"):
        try:
            work.run([*apt_get, "update"], env=env)
        except CommandFailedError as failure:
            # One foreign source that is down must not be in the way of the others; if it matters, the install fails.
            work.say(f"package lists are not complete: {failure.tail[-1] if failure.tail else failure}")
        try:
            work.run([*apt_get, "install", "--no-install-recommends", *packages], env=env)
        except CommandFailedError as failure:
            names = " ".join(packages)
            raise failure.as_machine_error(f"apt-get cannot install {names}", f"install {names} by hand") from failure
