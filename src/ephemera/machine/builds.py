"""Steps that build engine, language host and plugin with Go from ``toolchain/``, pinned by each ``go.sum``."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Collection, Sequence
from pathlib import Path

from ephemera.contract.errors import MachineError
from ephemera.machine import go
from ephemera.machine.artifacts import published, remove
from ephemera.machine.data import data_dir
from ephemera.machine.toolchain import LANGUAGE_HOST, PLUGIN_EXECUTABLE, built_engine_dir, plugin_path, unsteered
from ephemera.machine.work import CommandFailedError, Work

_CLI = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_LANGUAGE_HOST = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
_VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
# More than two at a time only take memory from each other: linking the engine alone needs 2 GB.
_SLOTS = threading.BoundedSemaphore(2)


class _Build:
    name: str

    def needs(self) -> Collection[str]:
        return (go.NAME,)

    def _go(self, work: Work, folder: Path, arguments: Sequence[str]) -> list[str]:
        return self._run(work, folder, [self._compiler(), *arguments])

    def _compiler(self) -> str:
        compiler = go.executable()
        if compiler is None:
            raise MachineError("Go is not there any more", remedy="run the command again")
        go.check_caches(compiler)
        return str(compiler)

    def _run(self, work: Work, folder: Path, command: Sequence[str]) -> list[str]:
        # A GOFLAGS of the user's (-mod=mod, -race, …) would make another program of the same source.
        env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local"}
        while not _SLOTS.acquire(blocking=False):
            work.say("waiting for another build")
            work.pause(0.5)
        try:
            return work.run(command, cwd=folder, env=env)
        except CommandFailedError as failure:
            raise failure.as_machine_error(
                f"the {self.name} cannot be built", f"try `go build` in {folder}"
            ) from failure
        finally:
            _SLOTS.release()

    def _build(self, work: Work, folder: Path, package: str, target: Path, *ldflags: str) -> None:
        flags = " ".join(("-s", "-w", *ldflags))
        # -v: names each package as it is compiled, which is all the progress that Go has to show.
        self._go(work, folder, ["build", "-v", "-trimpath", "-ldflags", flags, "-o", str(target), package])


class BuiltEngine(_Build):
    """The ``pulumi`` command."""

    name = "engine"

    def check(self) -> bool:
        return (built_engine_dir() / "pulumi").exists()

    def run(self, work: Work) -> None:
        modules, target = data_dir("toolchain") / "engine" / "go.mod", built_engine_dir() / "pulumi"
        with work.alone(f"engine-{built_engine_dir().parent.name}"):
            if self.check():
                return
            required = re.search(r"github\.com/pulumi/pulumi/pkg/v3 (v\S+)", modules.read_text())
            if required is None:
                raise MachineError(f"{modules} does not pin Pulumi's engine", remedy="restore the file")
            source = target.parent.parent / "source"
            remove(source)  # which a killed build has left
            source.mkdir(parents=True)
            try:
                script = data_dir("toolchain") / "patched.py"
                self._run(work, source, [sys.executable, str(script), str(source), self._compiler()])
                with published(target) as partial:
                    self._build(work, source, _CLI, partial, f"-X {_VERSION_VARIABLE}={required[1]}")
                    _run_once(work, partial, required[1])
            finally:
                remove(source)


class BuiltLanguageHost(_Build):
    """What ``pulumi up`` by hand runs Python programs with."""

    name = "language host"

    def check(self) -> bool:
        return all((built_engine_dir() / name).exists() for name in LANGUAGE_HOST)

    def run(self, work: Work) -> None:
        folder = data_dir("toolchain") / "language-host"
        script, host = (built_engine_dir() / name for name in LANGUAGE_HOST)
        with work.alone(f"language-host-{built_engine_dir().parent.name}"):
            if self.check():
                return
            with published(host) as partial:
                self._build(work, folder, _LANGUAGE_HOST, partial)
                package = Path(self._go(work, folder, ["list", "-f", "{{.Dir}}", _LANGUAGE_HOST])[-1])
                with published(script) as copy:
                    shutil.copyfile(package.parent / script.name, copy)
                    copy.chmod(0o755)


class BuiltPlugin(_Build):
    """Our build of the Docker plugin."""

    name = "docker plugin"

    def check(self) -> bool:
        return plugin_path().exists()

    def run(self, work: Work) -> None:
        source = data_dir("toolchain") / "docker-plugin"
        with work.alone(f"plugin-{plugin_path().parents[2].name}"):
            if self.check():
                return
            with published(plugin_path().parent) as partial:
                partial.mkdir()
                self._build(work, source, f"./cmd/{PLUGIN_EXECUTABLE}", partial / PLUGIN_EXECUTABLE)


def _run_once(work: Work, pulumi: Path, expected: str) -> None:
    """Run the new engine, which shows that it is whole."""
    try:
        said = work.run([str(pulumi), "version"], env={**unsteered(os.environ), "PULUMI_SKIP_UPDATE_CHECK": "true"})
    except (CommandFailedError, OSError) as failure:
        raise MachineError(f"the engine that was built does not run ({failure})", remedy=f"see {work.log}") from failure
    if expected not in said:
        raise MachineError(f"the engine that was built says {said[-1:]}, not {expected}", remedy=f"see {work.log}")
