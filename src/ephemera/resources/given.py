"""What Docker's container is given of a service's command, variables and health check, as text.

``image``: asks for the image's configuration, which is empty in a preview for one not on the machine yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_docker as docker

from ephemera.contract import progress
from ephemera.contract.errors import InputError
from ephemera.resources import arguments, spelling

if TYPE_CHECKING:
    from ephemera.resources.container import HealthCheck

# With times, which mean nothing: for what is not given, Docker takes the image's own, and a preview would find them.
_NO_HEALTHCHECK = docker.ContainerHealthcheckArgs(
    tests=["NONE"], interval="1s", timeout="1s", start_period="1s", retries=1
)


def command(
    service: str, words: Sequence[Any] | None, image: Callable[[], Mapping[str, Any]]
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return command and entrypoint; None for the image's own."""
    if words is None:
        return None, None
    texts = arguments.words(f"command of service {service!r}", words)
    if "" not in texts:
        return texts, None
    # The provider takes no empty word in a command, but does in an entrypoint; Docker runs the two as one.
    return None, [*(image().get("Entrypoint") or ()), *texts]


def plain_words(service: str, words: Sequence[Any]) -> list[str]:
    """Return the words of a probe's command as texts; raise for one that is known only later."""
    texts = arguments.words(f"command of the probe of service {service!r}", words)
    if any(arguments.later(word) for word in texts):
        raise InputError(
            f"command of the probe of service {service!r} has a word that is known only later",
            remedy="give it as a variable, and read that in the command",
        )
    return texts


def variable(service: str, name: str, value: pulumi.Input[Any]) -> pulumi.Input[str]:
    """Return ``NAME=value``."""
    known = text(f"variable {name!r} of service {service!r}", value)
    return f"{name}={known}" if isinstance(known, str) else known.apply(lambda known: f"{name}={known}")


def text(what: str, value: pulumi.Input[Any]) -> str | pulumi.Output[str]:
    """Return a text, number or boolean as text, at once or when it is known."""
    if not arguments.later(value):
        return arguments.text_of(what, value)
    return pulumi.Output.from_input(value).apply(partial(_known_text, what))


def healthcheck(
    service: str, health: HealthCheck | None, image: Callable[[], Mapping[str, Any]], *, finishes: bool
) -> docker.ContainerHealthcheckArgs | None:
    """Return the health check; None for the image's own. ``finishes``: the container is to end."""
    if health is None:
        # The image's own asks a server. A container that is to end is none, and would stay unhealthy.
        return _NO_HEALTHCHECK if finishes else None
    # For what is 0, Docker takes the image's own, which a preview would find; what is meant by 0 is next to nothing.
    own = image().get("Healthcheck") or {}
    start_period = health.start_period_seconds or (arguments.MIN_SECONDS if own.get("StartPeriod") else 0)
    start_interval = own.get("StartInterval")
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *arguments.words(f"command of the health check of service {service!r}", health.command)],
        interval=spelling.duration(health.interval_seconds),
        timeout=spelling.duration(health.timeout_seconds),
        start_period=spelling.duration(start_period),
        start_interval=spelling.duration(start_interval / 1e9) if start_interval else None,
        retries=health.retries,
    )


def plain(check: docker.ContainerHealthcheckArgs | None) -> list[Any]:
    """Return what the container is given of a health check, in an order of its own."""
    names = ("tests", "interval", "timeout", "start_period", "retries")
    return [getattr(check, name) for name in names] if check is not None else []


def _known_text(what: str, value: Any) -> str:
    try:
        return arguments.text_of(what, value)
    except InputError as error:
        progress.emit({"type": "failed", "error": error.document()["error"]})
        raise pulumi.RunError(str(error)) from None  # which Pulumi prints without a traceback
