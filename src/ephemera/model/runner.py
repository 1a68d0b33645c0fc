"""Declaration of the runner: how a system's suite runs inside the environment's network. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import get_args

from ephemera.model import declared
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage
from ephemera.model.names import check_service_name

IN_NETWORK = "--in-network"
"""Flag of ``test`` and ``run`` that runs the suite in the environment's network."""
COUNTED = ("passed", "failed", "skipped", "errors", "xfailed", "xpassed")
"""Kinds of outcome that are counted in a run of a suite."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A service that runs the suite; the driver creates its container, and the program none.

    ``name``, ``profile``: of the service. ``image``: has an interpreter, ``python``, and what the suite imports.
    ``coverage``: packages in the image to measure. ``files``: files and folders that the suite needs besides its own
    folder, relative to the project. ``memory_mb``: MiB; ``cpus``: cores; ``pids``: processes and threads.
    """

    image: AnyImage
    name: str = "tests"
    profile: str = "testing"
    python: str = "python3"
    coverage: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    memory_mb: int = 512
    cpus: float = 1.0
    pids: int = 256

    def __post_init__(self) -> None:
        check_service_name(self.name)
        declared.expect("profile of a runner", self.profile, str, "a name")
        declared.expect("image of a runner", self.image, get_args(AnyImage), "an EngineImage, ServiceImage …")
        declared.expect("python of a runner", self.python, str, "a command")
        for name in ("coverage", "files"):
            declared.expect(f"{name} of a runner", getattr(self, name), tuple, "a tuple of texts")
            for part in getattr(self, name):
                declared.expect(f"a part of {name} of a runner", part, str, "a text")
        for package in self.coverage:
            if not all(part.isidentifier() for part in package.split(".")):
                raise InputError(f"coverage of a runner has {package!r}", remedy="it must be a package, by its name")
        for path in self.files:
            parts = PurePosixPath(path)
            if not parts.parts or parts.is_absolute() or ".." in parts.parts:
                raise InputError(f"files of a runner has {path!r}", remedy="give it relative to the project, in it")
        declared.check_limits("a runner", memory_mb=self.memory_mb, cpus=self.cpus, pids=self.pids)
