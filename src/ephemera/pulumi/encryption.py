"""Secrets that Pulumi encrypts in a stack's config and state, and stacks that are not encrypted with our passphrase.

Plain ``pulumi`` prefers ``PULUMI_CONFIG_PASSPHRASE``, so a stack may be encrypted with one that ephemera does not know.
Its encrypted values can be made again: credentials are derived, and the program makes its outputs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from ephemera.home.documents import write_whole
from ephemera.model.errors import EngineError, InputError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.pulumi import engine
from ephemera.pulumi.state import has_foreign_resources, is_encrypted
from ephemera.pulumi.workspace import Workspace, is_secret, read_yaml

_SALT = "encryptionsalt"
# By this a plugin reads a state of an older version; it needs all values or none of it.
_DELTA = "__pulumi_raw_state_delta"


def up(workspace: Workspace, stack: str, report: Callable[[Event], None], **how: Any) -> EnvironmentOutputs:
    """Run :func:`engine.up`; if the stack is encrypted with another passphrase, make it one of ours and run it again.

    Its containers are made anew then, since their variables cannot be read; volumes stay. Raises :class:`InputError`
    if its config holds secrets, and :class:`EngineError` if it has resources beside Docker's: both would be lost.
    """
    try:
        return engine.up(workspace, stack, report, **how)
    except EngineError as error:
        if not any("incorrect passphrase" in line for line in error.output):
            raise
        _make_ours(workspace, stack)
        why = f"{stack} was encrypted with another passphrase than ephemera's: its containers are made anew"
        report({"type": "notice", "message": why})
    return engine.up(workspace, stack, report, **how)


def config_secrets(workspace: Workspace, stack: str) -> list[str]:
    """Return the values of the secrets in the stack's config. The engine is only asked if there are any."""
    if not any(_secret_keys(read_yaml(workspace.config_file(stack)))):
        return []
    found = json.loads(engine.run(workspace, stack, ["config", "--show-secrets", "--json"]))
    values = [entry.get("value", "") for entry in found.values() if entry.get("secret")]
    return [value for value in values if value not in ("true", "false")]  # which would hide every other


def _make_ours(workspace: Workspace, stack: str) -> None:
    """Drop encrypted values and the salt: the next run of the engine encrypts with our passphrase."""
    path = workspace.config_file(stack)
    document = read_yaml(path)
    if keys := list(_secret_keys(document)):
        raise InputError(
            f"{path} holds secrets that are encrypted with another passphrase than ephemera's: {', '.join(keys)}",
            remedy=f"remove them and {_SALT} from the file, and set them again with `pulumi config set --secret`",
        )
    if has_foreign_resources(workspace, stack):
        raise EngineError(
            f"{stack} is encrypted with another passphrase than ephemera's, and has resources beside Docker's",
            remedy="destroy it with that passphrase: `PULUMI_CONFIG_PASSPHRASE=… pulumi destroy --remove`",
        )
    if document.pop(_SALT, None) is not None:
        write_whole(path, yaml.safe_dump(document), mode=0o666)  # it is the checkout's
    file = workspace.state_file(stack)
    document = json.loads(file.read_text())
    if latest := document["checkpoint"].get("latest"):
        latest.pop("secrets_providers", None)
        write_whole(file, json.dumps(_readable(document)))


def _secret_keys(document: dict[str, Any]) -> Iterator[str]:
    """Return keys of a stack's config whose values are secrets, or hold some."""
    return (str(key) for key, value in (document.get("config") or {}).items() if _holds_secret(value))


def _holds_secret(value: Any) -> bool:
    if is_secret(value):
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_secret(part) for part in parts)


def _readable(value: Any) -> Any:
    """Return ``value`` of a state without encrypted parts."""
    if isinstance(value, dict):
        return {key: _readable(part) for key, part in value.items() if key != _DELTA and not is_encrypted(part)}
    return [_readable(part) for part in value if not is_encrypted(part)] if isinstance(value, list) else value
