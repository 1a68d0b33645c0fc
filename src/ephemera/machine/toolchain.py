"""Where Pulumi's engine, its Python language host and the Docker plugin are, found in milliseconds.

Everything is built from pinned sources, and lies in the user's cache under the hash of what it is made from::

    engine/<hash>/bin/{pulumi, pulumi-language-python, pulumi-language-python-exec}
    pulumi-home/fast-<hash>/plugins/resource-docker-v5.2.0/pulumi-resource-docker
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ephemera.contract.errors import InputError, MachineError
from ephemera.home.paths import cache_dir, cached_program
from ephemera.host import surroundings
from ephemera.machine.artifacts import content_hash
from ephemera.machine.data import data_dir

ARCHITECTURES = ("x86_64", "amd64", "aarch64", "arm64")
PLUGIN_VERSION = "5.2.0"
PLUGIN_EXECUTABLE = "pulumi-resource-docker"
LANGUAGE_HOST = ("pulumi-language-python-exec", "pulumi-language-python")
"""The script, then the host that looks for it."""
_SOURCES = (".go", ".mod", ".sum", ".json", "patched.py")
# By these the Docker plugin finds another engine than ephemera does, and our engine keys that are not this user's.
_STEERING = (
    *("DOCKER_CONTEXT", "DOCKER_CA_MATERIAL", "DOCKER_CERT_MATERIAL", "DOCKER_KEY_MATERIAL"),
    *("EPHEMERA_DERIVED_KEYS", "EPHEMERA_DERIVED_KEYS_PASSPHRASE"),
)
_REMEDY = "run `ephemera setup`, which makes it"


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """``bin_dir`` goes first on PATH and holds ``pulumi``; ``pulumi_home`` is ``PULUMI_HOME`` and holds the plugin."""

    pulumi: Path
    bin_dir: Path
    pulumi_home: Path


def located() -> Toolchain:
    """Return the toolchain; raise :class:`MachineError` if part of it is missing, or writable for another user."""
    check_choices()
    pulumi, plugin = built_engine_dir() / "pulumi", plugin_path()
    if not pulumi.exists():
        raise MachineError("Pulumi's engine is not there", remedy=_REMEDY)
    if not plugin.exists():
        raise MachineError("the Docker plugin is not there", remedy=_REMEDY)
    check_programs()
    return Toolchain(pulumi=pulumi, bin_dir=pulumi.parent, pulumi_home=pulumi_home())


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
    """Raise :class:`MachineError` on a processor that nothing is made for."""
    if (architecture := os.uname().machine) not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise MachineError(f"architecture {architecture} is not supported", remedy=f"use one of {known}")


def check_programs() -> None:
    """Raise :class:`MachineError` if another user can change one of the programs that are there."""
    for folder in (built_engine_dir(), plugin_path().parent):
        for path in folder.glob("*"):
            with suppress(FileNotFoundError):  # half made by a build that goes on
                cached_program(path)


def check_choices() -> None:
    """Raise unless ``EPHEMERA_ENGINE`` and ``EPHEMERA_PLUGIN`` ask for the builds from pinned sources, or nothing."""
    for variable, ours in (("EPHEMERA_ENGINE", "build"), ("EPHEMERA_PLUGIN", "fast")):
        value = surroundings.variables().get(variable) or ours
        if value == "official":
            raise MachineError(
                f"{variable} is 'official', and no hash is known that the vendor's download could be checked against",
                remedy=f"unset {variable}: ours is built from pinned sources",
            )
        if value != ours:
            raise InputError(f"{variable} is {value!r}", remedy=f"use {ours}, or unset it")


def built_engine_dir() -> Path:
    """Return the folder of the engine that is built."""
    return cache_dir() / "engine" / _sources_hash("engine", "language-host", "patched.py", "patches") / "bin"


def pulumi_home() -> Path:
    """Return ``PULUMI_HOME``, which holds the plugin."""
    return cache_dir() / "pulumi-home" / f"fast-{_sources_hash('docker-plugin')}"


def plugin_path() -> Path:
    """Return the plugin's executable."""
    return pulumi_home() / "plugins" / f"resource-docker-v{PLUGIN_VERSION}" / PLUGIN_EXECUTABLE


@cache
def _sources_hash(*folders: str) -> str:
    paths = [data_dir("toolchain") / name for name in folders]
    return content_hash(paths, os.uname().machine, suffixes=_SOURCES)
