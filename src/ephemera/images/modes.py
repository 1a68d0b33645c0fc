"""Whether official images are pulled or local recipes are built: detected once per machine."""

from __future__ import annotations

import json
import os
from typing import Literal, cast, get_args

from ephemera.contract.errors import InputError
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host.engine import connected

Mode = Literal["registry", "local"]
_PROBE = "postgres:16-alpine"
_PROBE_SECONDS = 5


def mode() -> Mode:
    """``EPHEMERA_IMAGES``, else what ``machine.json`` in the state directory says, else found out and written there."""
    asked = os.environ.get("EPHEMERA_IMAGES", "")
    if asked in get_args(Mode):
        return cast(Mode, asked)
    if asked not in ("", "auto"):
        raise InputError(f"EPHEMERA_IMAGES is {asked!r}", remedy="use registry, local or auto")
    path = state_dir() / "machine.json"
    with locked(path.with_suffix(".lock")):
        try:
            known = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            known = {}
        if known.get("images") not in get_args(Mode):
            known["images"] = _detected()
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps(known))
            partial.replace(path)
        return cast(Mode, known["images"])


def _detected() -> Mode:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    with connected() as client:
        client.api.timeout = _PROBE_SECONDS
        try:
            client.api.inspect_distribution(_PROBE)
        except (APIError, RequestException):
            return "local"
    return "registry"
