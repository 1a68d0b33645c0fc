"""The engine that was built: keys that it derived from our passphrase are kept by their salt, and of no other; it keeps
no logs, and asks nothing of git."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from ephemera.setup import toolchain

_ROOT = Path(__file__).resolve().parents[2]
_PASSPHRASE = "nobody guesses this"  # noqa: S105 - of nothing but this test
_SECONDS = 60
# Of a stack that the vendor's rules made: v1, salt, a known word that is encrypted.
_ROUNDS, _KEY_BYTES = 1_000_000, 32
_OTHER_SALT = bytes(8)


class Project:
    """A project of its own, with state in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700)
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text(f"{_PASSPHRASE}\n")
        (folder / "Pulumi.yaml").write_text("name: keys\nruntime: python\n")
        built = toolchain.toolchain_dir() / "bin" / "pulumi"
        assert built.exists(), "there is no engine that was built: `./ephemera setup` builds it"
        self._pulumi = str(built)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        own = {
            "PULUMI_BACKEND_URL": self.folder.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_HOME": str(self.folder / "home"),
            "EPHEMERA_DERIVED_KEYS": str(self.keys),
            "EPHEMERA_DERIVED_KEYS_PASSPHRASE": str(self.passphrase),
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


def _salt(project: Project) -> bytes:
    lines = (project.folder / "Pulumi.dev.yaml").read_text().splitlines()
    return base64.b64decode(next(line.split(":")[2] for line in lines if line.startswith("encryptionsalt")))


def test_the_key_is_the_one_that_anybody_derives(made: Project) -> None:
    derived = hashlib.pbkdf2_hmac("sha256", _PASSPHRASE.encode(), _salt(made), _ROUNDS, _KEY_BYTES)
    assert made.file().read_bytes() == derived
    assert made.file().stat().st_mode & 0o777 == 0o600
    assert made.secret() == made.secret(EPHEMERA_DERIVED_KEYS="") == "opensesame"


def test_its_name_tells_of_the_salt_alone(made: Project) -> None:
    assert made.file().name == _salt(made).hex()


def test_a_key_that_is_there_is_used(made: Project) -> None:
    # No passphrase would derive this one: what it has encrypted can be read only by whoever took it from the file.
    key, config = made.file().read_bytes(), made.folder / "Pulumi.dev.yaml"
    before = config.read_text()
    config.write_text(before.replace(base64.b64encode(_salt(made)).decode(), base64.b64encode(_OTHER_SALT).decode()))
    try:
        assert "incorrect passphrase" in made.secret()
        (made.keys / _OTHER_SALT.hex()).write_bytes(key)
        assert made.secret() == "opensesame"
    finally:
        config.write_text(before)
        (made.keys / _OTHER_SALT.hex()).unlink()


@pytest.mark.parametrize("damaged", [b"", b"half", bytes(32), bytes(64)])
def test_a_damaged_key_is_derived_anew(made: Project, damaged: bytes) -> None:
    good = made.file().read_bytes()
    made.file().write_bytes(damaged)
    assert made.secret() == "opensesame"
    assert made.file().read_bytes() == good


def test_a_folder_that_is_gone_is_no_error(made: Project) -> None:
    assert made.secret(EPHEMERA_DERIVED_KEYS=str(made.folder / "nowhere")) == "opensesame"


def test_nothing_is_kept_of_a_passphrase_that_is_not_ours(made: Project, tmp_path: Path) -> None:
    keys = str(tmp_path / "keys")
    Path(keys).mkdir()
    foreign = Project(tmp_path / "foreign")
    for variables in (
        {"PULUMI_CONFIG_PASSPHRASE": "a person's own"},
        {"EPHEMERA_DERIVED_KEYS_PASSPHRASE": ""},
        {"EPHEMERA_DERIVED_KEYS_PASSPHRASE": str(tmp_path / "nowhere")},
    ):
        for arguments in (("stack", "init"), ("config", "set", "--secret", "keys:word", "x"), ("stack", "rm", "--yes")):
            done = foreign.run(*arguments, **{"EPHEMERA_DERIVED_KEYS": keys, **variables})
            assert done.returncode == 0, done.stderr
    wrong = made.secret(EPHEMERA_DERIVED_KEYS=keys, PULUMI_CONFIG_PASSPHRASE="something else")
    assert "incorrect passphrase" in wrong
    assert not list(Path(keys).iterdir())


def test_nothing_is_kept_of_a_salt_that_does_not_fit(made: Project, tmp_path: Path) -> None:
    other = tmp_path / "passphrase"
    other.write_text("ours by now")
    ours = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(other), "EPHEMERA_DERIVED_KEYS_PASSPHRASE": str(other)}
    keys = tmp_path / "keys"
    keys.mkdir()
    assert "incorrect passphrase" in made.secret(EPHEMERA_DERIVED_KEYS=str(keys), **ours)
    assert not list(keys.iterdir())


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
