"""An ordinary user of this machine: no root, a home, state and caches of their own, and what groups a test gives."""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ephemera import images
from ephemera.home.paths import cache_dir
from ephemera.setup import toolchain
from tests.driver_command import PROJECT, Done

_ROOT = Path(__file__).resolve().parents[2]
_DEADLINE_SECONDS = 180


@dataclass(frozen=True, kw_only=True)
class Person:
    """``entry``: of the user database. ``variables``: what their environment holds besides home and paths."""

    entry: pwd.struct_passwd
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """Their copy of the small project."""
        return Path(self.entry.pw_dir) / "shop"

    @property
    def branch(self) -> str:
        """The branch that their environments are of: no two users of an engine share one."""
        return self.entry.pw_name

    @property
    def backend(self) -> str:
        """Id of the state that their environments are recorded in."""
        return (Path(self.entry.pw_dir) / ".local/state/ephemera/backend-id").read_text()

    def __call__(self, *arguments: str, groups: Sequence[str] = ()) -> Done:
        """Run ``ephemera`` as this user, in those groups besides their own."""
        command = self.command(["-m", "ephemera", *arguments], groups)
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def command(self, arguments: Sequence[str], groups: Sequence[str] = (), *, program: str = "") -> list[str]:
        """Command line of ``program`` (Python) as this user."""
        ids = [str(grp.getgrnam(name).gr_gid) for name in groups]
        kept = [f"--groups={','.join(ids)}"] if ids else ["--clear-groups"]
        who = [f"--reuid={self.entry.pw_uid}", f"--regid={self.entry.pw_gid}"]
        # What root of this sandbox may do goes with its number, and is not to be had back.
        return ["setpriv", *who, *kept, "--no-new-privs", program or _interpreter(), *arguments]

    def environment(self) -> Mapping[str, str]:
        """Their process environment: nothing of ours but what names the network's proxies and authorities."""
        home = self.entry.pw_dir
        passed = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}
        return {
            **passed,
            "HOME": home,
            "USER": self.entry.pw_name,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            # The interpreter of these tests may be in root's home; its packages are not.
            "PYTHONPATH": os.pathsep.join(map(str, (_packages(), _ROOT / "src"))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "EPHEMERA_IMAGES": images.mode(),
            "EPHEMERA_BRANCH": self.branch,
            "COLUMNS": "200",
            **self.variables,
        }


@contextmanager
def person() -> Iterator[Person]:
    """A new user with a copy of the small project and of the toolchain; gone afterwards, with all that is theirs."""
    name = f"eng{secrets.token_hex(3)}"
    # A password that is none: an account without one counts as locked.
    _run("useradd", "--create-home", "--password", "*", "--shell", "/bin/sh", name)
    try:
        made = Person(entry=pwd.getpwnam(name))
        home = Path(made.entry.pw_dir)
        shutil.copytree(
            PROJECT, made.project, ignore=shutil.ignore_patterns(".ephemera", "__pycache__", "Pulumi.*.yaml")
        )
        folder = toolchain.toolchain_dir()
        inside = home / ".cache" / "ephemera" / folder.relative_to(cache_dir())
        shutil.copytree(folder, inside, copy_function=_linked, symlinks=True)
        _run("chown", "--recursive", "--no-dereference", f"{name}:", str(made.project))
        # The files are root's, by the same name: folders alone are handed over.
        _run("find", str(home / ".cache"), "-type", "d", "-exec", "chown", f"{name}:", "{}", "+")
        yield made
    finally:
        _run("userdel", "--remove", name)


def _linked(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


def _interpreter() -> str:
    """A Python of this version that every user may run."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = shutil.which(version, path="/usr/local/bin:/usr/bin")
    assert found, f"install {version} for all users (in /usr/bin) for these tests"
    return found


def _packages() -> Path:
    return Path(sysconfig.get_path("purelib"))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
