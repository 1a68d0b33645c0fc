"""Who we are to the engine: the owner, and the backend that our environments are recorded in."""

from __future__ import annotations

import getpass
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from ephemera.home.locks import locked
from ephemera.home.paths import state_dir


def owner() -> str:
    """``user@host``."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def backend_id() -> str:
    """Twelve hexadecimal digits, made on first use, that tell this user's environments from all others' objects."""
    return _made_once(state_dir() / "backend-id", lambda: secrets.token_hex(6))


def backend_url() -> str:
    """Pulumi's state: a file backend in the state directory."""
    directory = state_dir() / "pulumi"
    directory.mkdir(exist_ok=True)
    return directory.as_uri()


def passphrase_file() -> Path:
    """File with the passphrase that encrypts secrets in Pulumi's state; mode 0600, made on first use."""
    path = state_dir() / "passphrase"
    _made_once(path, lambda: secrets.token_urlsafe(32))
    return path


def key() -> bytes:
    """The user's key, which every generated credential is derived from; mode 0600, made on first use."""
    return bytes.fromhex(_made_once(state_dir() / "key", lambda: secrets.token_hex(32)))


def _made_once(path: Path, make: Callable[[], str]) -> str:
    if not path.is_file():
        with locked(state_dir() / "identity.lock"):
            if not path.is_file():
                partial = path.with_suffix(".partial")
                partial.touch(mode=0o600)
                partial.write_text(make())
                partial.replace(path)
    return path.read_text().strip()
