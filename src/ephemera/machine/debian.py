"""What packages of Debian are checked with when the base image is made of them."""

from __future__ import annotations

import shutil
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = ("debootstrap", "debian-archive-keyring", "gpgv")
"""What making the base image needs."""
UNCHECKED = f"signatures of the base image's packages are not checked: {KEYRING} or gpgv is missing"


def can_check() -> bool:
    """Return whether debootstrap can check signatures here."""
    return KEYRING.is_file() and shutil.which("gpgv") is not None
