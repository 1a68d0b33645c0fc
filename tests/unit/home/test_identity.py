from __future__ import annotations

import getpass
import hashlib
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from ephemera.home import identity
from ephemera.home.paths import state_dir
from ephemera.model.errors import MachineError
from tests.unit.processes import heard, python, tell

_KEY = """
import sys
from ephemera.home import identity
print("there", flush=True)
sys.stdin.readline()
print(identity.key().hex(), flush=True)
"""


def test_owner_is_user_and_host() -> None:
    assert identity.owner() == f"{getpass.getuser()}@{socket.gethostname()}"


def test_backend_id_is_made_once() -> None:
    first = identity.backend_id()
    assert re.fullmatch(r"[0-9a-f]{12}", first)
    assert identity.backend_id() == first
    (state_dir() / "backend-id").unlink()
    assert identity.backend_id() != first


def test_key_and_passphrase_are_made_once_and_private() -> None:
    key, passphrase = identity.key(), identity.passphrase_file()
    assert len(key) == 32
    assert identity.key() == key
    assert len(passphrase.read_text()) >= 32
    assert identity.passphrase_file().read_text() == passphrase.read_text()
    for path in (state_dir() / "key", passphrase):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not list(state_dir().glob("*.partial"))


def test_secrets_that_others_could_read_are_closed_again() -> None:
    for path, read in ((state_dir() / "key", identity.key), (state_dir() / "passphrase", identity.passphrase_file)):
        read()
        path.chmod(0o644)
        read()
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "not hexadecimal", "abcd", "\0"])
def test_damaged_key_is_told_and_never_made_anew(content: str) -> None:
    (state_dir() / "key").write_text(content)
    with pytest.raises(MachineError, match="key is damaged"):
        identity.key()
    assert (state_dir() / "key").read_text() == content


def test_state_is_a_file_backend_in_the_state_directory() -> None:
    url, _, options = identity.backend_url().partition("?")
    assert url == (state_dir() / "pulumi").as_uri()
    assert Path(url.removeprefix("file://")).is_dir()
    assert options == "metadata=skip"


def test_processes_that_ask_first_at_once_get_one_key() -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(python(_KEY)) for _ in range(4)]
        assert [heard(process) for process in processes] == ["there"] * 4
        for process in processes:
            tell(process)
        assert {heard(process) for process in processes} == {identity.key().hex()}


def _below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_derived_keys_are_those_of_this_passphrase_alone() -> None:
    first = identity.derived_keys_dir()
    (first / "0102").write_bytes(bytes(32))
    assert identity.derived_keys_dir() == first
    assert first.stat().st_mode & 0o777 == first.parent.stat().st_mode & 0o777 == 0o700
    assert identity.fits_passphrase("v1:AQI=:v1:a:b")
    replaced = state_dir() / "another"
    replaced.write_text("another passphrase")
    replaced.replace(state_dir() / "passphrase")
    assert not identity.fits_passphrase("v1:AQI=:v1:a:b")
    assert identity.derived_keys_dir() != first
    assert _below(state_dir() / "derived-keys") == {identity.derived_keys_dir().name}


def test_what_earlier_versions_filed_under_a_hash_of_the_passphrase_is_removed() -> None:
    phrase = identity.passphrase_file().read_bytes()
    everything = state_dir() / "derived-keys"
    everything.mkdir()
    salt = everything / f"salt-{hashlib.sha256(phrase).hexdigest()}"
    salt.write_text("v1:spoilt:v1:a:b")
    (everything / hashlib.sha256(bytes(8) + b"\0" + phrase).hexdigest()).write_bytes(bytes(64))
    assert not identity.salt_file().exists()
    assert _below(everything) == {identity.derived_keys_dir().name}
