"""Where Pulumi's engine, its Python language host and the Docker plugin are, found in milliseconds.

``EPHEMERA_ENGINE`` = ``build`` | ``official`` forces where the engine comes from; ``EPHEMERA_PLUGIN`` = ``fast`` (ours,
the default) | ``official``. Everything lies in the user's cache under the hash of what it is made from::

    engine/<hash>/bin/{pulumi, pulumi-language-python, pulumi-language-python-exec}
    engine/official-<version>/bin/, the same in the vendor's build
    pulumi-home/<variant>-<hash>/plugins/resource-docker-v5.2.0/pulumi-resource-docker
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ephemera.contract.errors import InputError, MachineError
from ephemera.home.paths import cache_dir
from ephemera.host import surroundings
from ephemera.machine.artifacts import content_hash
from ephemera.machine.data import checkout, data_dir

PLUGIN_VERSION = "5.2.0"
PLUGIN_EXECUTABLE = "pulumi-resource-docker"
LANGUAGE_HOST = ("pulumi-language-python-exec", "pulumi-language-python")
"""The script, then the host that looks for it."""
_SOURCES = (".go", ".mod", ".sum", ".json", "patched.py")
_FOR_ALL = ("patched.py", "patches")
_REMEDY = "run `ephemera setup`, which makes it"


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """``bin_dir`` goes first on PATH and holds ``pulumi``; ``pulumi_home`` is ``PULUMI_HOME`` and holds the plugin."""

    pulumi: Path
    bin_dir: Path
    pulumi_home: Path


def located(project_root: Path) -> Toolchain:
    """The toolchain of that project; raises :class:`MachineError` for what is not there."""
    bin_dir, plugin = engine_dir(project_root), plugin_path()
    if bin_dir is None:
        raise MachineError("Pulumi's engine is not there", remedy=_REMEDY)
    if not plugin.exists():
        raise MachineError("the Docker plugin is not there", remedy=_REMEDY)
    return Toolchain(pulumi=bin_dir / "pulumi", bin_dir=bin_dir, pulumi_home=pulumi_home())


def engine_dir(project_root: Path) -> Path | None:
    """Folder of a finished engine: the kind that is asked for, else whichever there is."""
    kind = engine_kind()
    if kind != "official" and (built_engine_dir() / "pulumi").exists():
        return built_engine_dir()
    if kind != "build" and (official_engine_dir(project_root) / "pulumi").exists():
        return official_engine_dir(project_root)
    return None


def engine_kind() -> str | None:
    """``build``, ``official``, or None when either will do."""
    return _choice("EPHEMERA_ENGINE", ("build", "official"))


def plugin_variant() -> str:
    """``fast`` or ``official``."""
    return _choice("EPHEMERA_PLUGIN", ("fast", "official")) or "fast"


def built_engine_dir() -> Path:
    """Where the engine that is built goes."""
    return cache_dir() / "engine" / _sources_hash("engine", "language-host") / "bin"


def official_engine_dir(project_root: Path) -> Path:
    """Where the vendor's goes, in the version of the project's Pulumi SDK."""
    return cache_dir() / "engine" / f"official-{sdk_version(project_root)}" / "bin"


def pulumi_home() -> Path:
    """``PULUMI_HOME`` of the plugin variant that is asked for."""
    variant = plugin_variant()
    key = PLUGIN_VERSION if variant == "official" else _sources_hash("docker-plugin")
    return cache_dir() / "pulumi-home" / f"{variant}-{key}"


def plugin_path() -> Path:
    """The plugin's executable."""
    return pulumi_home() / "plugins" / f"resource-docker-v{PLUGIN_VERSION}" / PLUGIN_EXECUTABLE


def sdk_version(project_root: Path) -> str:
    """Version of the ``pulumi`` package: in ephemera's own checkout the one that is locked, where the launcher needs it
    before anything is installed; else the one that is installed, whatever that project locks for itself."""
    locked = project_root / "requirements.txt"
    if project_root == checkout() and (found := re.search(r"^pulumi==([^ ;\\]+)", locked.read_text(), re.MULTILINE)):
        return found[1]
    import importlib.metadata  # slow to import, and not needed in the checkout

    try:
        return importlib.metadata.version("pulumi")
    except importlib.metadata.PackageNotFoundError:
        raise MachineError("the Python package `pulumi` is not installed", remedy="install ephemera with pip") from None


@cache
def _sources_hash(*folders: str) -> str:
    paths = [data_dir("toolchain") / name for name in (*folders, *_FOR_ALL)]
    return content_hash(paths, os.uname().machine, suffixes=_SOURCES)


def _choice(variable: str, allowed: tuple[str, ...]) -> str | None:
    value = surroundings.variables().get(variable) or None
    if value is not None and value not in allowed:
        raise InputError(f"{variable} is {value!r}", remedy=f"use one of {', '.join(allowed)}")
    return value
