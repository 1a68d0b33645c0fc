"""The engine that was built: keys that it has derived once are the same, and not derived again; it keeps no logs,
and asks nothing of git."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ephemera.machine import toolchain

_ROOT = Path(__file__).resolve().parents[2]
_PASSPHRASE = "nobody guesses this"  # noqa: S105 - of nothing but this test
_SECONDS = 60
# Of a stack that the vendor's rules made: v1, salt, a known word that is encrypted.
_ROUNDS, _KEY_BYTES = 1_000_000, 32


class Project:
    """A project of its own, with state in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700)
        (folder / "Pulumi.yaml").write_text("name: keys\nruntime: python\n")
        built = toolchain.built_engine_dir() / "pulumi"
        assert built.exists(), "there is no engine that was built: `./ephemera setup` builds it"
        self._pulumi = str(built)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {
            "PULUMI_BACKEND_URL": self.folder.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": _PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_HOME": str(self.folder / "home"),
            "EPHEMERA_DERIVED_KEYS": str(self.keys),
        }
        return subprocess.run(
            [self._pulumi, *arguments, "--stack", "dev", "--non-interactive"],
            cwd=self.folder,
            env={**os.environ, **own, **variables},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def secret(self, **variables: str) -> str:
        done = self.run("config", "get", "keys:word", **variables)
        return done.stdout.strip() if done.returncode == 0 else done.stderr

    def file(self) -> Path:
        (file,) = self.keys.iterdir()
        return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("keys"))
    for arguments in (("stack", "init"), ("config", "set", "--secret", "keys:word", "opensesame")):
        done = project.run(*arguments)
        assert done.returncode == 0, done.stderr
    return project


def test_the_key_is_the_one_that_anybody_derives(made: Project) -> None:
    salt = next(
        line.split(":")[2] for line in (made.folder / "Pulumi.dev.yaml").read_text().splitlines() if "v1" in line
    )
    derived = hashlib.pbkdf2_hmac("sha256", _PASSPHRASE.encode(), base64.b64decode(salt), _ROUNDS, _KEY_BYTES)
    assert made.file().read_bytes()[:_KEY_BYTES] == derived
    assert made.file().stat().st_mode & 0o777 == 0o600
    assert made.secret() == made.secret(EPHEMERA_DERIVED_KEYS="") == "opensesame"


def test_a_key_that_is_there_is_used(made: Project) -> None:
    good = made.file().read_bytes()
    other = bytes(_KEY_BYTES)
    made.file().write_bytes(other + hashlib.sha256(other).digest())
    try:
        assert "incorrect passphrase" in made.secret()
        assert made.secret(EPHEMERA_DERIVED_KEYS="") == "opensesame"
    finally:
        made.file().write_bytes(good)


@pytest.mark.parametrize("damaged", [b"", b"half", bytes(64)])
def test_a_damaged_file_is_none(made: Project, damaged: bytes) -> None:
    good = made.file().read_bytes()
    made.file().write_bytes(damaged)
    assert made.secret() == "opensesame"
    assert made.file().read_bytes() == good


def test_a_folder_that_is_gone_is_no_error(made: Project) -> None:
    assert made.secret(EPHEMERA_DERIVED_KEYS=str(made.folder / "nowhere")) == "opensesame"


def test_another_passphrase_is_another_key(made: Project, tmp_path: Path) -> None:
    assert made.secret(EPHEMERA_DERIVED_KEYS=str(tmp_path)) == "opensesame"
    wrong = made.secret(EPHEMERA_DERIVED_KEYS=str(tmp_path), PULUMI_CONFIG_PASSPHRASE="something else")
    assert "incorrect passphrase" in wrong
    assert len(list(tmp_path.iterdir())) == 2


def test_git_is_not_run_before_an_update(made: Project, tmp_path: Path) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for arguments in (("init", "--quiet"), ("add", "Pulumi.yaml"), (*author, "commit", "--quiet", "-m", "first")):
        subprocess.run(["git", *arguments], cwd=made.folder, check=True)
    ran = tmp_path / "ran"
    fake = tmp_path / "git"
    fake.write_text(f"#!/bin/sh\ntouch {ran}\n")
    fake.chmod(0o755)
    done = made.run("destroy", "--yes", "--skip-preview", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert not ran.exists()


def test_no_logs_are_kept_but_those_that_are_asked_for(made: Project) -> None:
    told = made.run("config", "--verbose", "9", "--logtostderr")
    assert (told.returncode, "resource" in told.stderr or '"level"' in told.stderr) == (0, True), told.stderr[-2000:]
    assert not (made.folder / "home" / "logs").exists()
