"""What is asked of image registries: pulls, with the user's credentials where there are any.

Credentials are looked up for the one registry that is asked, and a helper that does not work costs no more than them:
most pulls need none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ephemera.host.configured import client_config_file, damaged_config
from ephemera.images import disk
from ephemera.images.errors import ImageMissingError

if TYPE_CHECKING:
    import docker

_T = TypeVar("_T")
_REMEDY = "check the name, the registry and `docker login`, or set EPHEMERA_IMAGES=local where there is a local recipe"


def pull(
    client: docker.DockerClient, reference: str, report: Callable[[str], None], platform: str | None = None
) -> None:
    """Pull an image; raises :class:`ImageMissingError`."""
    from docker.errors import APIError

    lost: list[str] = []
    named = _with_tag(reference)  # without a tag Docker would pull all of them

    def lose(cause: str) -> None:
        report(f"{reference}: pulled without credentials: {cause}")
        lost.append(cause)

    try:
        events = authorized(
            client,
            lambda credentials: client.api.pull(
                named, stream=True, decode=True, auth_config=credentials, platform=platform
            ),
            lose,
        )
        for event in events:
            if "error" in event:
                raise _missing(client, reference, event["error"], lost)
            report(f"{reference}: {event.get('status', '')} {event.get('progress', '')}".rstrip())
    except APIError as error:
        raise _missing(client, reference, error.explanation or str(error), lost) from error


def authorized(
    client: docker.DockerClient,
    ask: Callable[[Mapping[str, Any] | None], _T],
    without_credentials: Callable[[str], None] = lambda _: None,
) -> _T:
    """Call ``ask`` with None, for docker-py to look credentials up, and where that fails with none at all, after a call
    of ``without_credentials`` with the cause."""
    from docker.errors import APIError, DockerException

    path = client_config_file()
    try:
        if path is not None:
            client.api.reload_config(str(path))  # docker-py's own look-up follows what a test makes of the variables
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # docker-py's, about a helper that is missing
            return ask(None)
    except APIError:
        raise
    except (DockerException, AttributeError, KeyError, TypeError, ValueError) as error:
        if damaged := damaged_config():
            raise damaged from error
        cause = " ".join(str(error.__cause__ or error).split())[:200]
        without_credentials(f"{cause} (named in {path})")
    return ask({})


def _missing(client: docker.DockerClient, reference: str, cause: str, lost: list[str]) -> ImageMissingError:
    if full := disk.full(client, [cause]):
        return ImageMissingError(reference, full, disk.REMEDY)
    if lost:
        remedy = f"it was asked without credentials, since {lost[0]}: install that helper, or take it out of the file"
        return ImageMissingError(reference, cause, remedy)
    return ImageMissingError(reference, cause, _REMEDY)


def _with_tag(reference: str) -> str:
    named = "@" in reference or ":" in reference.rpartition("/")[2]
    return reference if named else f"{reference}:latest"
