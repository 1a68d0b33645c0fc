"""The driver as people use it: the command in a process of its own, against a small project, with state of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ephemera import images
from ephemera.docker.connection import connected
from ephemera.lifecycle import removal
from ephemera.model import labels

PROJECT = Path(__file__).parent / "driver" / "project"
_ROOT = Path(__file__).resolve().parents[1]
# What the systems that this project ships are made of.
_SHIPPED_FOLDERS = ("components", "services", "stacks", "tests/e2e")
_SHIPPED_FILES = ("Pulumi.yaml", "__main__.py", "pyproject.toml")
_DEADLINE_SECONDS = 180
_INTERVAL_SECONDS = 0.1
# Other people's plugins cost each worker seconds, and are not what is tested.
_WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Ephemera:
    """Runs ``ephemera`` in a copy of the small project; ``state`` is the user's state directory."""

    project: Path
    state: Path
    variables: dict[str, str]
    started: list[subprocess.Popen[str]]

    def __call__(self, *arguments: str, cwd: Path | None = None, **variables: str) -> Done:
        return self._run(self.command(*arguments), cwd, variables)

    def elsewhere(self, variables: Mapping[str, str], *arguments: str) -> Done:
        """Run it with further variables, which may have any names."""
        return self._run(self.command(*arguments), None, variables)

    def pytest(self, *arguments: str, **variables: str) -> Done:
        """Run the project's tests as a user does: plain pytest."""
        return self._run(self.pytest_command(*arguments), None, variables)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start it and go on; in a process group of its own, so that a signal to it reaches nobody else."""
        return self._start(self.command(*arguments), variables)

    def start_pytest(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start the project's tests and go on, likewise."""
        return self._start(self.pytest_command(*arguments), variables)

    def _run(self, command: Sequence[str], cwd: Path | None, variables: Mapping[str, str]) -> Done:
        done = subprocess.run(
            command,
            cwd=cwd or self.project,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def _start(self, command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=self.project,
            env={**self.variables, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def command(self, *arguments: str) -> Sequence[str]:
        """The command line."""
        return [sys.executable, "-m", "ephemera", *arguments]

    def pytest_command(self, *arguments: str) -> Sequence[str]:
        """Pytest's command line."""
        return [sys.executable, "-m", "pytest", *_WITHOUT, *arguments]

    def pulumi(self, *arguments: str) -> Done:
        """Run plain ``pulumi`` with what ``eval "$(ephemera env)"`` exports."""
        script = f'eval "$({" ".join(self.command("env"))})" && exec pulumi "$@" --non-interactive'
        done = subprocess.run(
            ["bash", "-c", script, "pulumi", *arguments],
            cwd=self.project,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def backend(self) -> str:
        """Id of the state that this user's environments are recorded in."""
        return (self.state / "ephemera" / "backend-id").read_text()

    def stack(self, system: str) -> str:
        """Name of the stack of ``system`` on this test's branch."""
        return f"{system}-{self.variables['EPHEMERA_BRANCH']}"

    def running(self) -> bool:
        """Whether a container of an environment of this user runs."""
        with connected() as client:
            return bool(client.api.containers(filters=labels.filters(self.backend)))

    def left(self) -> list[str]:
        """Everything of this user that nobody should leave: objects, leases, addresses, state, config."""
        with connected() as client:
            found = [str(item) for item in removal.find(client, backend=self.backend)]
        home = self.state / "ephemera"
        for pattern in (
            "leases/*",
            "operations/*",
            "guardians/*",
            "recordings/*",
            "known/*",
            "pools/*.json",
            "scratch/*",
            "pulumi/.pulumi/stacks/*/*",
            "pulumi/.pulumi/locks/**/*.json",
        ):
            found += [str(path) for path in home.glob(pattern)]
        file = home / "addresses.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        found += [f"address of {stack}" for stack in known if stack != "schema"]
        found += [str(path) for path in self.project.glob("Pulumi.*.yaml")]
        return found


@pytest.fixture
def ephemera(tmp_path: Path) -> Iterator[Ephemera]:
    """The command, with a checkout and a state directory of the test's own; what a failed test leaves is removed."""
    with command_in(PROJECT, tmp_path) as command:
        yield command


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Ephemera]:
    """The command in a copy of the systems that this project ships, whose sources a test may edit."""
    source = tmp_path / "source"
    for name in _SHIPPED_FOLDERS:
        shutil.copytree(_ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    for name in _SHIPPED_FILES:
        shutil.copy(_ROOT / name, source / name)
    with command_in(source, tmp_path) as command:
        yield command


@contextmanager
def command_in(source: Path, folder: Path) -> Iterator[Ephemera]:
    """The command in a copy of the project ``source``; copy and state directory are in ``folder``."""
    project = folder / "shop"
    shutil.copytree(
        source, project, ignore=shutil.ignore_patterns(".ephemera", "__pycache__", "Pulumi.*.yaml", ".pytest_cache")
    )
    state = folder / "state"
    # Neither this run's options nor its CI: there, pytest prints more, and branches come from variables.
    hidden = ("EPHEMERA_", "PYTEST_", "GITHUB_", "CI_", "CI", "BUILD_NUMBER")
    variables = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    variables |= {
        "XDG_STATE_HOME": str(state),
        "EPHEMERA_IMAGES": images.mode(),
        # Stacks of several users share one engine: so that tests can run beside each other, no two share a name.
        "EPHEMERA_BRANCH": f"t{secrets.token_hex(3)}",
        "COLUMNS": "200",
    }
    command = Ephemera(project, state, variables, [])
    command("ls")  # makes the state directory's identity
    (state / "ephemera" / "addresses.json").write_text("{}")
    try:
        yield command
    finally:
        for process in command.started:
            process.kill()
            process.communicate(timeout=10)
        _remove_leftovers(command.backend)


def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait until that is so: for what no event tells of, such as the absence of things."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(_INTERVAL_SECONDS)


def _remove_leftovers(backend: str) -> None:
    with connected() as client:
        for stack in {found.stack for found in removal.find(client, backend=backend)}:
            removal.remove(client, stack, backend)
