"""Image registries: whether one answers on this machine, and pulls with the user's credentials for the one asked.

A credential helper that fails costs the credentials only: most pulls need none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from ephemera.docker.address import client_config_file, damaged_config
from ephemera.docker.connection import connected
from ephemera.home import documents
from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.images.build_errors import ImageMissingError, explained
from ephemera.model.errors import InputError

if TYPE_CHECKING:
    import docker

Mode = Literal["registry", "local"]
_SCHEMA = 1
_PROBE = "postgres:16-alpine"
_PROBE_SECONDS = 5
_REMEDY = "check the name, the registry and `docker login`, or set EPHEMERA_IMAGES=local where there is a local recipe"


def mode() -> Mode:
    """Return whether official images are pulled or local recipes are built.

    ``EPHEMERA_IMAGES`` decides, else ``machine.json`` in the state directory, else whether a registry answers, which is
    written there. Raise :class:`InputError` for another value of the variable.
    """
    asked = surroundings.variables().get("EPHEMERA_IMAGES", "")
    if asked in get_args(Mode):
        return cast(Mode, asked)
    if asked not in ("", "auto"):
        raise InputError(f"EPHEMERA_IMAGES is {asked!r}", remedy="use registry, local or auto")
    path = state_dir() / "machine.json"
    known = documents.read(path, dict) or {}
    found = known.get("images")
    if found not in get_args(Mode):
        found = "registry" if _answers() else "local"
        with suppress(documents.DiskError):  # the next command asks again
            documents.write(path, {**known, "images": found}, schema=_SCHEMA)
    return cast(Mode, found)


def _answers() -> bool:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    given, _ = credentials(_PROBE)
    with connected() as client:
        client.api.timeout = _PROBE_SECONDS
        try:
            client.api.inspect_distribution(_PROBE, auth_config=given)
        except (APIError, RequestException):
            return False
    return True


def pull(
    client: docker.DockerClient, reference: str, report: Callable[[str], None], platform: str | None = None
) -> None:
    """Pull an image; raise :class:`ImageMissingError` if that fails."""
    from docker.errors import APIError

    given, problem = credentials(reference)
    if problem:
        report(f"{reference}: pulled without credentials: {problem}")
    has_tag = "@" in reference or ":" in reference.rpartition("/")[2]
    named = reference if has_tag else f"{reference}:latest"  # without a tag Docker would pull all of them
    try:
        for event in client.api.pull(named, stream=True, decode=True, auth_config=given, platform=platform):
            if "error" in event:
                raise APIError(event["error"])
            report(f"{reference}: {event.get('status', '')} {event.get('progress', '')}".rstrip())
    except APIError as error:
        remedy = _REMEDY
        if problem:
            remedy = f"it was asked without credentials, since {problem}: install that helper, or remove it there"
        cause = error.explanation or str(error)
        raise ImageMissingError(reference, *explained(client, cause, remedy)) from error


def credentials(reference: str) -> tuple[Mapping[str, Any], str]:
    """Return the user's credentials for the registry of an image, empty without any, and why they cannot be had.

    Raise :class:`MachineError` for a damaged configuration of the Docker client.
    """
    from docker import auth
    from docker.errors import DockerException

    path = client_config_file()
    registry, _ = auth.resolve_repository_name(reference)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # docker-py's, about a helper that is missing
            return (path and auth.load_config(str(path)).resolve_authconfig(registry)) or {}, ""
    except (DockerException, AttributeError, KeyError, TypeError, ValueError) as error:
        if damaged := damaged_config():
            raise damaged from error
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        return {}, f"{cause} (named in {path})"
