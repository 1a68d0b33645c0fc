"""The base image of the local recipes: Debian packages, installed by debootstrap and imported as one layer."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.home import identity
from ephemera.home.paths import cache_dir
from ephemera.images.build_errors import ImageBuildError, explained
from ephemera.images.references import BASE, BASE_SUITE, CA_BUNDLE
from ephemera.model import labels, progress
from ephemera.model.errors import MachineError
from ephemera.setup import apt
from ephemera.setup.artifacts import data_dir
from ephemera.setup.work import CommandFailedError, Work

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
        script = data_dir("images") / BASE.name / "rootfs.sh"
        arguments = [str(script), str(output), BASE_SUITE, str(CA_BUNDLE), keyring, mirror()]
        try:
            # In a mount namespace of its own: what debootstrap mounts is gone with it, even when it is killed.
            work.run(["unshare", "--mount", "bash", *arguments])
        except CommandFailedError as failure:
            raise failure.as_machine_error(
                "the base image cannot be made", "check the package mirror and debian-archive-keyring"
            ) from failure
        report("importing")
        repository, tag = reference.split(":")
        marks = labels.of_image(BASE.name, identity.backend_id())
        changes = [*(f"LABEL {label}={value}" for label, value in marks.items()), *_CHANGES]
        try:
            client.api.import_image_from_file(str(output), repository=repository, tag=tag, changes=changes)
        except APIError as error:
            explanation = explained(client, error.explanation or str(error))
            raise ImageBuildError(BASE.name, "importing it", *explanation) from error


def _prepared(work: Work) -> str:
    """Install debootstrap if it is missing; return the keyring that it checks signatures with, empty without one."""
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
    """Return the Debian mirror that this machine's apt uses; empty, for debootstrap's own default, without one."""
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
