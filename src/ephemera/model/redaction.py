"""Redaction: no credential in anything that is kept or shown, in any form that it may be written in.

A credential is known from the outputs document, from a variable that the program marked as secret, from a variable, an
option or a URL that is named or formed like one, or by the form of our own generated ones
(:mod:`ephemera.home.credentials`). What equals a public name (of a user, a service, the stack) is no secret, nor is
what is shorter than four characters: hiding it would hide everything else.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote, urlsplit

from ephemera.model import labels
from ephemera.model.outputs import REDACTED, EnvironmentOutputs

T = TypeVar("T")

_SHORTEST = 4
# A line of a longer text, such as a private key's.
_SHORTEST_LINE = 8
_BLOCK_LINES = 512
_GENERATED = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32}(?![A-Za-z0-9_-])")
_NAMES = r"(pass(word|wd|phrase)?|pwd|secret(_?key)?|token|credentials?|(api|access|private|encryption|signing)_?key)"
_SECRET_NAME = re.compile(rf"(?i){_NAMES}$")
_SHELLS_OWN = ("PWD", "OLDPWD")
# Marked or named as secret, they would hide everyday words.
_WORDS = frozenset(("true", "false", "none", "null"))
# Part of a connection string: "host=db password=… sslmode=off", "Server=db;Password=…".
_SECRET_PART = re.compile(rf"(?i){_NAMES}\s*=\s*('[^']*'|\"[^\"]*\"|[^\s;&,]+)")
# Part of a secret of several: on its own, or after a name, "key=…" or "key: …". A "=" that ends it is base64's.
_PIECE = re.compile(r"""(?:([\w.-]+)(?:\s*=\s*(?=[^=\s,;|&])|:\s+))?("[^"]*"|'[^']*'|[^\s,;|&]+)""")
# Where nothing names it as one, a shorter part is rather an everyday word, a port or a mode; and so are these, though
# longer.
_SHORTEST_PART = 8
_SHORTEST_TOKEN = 16
_PART_WORDS = frozenset(
    (
        *("authorization", "database", "development", "disabled", "localhost", "password", "postgres", "postgresql"),
        *("production", "rabbitmq", "required", "username", "verify-ca", "verify-full", "127.0.0.1"),
    )
)
_OPTION = re.compile(r"--?([A-Za-z][\w-]*)=(.+)", re.DOTALL)
PUBLIC_PURPOSES = frozenset({"user", "username", "database", "dbname", "bucket", "region", "host", "port"})
"""Names that stand among credentials and are public."""


class Redactor:
    """Replaces every credential that it has learned, but for those that equal a public name."""

    def __init__(self) -> None:
        self._public: set[str] = set()
        self._secrets: set[str] = set()
        self._forms: list[str] | None = None

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide ``secrets``."""
        self._secrets.update(secrets)
        self._forms = None

    def learn_outputs(self, outputs: EnvironmentOutputs) -> None:
        """Hide the environment's credentials, and learn which words are public."""
        self._public |= {outputs.stack, outputs.system, outputs.branch, *outputs.services}
        for service in outputs.services.values():
            for purpose, secret in service.credentials.items():
                value = secret.get_secret_value()
                if purpose in PUBLIC_PURPOSES:
                    self._public.add(value)
                else:
                    self.learn_secrets([value])

    def learn_container(self, document: Mapping[str, Any]) -> None:
        """Hide the secrets in Docker's description of a container: in variables, command and health check."""
        config = document.get("Config") or {}
        self._public |= {str(document.get("Name", "")).lstrip("/"), str(config.get("Hostname", ""))}
        marks = config.get("Labels") or {}
        self._public |= set(marks.values())
        variables = dict(variable.partition("=")[::2] for variable in config.get("Env") or ())
        self.learn_settings(variables)
        self.learn_secrets(variables[name] for name in json.loads(marks.get(labels.SECRETS, "[]")) if name in variables)
        words = [*(config.get("Cmd") or ()), *(config.get("Entrypoint") or ())]
        words += (config.get("Healthcheck") or {}).get("Test") or ()
        for word in words:
            self.learn(_GENERATED.findall(word))
            if option := _OPTION.fullmatch(word):
                self.learn_settings({option[1]: option[2]})

    def learn_settings(self, settings: Mapping[str, str]) -> None:
        """Hide those values of variables or options that are secrets, by name or form."""
        for name, value in settings.items():
            self.learn(_GENERATED.findall(value))
            self.learn(_parts(value))
            if _SECRET_NAME.search(name) and name not in _SHELLS_OWN:
                self.learn_secrets([value])

    def learn_secrets(self, values: Iterable[str]) -> None:
        """Hide ``values``, and what in them may be a secret by itself: a URL's password, values of a JSON document,
        parts of a list."""
        for value in values:
            self.learn([value, *_pieces(value)])

    def text(self, text: str) -> str:
        """Return ``text`` without the known credentials."""
        if self._forms is None:
            self._forms = sorted(self._all_forms(), key=len, reverse=True)
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text

    def lines(self, lines: Iterable[tuple[T, str]]) -> Iterator[tuple[T, str]]:
        """Yield each line, with what stands by it, without the known credentials. Faster than one by one, but waits for
        blocks of lines."""
        coming = iter(lines)
        while block := list(islice(coming, _BLOCK_LINES)):
            whole = "\n".join(line for _, line in block)
            yield from block if self.text(whole) == whole else ((by, self.text(line)) for by, line in block)

    def document(self, value: Any) -> Any:
        """Return a JSON document with every text in it redacted, keys too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.document(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return [self.document(part) for part in value]
        return value

    def _all_forms(self) -> set[str]:
        long = {secret for secret in self._secrets if len(secret) >= _SHORTEST and secret.lower() not in _WORDS}
        return {form for secret in long - self._public for form in _forms(secret)}


def _forms(secret: str) -> set[str]:
    """Return a credential as it is written in JSON, URLs, shells and HTML, within base64, and in hex; of one that has
    several lines, each line too."""
    raw = secret.encode(errors="surrogatepass")
    spelled = {secret, secret.strip(), *(line for line in secret.split("\n") if len(line) >= _SHORTEST_LINE)}
    spelled = {each for each in spelled if len(each) >= _SHORTEST and not each.startswith("-----")}
    forms = {form for each in spelled for form in _spellings(each)}
    forms |= {raw.hex(), raw.hex().upper()}
    # Within "user:password" it begins at any of three places of a group; what neighbours change is left out.
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw)
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        core = encoded[first:last].decode()
        if len(core) > _SHORTEST:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= _SHORTEST}


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    for safe in ("/", "", "!'()*", "!$&'()*+,;="):  # curl's, ours, a browser's, and as a URL's user may be written
        quoted = quote(secret, safe=safe, errors="surrogatepass")
        yield quoted
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    yield quote_plus(secret, errors="surrogatepass")
    for as_json in (json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
        yield as_json[1:-1]
        yield as_json[1:-1].replace("/", "\\/")
        yield json.dumps(as_json)[3:-3]
    yield repr(secret)[1:-1]
    yield ascii(secret)[1:-1]
    yield repr(secret.encode(errors="surrogatepass"))[2:-1]
    yield shlex.quote(secret).strip("'")
    yield secret.replace("'", "''")
    yield html.escape(secret, quote=False)
    yield html.escape(secret)
    yield secret.replace("$", "$$")


def _parts(value: str) -> list[str]:
    """Return what of a value is a secret by its place: in a URL, or after a name like a secret's."""
    found = [match[0].partition("=")[2].strip().strip("'\"") for match in _SECRET_PART.finditer(value)]
    for word in value.split():
        if "://" in word:
            try:
                password = urlsplit(word).password
            except ValueError:
                continue
            found += [password, unquote(password)] if password else []
    return found


def _pieces(value: str) -> Iterator[str]:
    """Yield what of a secret value may be a secret by itself. Which part the program had marked is not known here: any
    that is long enough, and any that is named like a secret; none that is named like what is public."""
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        name, part = pending.pop()
        if isinstance(part, dict):
            pending += part.items()
        elif isinstance(part, list):
            pending += [(name, each) for each in part]
        elif isinstance(part, str) and name.lower() not in PUBLIC_PURPOSES:
            if _may_be_secret(name, part):
                yield part
            yield from _parts(part)
            document = _json(part)
            if document is None:
                yield from _separated(part)
            else:
                pending.append((name, document))


def _json(text: str) -> Any:
    """Return the document that ``text`` is; None if it is none, or a single value."""
    try:
        found = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _separated(text: str) -> Iterator[str]:
    pending = [text]
    while pending:
        for match in _PIECE.finditer(pending.pop()):
            name, piece = match[1] or "", match[2].strip("'\"")
            if "://" in piece:  # its password is known by its place; its host is no secret
                pending.append(piece.partition("?")[2])
                user = piece.partition("://")[2].rpartition("@")[0]
                if len(user) >= _SHORTEST_TOKEN and ":" not in user:
                    yield user
                continue
            if _may_be_secret(name, piece):
                yield piece
            for part in piece.split(":"):
                if len(part) >= _SHORTEST_PART and _may_be_secret(name, part):
                    yield part


def _may_be_secret(name: str, value: str) -> bool:
    if name.lower() in PUBLIC_PURPOSES or "-----" in value:  # which begins and ends a key, and is none
        return False
    return bool(_SECRET_NAME.search(name)) or (len(value) >= _SHORTEST_PART and value.lower() not in _PART_WORDS)
