"""Whether official images are pulled or local recipes are built: detected once per machine."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal, cast, get_args

from ephemera.contract.errors import InputError
from ephemera.home import documents
from ephemera.home.locks import locked
from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.host.engine import connected
from ephemera.images.registries import authorized

Mode = Literal["registry", "local"]
_SCHEMA = 1
_PROBE = "postgres:16-alpine"
_PROBE_SECONDS = 5


def mode() -> Mode:
    """``EPHEMERA_IMAGES``, else what ``machine.json`` in the state directory says, else found out and written there."""
    asked = surroundings.variables().get("EPHEMERA_IMAGES", "")
    if asked in get_args(Mode):
        return cast(Mode, asked)
    if asked not in ("", "auto"):
        raise InputError(f"EPHEMERA_IMAGES is {asked!r}", remedy="use registry, local or auto")
    path = state_dir() / "machine.json"
    with locked(path.with_suffix(".lock")):
        known = documents.read(path, dict) or {}
        found = known.get("images")
        if found not in get_args(Mode):
            found = _detected()
            with suppress(documents.DiskError):  # then it is found out again
                documents.write(path, {**known, "images": found}, schema=_SCHEMA)
        return cast(Mode, found)


def _detected() -> Mode:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    with connected() as client:
        client.api.timeout = _PROBE_SECONDS
        try:
            authorized(client, lambda given: client.api.inspect_distribution(_PROBE, auth_config=given))
        except (APIError, RequestException):
            return "local"
    return "registry"
