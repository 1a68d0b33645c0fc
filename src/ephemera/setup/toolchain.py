"""Where Pulumi's engine, its Python language host and the Docker plugin are, found in milliseconds.

All are built from pinned sources, and lie in the user's cache under the hash of these::

    toolchain/<hash>/bin/{pulumi, pulumi-language-python, pulumi-language-python-exec}
    toolchain/<hash>/home/plugins/resource-docker-v5.2.0/pulumi-resource-docker

The distribution ``ephemera-toolchain`` holds the same folder, ``ephemera_toolchain/<hash>``, built elsewhere.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ephemera.home.locks import locked
from ephemera.home.paths import cache_dir, cached_program
from ephemera.model.errors import MachineError
from ephemera.setup.artifacts import content_hash, data_dir, published

ARCHITECTURES = ("x86_64", "amd64", "aarch64", "arm64")
PLUGIN_VERSION = "5.2.0"
PROGRAMS = (
    *("bin/pulumi", "bin/pulumi-language-python", "bin/pulumi-language-python-exec"),
    f"home/plugins/resource-docker-v{PLUGIN_VERSION}/pulumi-resource-docker",
)
"""The toolchain's files, within its folder."""
_SOURCES = (".go", ".mod", ".sum", ".json", "build.py")
# By these the Docker plugin finds another engine than ephemera does, and our engine keys that are not this user's.
_STEERING = (
    *("DOCKER_CONTEXT", "DOCKER_CA_MATERIAL", "DOCKER_CERT_MATERIAL", "DOCKER_KEY_MATERIAL"),
    *("EPHEMERA_DERIVED_KEYS", "EPHEMERA_DERIVED_KEYS_PASSPHRASE"),
)


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """``bin_dir`` goes first on PATH and holds ``pulumi``; ``pulumi_home`` is ``PULUMI_HOME`` and holds the plugin."""

    pulumi: Path
    bin_dir: Path
    pulumi_home: Path


def located() -> Toolchain:
    """Return the toolchain, taken from ``ephemera-toolchain`` where it is installed and not in the cache yet.

    Raises :class:`MachineError` if it is not there, or if another user can change one of its programs.
    """
    folder = toolchain_dir()
    if not is_complete(folder):
        if (installed := prebuilt()) is None:
            raise MachineError("the Pulumi toolchain is not there", remedy="run `ephemera setup`, which makes it")
        with locked(cache_dir() / "locks" / f"toolchain-{folder.name}.lock"):
            if not is_complete(folder):
                with published(folder) as partial:
                    shutil.copytree(installed, partial)  # which outlives that environment
    check_programs()
    return Toolchain(pulumi=folder / "bin" / "pulumi", bin_dir=folder / "bin", pulumi_home=folder / "home")


def is_complete(folder: Path) -> bool:
    """Return whether ``folder`` holds all programs of the toolchain."""
    return all((folder / program).exists() for program in PROGRAMS)


def prebuilt() -> Path | None:
    """Return the folder in the installed ``ephemera-toolchain``; None without one that was built from our sources."""
    spec = importlib.util.find_spec("ephemera_toolchain")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if is_complete(folder := Path(place) / fingerprint()):
            return folder
    return None


def toolchain_dir() -> Path:
    """Return the toolchain's folder in the cache, there or not."""
    return cache_dir() / "toolchain" / fingerprint()


@cache
def fingerprint() -> str:
    """Return the hash of the toolchain's sources and of this machine's architecture."""
    recipes = data_dir("toolchain")
    names = ("build.py", "go.mod", "go.sum", "patches", "engine", "docker-plugin")
    return content_hash([recipes / name for name in names], os.uname().machine, suffixes=_SOURCES)


def steers(variable: str) -> bool:
    """Return whether Pulumi's engine, its SDK or the Docker plugin would obey that environment variable.

    All that begin with ``PULUMI_`` count: every flag has one (``PULUMI_OPTION_PARALLEL``), as does every key of a
    program's config, and each release adds some.
    """
    return variable.startswith("PULUMI_") or variable in _STEERING


def unsteered(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that may reach the engine: the user's are for Pulumi projects of their own."""
    return {name: value for name, value in variables.items() if not steers(name)}


def check_architecture() -> None:
    """Raise :class:`MachineError` on an architecture that the toolchain is not built for."""
    if (architecture := os.uname().machine) not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise MachineError(f"architecture {architecture} is not supported", remedy=f"use one of {known}")


def check_programs() -> None:
    """Raise :class:`MachineError` if another user can change one of the programs that are there."""
    for folder in {(toolchain_dir() / program).parent for program in PROGRAMS}:
        for path in folder.glob("*"):
            cached_program(path)
