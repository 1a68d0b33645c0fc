"""Tokens of logins, kept between commands: one file of mode 0600, one token a server."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from chassis.client import InvalidInputError
from pydantic import SecretStr


class Keyring:
    """`$XDG_STATE_HOME/olav/tokens.json`, by default beneath `~/.local/state`."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        state = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        self.path = Path(state) / "olav" / "tokens.json"

    def token(self, url: str) -> SecretStr | None:
        """Of that very server; no other one gets to see it."""
        token = self._read().get(url)
        return None if token is None else SecretStr(token)

    def keep(self, url: str, token: SecretStr) -> None:
        self._write(self._read() | {url: token.get_secret_value()})

    def forget(self, url: str) -> None:
        tokens = self._read()
        if tokens.pop(url, None) is not None:
            self._write(tokens)

    def _read(self) -> dict[str, str]:
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{self.path} cannot be read: {error}; remove it and log in again") from error
        if not isinstance(document, dict) or not all(isinstance(token, str) for token in document.values()):
            raise InvalidInputError(f"{self.path} holds no tokens; remove it and log in again")
        return document

    def _write(self, tokens: Mapping[str, str]) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # mkstemp makes it 0600. Next to its place and renamed: it is never half there, and never open to others.
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".tokens-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(tokens, file)
            Path(name).replace(self.path)
        except OSError as error:
            raise InvalidInputError(
                f"{self.path} cannot be written: {error.strerror}; set XDG_STATE_HOME to a folder of yours"
            ) from error
