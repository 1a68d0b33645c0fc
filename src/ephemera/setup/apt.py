"""Packages of Debian and its descendants: installed by root, checked by Debian's keyring."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ephemera.setup.work import CommandFailedError, Work

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEBOOTSTRAP = ("debootstrap", "debian-archive-keyring", "gpgv")
"""What making the base image needs."""
UNCHECKED = f"signatures of the base image's packages are not checked: {KEYRING} or gpgv is missing"


def available() -> bool:
    """Return whether packages can be installed."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def checks_signatures() -> bool:
    """Return whether debootstrap can check signatures here."""
    return KEYRING.is_file() and shutil.which("gpgv") is not None


def install(work: Work, packages: Sequence[str]) -> None:
    """Install packages without those that they merely recommend; raise :class:`MachineError` if that fails."""
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
