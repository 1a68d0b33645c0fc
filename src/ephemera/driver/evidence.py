"""Evidence: what is kept of an environment that failed, in ``.ephemera/artifacts/<run>/`` of the checkout."""

from __future__ import annotations

import json
import re
import secrets
import time
from pathlib import Path
from typing import Any

from docker import DockerClient

from ephemera.contract import labels
from ephemera.contract.errors import EphemeraError
from ephemera.contract.outputs import REDACTED, EnvironmentOutputs
from ephemera.driver import services
from ephemera.driver.workspace import Workspace
from ephemera.home.paths import checkout_dir
from ephemera.host.engine import connected

# Generated credentials have this form; a container's variables tell which ones are in use.
_CREDENTIAL = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32}(?![A-Za-z0-9_-])")


def new_run(stack: str) -> str:
    """Id of a command or test run: sorts by time, and is unique."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{stack}-{secrets.token_hex(2)}"


def collect(workspace: Workspace, stack: str, run: str, error: EphemeraError | None = None) -> Path:
    """Keep logs (with timestamps) and inspect of every container of the stack, credentials redacted; the folder."""
    folder = checkout_dir(workspace.project) / "artifacts" / run
    folder.mkdir(parents=True, exist_ok=True)
    with connected() as client:
        inspected = [client.api.inspect_container(container["Id"]) for container in services.containers(client, stack)]
        hidden = _credentials(inspected)
        for document in inspected:
            service = document["Config"]["Labels"].get(labels.SERVICE, document["Name"].lstrip("/"))
            (folder / f"{service}.log").write_text(_redacted(_log(client, document["Id"]), hidden))
            text = json.dumps(_without_variables(document), indent=1)
            (folder / f"{service}.inspect.json").write_text(_redacted(text, hidden))
    if error is not None:
        (folder / "error.json").write_text(_redacted(json.dumps(error.document(), indent=1), hidden))
    return folder


def redacted(text: str, outputs: EnvironmentOutputs) -> str:
    """``text`` without the environment's credentials."""
    known = (
        secret.get_secret_value() for service in outputs.services.values() for secret in service.credentials.values()
    )
    return _redacted(text, {secret for secret in known if _CREDENTIAL.fullmatch(secret)})


def _log(client: DockerClient, container: str) -> str:
    return str(client.api.logs(container, timestamps=True).decode(errors="replace"))


def _credentials(inspected: list[dict[str, Any]]) -> set[str]:
    variables = (variable for document in inspected for variable in document["Config"]["Env"] or ())
    return {match for variable in variables for match in _CREDENTIAL.findall(variable)}


def _without_variables(document: dict[str, Any]) -> dict[str, Any]:
    names = [variable.partition("=")[0] for variable in document["Config"]["Env"] or ()]
    config = {**document["Config"], "Env": [f"{name}={REDACTED}" for name in names]}
    return {**document, "Config": config}


def _redacted(text: str, hidden: set[str]) -> str:
    for credential in hidden:
        text = text.replace(credential, REDACTED)
    return text
