"""Redaction: no credential in anything that is kept or shown, in whatever form it was written.

A credential is known from the outputs document, from a variable, an option or a URL that is named or formed like one,
or by the form of our own generated ones (:mod:`ephemera.home.credentials`). What equals a public name (of a user, a
service, the stack) is no secret, nor is what is shorter than four characters: hiding it would hide everything else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from ephemera.contract.outputs import REDACTED, EnvironmentOutputs

_SHORTEST = 4
_GENERATED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32}(?![A-Za-z0-9_-])")
_SECRET_NAME = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret(_?key)?|token|credentials?|(api|access|private|encryption|signing)_?key)$"
)
_OPTION = re.compile(r"--?([A-Za-z][\w-]*)=(.+)", re.DOTALL)
PUBLIC_PURPOSES = frozenset({"user", "username", "database", "dbname", "bucket", "region", "host", "port"})
"""What is listed with credentials and is none."""


class Redactor:
    """Replaces every known credential. ``public``: words that are none, even where one equals them."""

    def __init__(self, public: Iterable[str] = ()) -> None:
        self._public = set(public)
        self._secrets: set[str] = set()
        self._forms: list[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """These are to be hidden."""
        self._secrets.update(secrets)
        self._forms = None

    def learn_outputs(self, outputs: EnvironmentOutputs) -> None:
        """The environment's credentials, and which words are public."""
        self._public |= {outputs.stack, outputs.system, outputs.branch, *outputs.services}
        for service in outputs.services.values():
            for purpose, secret in service.credentials.items():
                value = secret.get_secret_value()
                if purpose in PUBLIC_PURPOSES:
                    self._public.add(value)
                else:
                    self.learn([value])

    def learn_container(self, document: Mapping[str, Any]) -> None:
        """What the engine's description of a container holds: in variables, command and health check."""
        config = document.get("Config") or {}
        self._public |= {str(document.get("Name", "")).lstrip("/"), str(config.get("Hostname", ""))}
        self._public |= set((config.get("Labels") or {}).values())
        self.learn_settings(dict(variable.partition("=")[::2] for variable in config.get("Env") or ()))
        words = [*(config.get("Cmd") or ()), *(config.get("Entrypoint") or ())]
        words += (config.get("Healthcheck") or {}).get("Test") or ()
        for word in words:
            self.learn(_GENERATED.findall(word))
            if option := _OPTION.fullmatch(word):
                self.learn_settings({option[1]: option[2]})

    def learn_settings(self, settings: Mapping[str, str]) -> None:
        """Values of variables or options, by name."""
        for name, value in settings.items():
            self.learn(_GENERATED.findall(value))
            self.learn(_in_url(value))
            if _SECRET_NAME.search(name):
                self.learn([value])

    def text(self, text: str) -> str:
        """``text`` without them."""
        if self._forms is None:
            self._forms = sorted(self._all_forms(), key=len, reverse=True)
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def document(self, value: Any) -> Any:
        """A JSON document with every text in it redacted, keys too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.document(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(part) for part in value]
        return value

    def _all_forms(self) -> set[str]:
        secrets = {secret for secret in self._secrets if len(secret) >= _SHORTEST} - self._public
        return {form for secret in secrets for form in _forms(secret)}


def _forms(secret: str) -> set[str]:
    """A credential as it is written in JSON, in URLs, in shells, and within what is encoded as base64 or in hex."""
    raw = secret.encode()
    forms = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
    }
    forms |= {raw.hex(), raw.hex().upper()}
    # Within "user:password" it begins at any of three places of a group; what neighbours change is left out.
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        core = encoded[first:last].decode()
        if len(core) > _SHORTEST:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms


def _in_url(value: str) -> list[str]:
    if "://" not in value:
        return []
    try:
        password = urlsplit(value).password
    except ValueError:
        return []
    return [password, unquote(password)] if password else []
