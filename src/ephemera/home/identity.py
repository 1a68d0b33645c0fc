"""Who we are to the engine: the owner, and the backend that our environments are recorded in."""

from __future__ import annotations

import base64
import secrets
import shutil
import socket
import string
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ephemera.home.documents import DiskError, write_whole
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.model.errors import MachineError

_KEY_BYTES = 32
_BACKEND_BYTES = 6
_OTHERS = 0o077
_BACKEND = "backend-id"


def owner() -> str:
    """``user@host``."""
    return f"{surroundings.user()}@{socket.gethostname()}"


def backend_id() -> str:
    """Twelve hexadecimal digits, made on first use, that tell this user's environments from all others' objects."""
    path = state_dir() / _BACKEND
    found = _made_once(path, lambda: secrets.token_hex(_BACKEND_BYTES))
    if len(found) != 2 * _BACKEND_BYTES or not set(found) <= set(string.hexdigits):
        raise _damaged(path)  # with another one nothing would be found, and proven gone
    return found


def backend_dir() -> Path:
    """Folder of Pulumi's state, in the state directory."""
    directory = state_dir() / "pulumi"
    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise DiskError(directory, error) from error
    return directory


def backend_url() -> str:
    """The file backend in :func:`backend_dir`; without a file of attributes beside each file, which nobody reads."""
    return f"{backend_dir().as_uri()}?metadata=skip"


def passphrase_file() -> Path:
    """File with the passphrase that encrypts secrets in Pulumi's state; mode 0600, made on first use."""
    path = state_dir() / "passphrase"
    _made_once(path, lambda: secrets.token_urlsafe(32))
    return path


def derived_keys_dir() -> Path:
    """Folder in which our engine keeps the keys that it derived from the passphrase, which takes a third of a second
    each time; mode 0700.

    It is named after when the passphrase's file changed, which says nothing of the passphrase: a new passphrase gets a
    folder of its own. Everything else next to it, such as keys of a former passphrase, is removed.
    """
    found = passphrase_file().stat()
    everything = state_dir() / "derived-keys"
    directory = everything / f"{found.st_ino:x}-{found.st_ctime_ns:x}"
    with suppress(OSError):  # a full or read-only disk: the engine derives keys that it cannot keep
        for folder in (everything, directory):
            folder.mkdir(mode=0o700, exist_ok=True)
        for former in everything.iterdir():
            if former.name != directory.name:
                _remove(former)
    return directory


def salt_file() -> Path:
    """File with the salt that stacks made from now on share, once there is one; it goes with the passphrase."""
    return derived_keys_dir() / "salt"


def fits_passphrase(salt: str) -> bool:
    """Return whether our engine has found that ``salt`` (``encryptionsalt`` of a stack's config) goes with our
    passphrase: it keeps the key of no other. False if it has not looked yet."""
    try:
        name = base64.b64decode(salt.split(":")[1]).hex()
    except (IndexError, ValueError):
        return False
    return (derived_keys_dir() / name).is_file()


def key() -> bytes:
    """The user's key, which every generated credential is derived from; mode 0600, made on first use."""
    path = state_dir() / "key"
    try:
        found = bytes.fromhex(_made_once(path, lambda: secrets.token_hex(_KEY_BYTES)))
    except ValueError:
        found = b""
    if len(found) != _KEY_BYTES:
        raise _damaged(path)
    return found


def _made_once(path: Path, make: Callable[[], str]) -> str:
    """Content of a file that is for the user alone. Raises :class:`MachineError` for one that is there and holds none:
    it is never made anew, since what it protects would be lost."""
    if not path.is_file():
        with locked(state_dir() / "identity.lock"):
            if not path.is_file():
                write_whole(path, make())
    if path.stat().st_mode & _OTHERS:
        path.chmod(0o600)  # copied from somewhere, or made under another hand
    try:
        content = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        content = ""
    if not content.isprintable() or not content:
        raise _damaged(path)
    return content


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)  # another process may be removing it, too
    else:
        path.unlink(missing_ok=True)


def _damaged(path: Path) -> MachineError:
    remedy = "put it back from a copy; without one, end all environments, then remove it, and a new one is made"
    if path.name == _BACKEND:
        remedy = "write into it again what label ephemera.backend of your containers says (`docker ps --no-trunc`, or "
        remedy += "`docker inspect`); remove it when you have no environment, and a new one is made"
    return MachineError(f"{path} is damaged", remedy=remedy)
