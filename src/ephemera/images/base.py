"""The base image of the local recipes: packages of Debian alone, put together by debootstrap, imported as one layer."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract import labels, progress
from ephemera.contract.errors import MachineError
from ephemera.home import identity
from ephemera.home.paths import cache_dir
from ephemera.images import disk
from ephemera.images.errors import ImageBuildError
from ephemera.images.recipes import BASE
from ephemera.images.references import BASE_SUITE, CA_BUNDLE, base_folder
from ephemera.machine import apt
from ephemera.machine.work import CommandFailedError, Work

if TYPE_CHECKING:
    import docker

_CHANGES = (
    "ENV LANG=C.UTF-8",
    "ENV DEBIAN_FRONTEND=noninteractive",
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    'CMD ["bash"]',
)


def import_base(client: docker.DockerClient, reference: str, report: Callable[[str], None]) -> None:
    """Make the root file system and import it under ``reference``; needs root on a Debian or Ubuntu machine."""
    if os.geteuid() != 0:
        raise MachineError(
            "the local base image can only be made by root",
            remedy="run once as root, or set EPHEMERA_IMAGES=registry on a machine that reaches an image registry",
        )
    from docker.errors import APIError

    work = Work("base image", report)
    keyring = _prepared(work)
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache_dir()) as folder:
        output = Path(folder) / "rootfs.tar"
        script = base_folder() / "rootfs.sh"
        # In a mount namespace of its own: what debootstrap mounts is gone with it, even when it is killed.
        arguments = [str(script), str(output), BASE_SUITE, str(CA_BUNDLE), keyring, mirror()]
        command = ["unshare", "--mount", "bash", *arguments]
        try:
            work.run(command)
        except CommandFailedError as failure:
            raise failure.as_machine_error(
                "the base image cannot be made", "check the package mirror and debian-archive-keyring"
            ) from failure
        report("importing")
        repository, tag = reference.split(":")
        try:
            marks = [f"LABEL {label}={value}" for label, value in labels.of_image(BASE, identity.backend_id()).items()]
            client.api.import_image_from_file(
                str(output), repository=repository, tag=tag, changes=[*marks, *_CHANGES]
            )  # fmt: skip
        except APIError as error:
            cause = error.explanation or str(error)
            full = disk.full(client, [cause])
            raise ImageBuildError(BASE, "importing it", full or cause, (), disk.REMEDY if full else "") from error


def _prepared(work: Work) -> str:
    """Have debootstrap there, and return the keyring that it checks signatures with; nothing where that is missing."""
    if shutil.which("debootstrap") is None:
        if not apt.available():
            raise MachineError("debootstrap is not installed", remedy=f"install {' and '.join(apt.DEBOOTSTRAP)}")
        apt.install(work, apt.DEBOOTSTRAP)
    elif not apt.checks_signatures() and apt.available():
        with suppress(MachineError):  # a mirror without them, or none that answers
            apt.install(work, apt.DEBOOTSTRAP)
    if apt.checks_signatures():
        return str(apt.KEYRING)
    progress.emit({"type": "notice", "message": apt.UNCHECKED})
    return ""


def mirror() -> str:
    """The Debian mirror that this machine's apt uses, or nothing, which is debootstrap's own default."""
    if shutil.which("apt-get") is None:
        return ""
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    for line in said.splitlines():
        origin, label, url = line.split("|")
        # A URL with a user in it holds a secret, and would stay readable in the image.
        if origin == label == "Debian" and "@" not in url:
            return url
    return ""
