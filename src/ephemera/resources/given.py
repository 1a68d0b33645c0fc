"""What Docker's container and the outputs are given: a service's values, as provider and document spell them.

A value spelt otherwise than the provider reads it back would be a difference at every ``up``. ``image``: the image's
configuration, which is empty in a preview if the image is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pulumi
import pulumi_docker as docker

from ephemera.model import progress
from ephemera.model.errors import InputError
from ephemera.resources import arguments
from ephemera.resources.arguments import HealthCheck, Port

_NANOSECONDS = 10**9
_NANOSECONDS_IN_MILLISECOND = 10**6
# With times, which mean nothing: for what is not given, Docker takes the image's own, and a preview would find them.
_NO_HEALTHCHECK = docker.ContainerHealthcheckArgs(
    tests=["NONE"], interval="1s", timeout="1s", start_period="1s", retries=1
)


def command(
    service: str, words: Sequence[Any] | None, image: Mapping[str, Any]
) -> tuple[list[Any] | None, list[Any] | None]:
    """Return command and entrypoint; None for the image's own."""
    if words is None:
        return None, None
    texts = arguments.words(f"command of service {service!r}", words)
    if "" not in texts:
        return texts, None
    # The provider takes no empty word in a command, but does in an entrypoint; Docker runs the two as one.
    return None, [*(image.get("Entrypoint") or ()), *texts]


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
    service: str, health: HealthCheck | None, image: Mapping[str, Any], *, finishes: bool
) -> docker.ContainerHealthcheckArgs | None:
    """Return the health check; None for the image's own. ``finishes``: the container is a one-shot."""
    if health is None:
        # The image's own asks a server; a one-shot is none, and would stay unhealthy.
        return _NO_HEALTHCHECK if finishes else None
    # For 0, Docker takes the image's own, which a preview would find: next to nothing stands for it.
    own = image.get("Healthcheck") or {}
    start_period = health.start_period_seconds or (arguments.MIN_SECONDS if own.get("StartPeriod") else 0)
    start_interval = own.get("StartInterval")
    return docker.ContainerHealthcheckArgs(
        tests=["CMD", *arguments.words(f"command of the health check of service {service!r}", health.command)],
        interval=duration(health.interval_seconds),
        timeout=duration(health.timeout_seconds),
        start_period=duration(start_period),
        start_interval=duration(start_interval / 1e9) if start_interval else None,
        retries=health.retries,
    )


def duration(seconds: float) -> str:
    """Return a duration as Go's ``Duration.String`` prints it: ``500ms``, ``1.5s``, ``1m30s``, ``1h0m0s``, ``0s``.

    ``seconds``: 0, or a millisecond or more; precise to the nanosecond.
    """
    nanoseconds = round(seconds * _NANOSECONDS)
    if 0 < nanoseconds < _NANOSECONDS:
        return f"{_decimal(nanoseconds, _NANOSECONDS_IN_MILLISECOND)}ms"
    whole, fraction = divmod(nanoseconds, 60 * _NANOSECONDS)
    hours, minutes = divmod(whole, 60)
    rest = f"{_decimal(fraction, _NANOSECONDS)}s"
    if hours:
        return f"{hours}h{minutes}m{rest}"
    return f"{minutes}m{rest}" if minutes else rest


def cpus(cores: float) -> str:
    """Return a limit of CPUs: nine decimals without trailing zeros.

    The provider rounds a text with exactly nine zeros to one decimal (helpers.go, ``nanoInt64ToDecimalString``): right
    for 1.0, but 0.1 for 0.05. Such a limit is a billionth larger here, less than the kernel's unit of time resolves.
    """
    text = f"{cores:.9f}"
    if text.count("0") != 9:
        return text.rstrip("0")
    short = f"{cores:.1f}"
    return short if float(short) == float(text) else f"{cores + 1e-9:.9f}"


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def endpoint(service: str, port: Port, host: tuple[str, int] | None, _ready: str) -> dict[str, Any]:
    """Return an ``Endpoint`` of the outputs as plain values; ``host``: where it is published."""
    return {
        "scheme": port.scheme,
        "host": host[0] if host else None,
        "port": host[1] if host else None,
        "url": f"{port.scheme}://{host[0]}:{host[1]}{port.path}" if host else None,
        "internal_host": service,
        "internal_port": port.number,
        "internal_url": f"{port.scheme}://{service}:{port.number}{port.path}",
        "protocol": port.protocol,
    }


def unknown() -> pulumi.Output[Any]:
    """Return an output of a service that is not part of the environment: nothing made from it is ever known."""
    return pulumi.Output(set(), _later(None), _later(False))


async def _later(value: Any) -> Any:
    return value


def _known_text(what: str, value: Any) -> str:
    try:
        return arguments.text_of(what, value)
    except InputError as error:
        progress.emit({"type": "failed", "error": error.document()["error"]})
        raise pulumi.RunError(str(error)) from None  # which Pulumi prints without a traceback
