"""Steps that take engine and plugin as the vendor publishes them, where the vendor's download can be reached."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

from ephemera.contract.errors import MachineError
from ephemera.machine.artifacts import published
from ephemera.machine.toolchain import (
    LANGUAGE_HOST,
    PLUGIN_VERSION,
    engine_dir,
    engine_kind,
    official_engine_dir,
    plugin_path,
    sdk_version,
)
from ephemera.machine.venv import NAME as VENV
from ephemera.machine.venv import PythonEnvironment
from ephemera.machine.work import CommandFailedError, Work

_DOWNLOADS = "https://get.pulumi.com/"
_ANSWER_SECONDS = 3.0
_INSTALL = """
import sys
from pulumi.automation import PulumiCommand
from semver import VersionInfo
PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))
"""


def reachable() -> bool:
    """Whether the vendor's download answers within 3 s."""
    import urllib.error
    import urllib.request  # slow to import, and rarely needed

    try:
        with urllib.request.urlopen(_DOWNLOADS, timeout=_ANSWER_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def wanted() -> bool:
    """Whether the engine is to be the vendor's."""
    kind = engine_kind()
    return reachable() if kind is None else kind == "official"


class OfficialEngine:
    """The vendor's ``pulumi`` in the version of the SDK, by the Automation API's own installer."""

    name = "engine"

    def __init__(self, project: Path, environment: PythonEnvironment) -> None:
        self._project = project
        self._environment = environment

    def needs(self) -> Collection[str]:
        return (VENV,)

    def check(self) -> bool:
        return (official_engine_dir(self._project) / "pulumi").exists()

    def run(self, work: Work) -> None:
        root = official_engine_dir(self._project).parent
        with work.alone(f"engine-{root.name}"):
            if self.check():
                return
            version = sdk_version(self._project)
            try:
                with published(root) as partial:
                    work.run([str(self._environment.python), "-c", _INSTALL, str(partial), version])
                    work.run([str(partial / "bin" / "pulumi"), "version"])
            except CommandFailedError as failure:
                raise failure.as_machine_error(
                    f"Pulumi {version} cannot be installed", "set EPHEMERA_ENGINE=build to build it instead"
                ) from failure


class OfficialLanguageHost:
    """Comes with the vendor's engine."""

    name = "language host"

    def __init__(self, project: Path) -> None:
        self._project = project

    def needs(self) -> Collection[str]:
        return (OfficialEngine.name,)

    def check(self) -> bool:
        return all((official_engine_dir(self._project) / name).exists() for name in LANGUAGE_HOST)

    def run(self, work: Work) -> None:
        """Nothing is left to do: the engine's archive holds it, and the check after this says so."""


class OfficialPlugin:
    """The vendor's Docker plugin, by ``pulumi plugin install``."""

    name = "docker plugin"

    def __init__(self, project: Path) -> None:
        self._project = project

    def needs(self) -> Collection[str]:
        return (OfficialEngine.name,)

    def check(self) -> bool:
        return plugin_path().exists()

    def run(self, work: Work) -> None:
        folder = plugin_path().parent
        home = folder.parents[1]
        bin_dir = engine_dir(self._project)
        if bin_dir is None:
            raise MachineError("Pulumi's engine is not there any more", remedy="run the command again")
        with work.alone(f"plugin-{home.name}"):
            if self.check():
                return
            home.parent.mkdir(parents=True, exist_ok=True)
            # Into a home of its own: the engine takes a folder that it began to fill for an installed plugin.
            with tempfile.TemporaryDirectory(prefix=".download-", dir=home.parent) as fresh:
                env = {**os.environ, "PULUMI_HOME": fresh, "PULUMI_SKIP_UPDATE_CHECK": "true"}
                command = [str(bin_dir / "pulumi"), "plugin", "install", "resource", "docker", f"v{PLUGIN_VERSION}"]
                try:
                    work.run(command, env=env)
                except CommandFailedError as failure:
                    raise failure.as_machine_error(
                        "the vendor's Docker plugin cannot be installed", "unset EPHEMERA_PLUGIN to build ours instead"
                    ) from failure
                with published(folder) as partial:
                    (Path(fresh) / "plugins" / folder.name).rename(partial)
