"""A full disk, told from all else that an engine may say: where it is, and how to make room."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ephemera.host import surroundings
from ephemera.host.configured import configured

if TYPE_CHECKING:
    import docker

REMEDY = "make room there: `ephemera images prune` drops what nobody uses, `docker system df` tells what takes it"
_SAID = os.strerror(errno.ENOSPC).lower()


def full(client: docker.DockerClient, said: Iterable[str]) -> str | None:
    """The cause, when what the engine said comes from its full disk."""
    if not any(_SAID in line.lower() for line in said):
        return None
    hostname = configured().hostname
    folder = client.info().get("DockerRootDir", "its data root")
    return f"the disk of the Docker engine is full ({folder}{f' on {hostname}' if hostname else ''})"


def full_here(error: OSError) -> str | None:
    """The cause, when a file of ours met a full disk of this machine."""
    return f"the disk of {surroundings.temporary()} is full" if error.errno == errno.ENOSPC else None
