"""Where the services are: flag, environment, ``~/.tasker/config.toml``, default; the first that is set wins."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasker_client.errors import InvalidInputError
from tasker_client.transport import checked_url

Output = Literal["json", "table"]

_DEFAULTS: Mapping[str, str] = {
    "orchestration_url": "http://localhost:8080",
    "worker_url": "http://localhost:8081",
    "timeout_seconds": "10",
    "output": "table",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """``timeout_seconds``: how long one request may take."""

    orchestration_url: str
    worker_url: str
    timeout_seconds: float
    output: Output


def load(
    flags: Mapping[str, str | None], environ: Mapping[str, str] = os.environ, home: Path | None = None
) -> Settings:
    """The settings in force; InvalidInputError names a bad value, the rule, and where the value came from.

    ``flags``: by the names of the fields of Settings, None for a flag that was not given. An empty variable counts as
    not set.
    """
    file = (Path.home() if home is None else home) / ".tasker" / "config.toml"
    configured = _read(file)
    chosen: dict[str, str] = {}
    origins: dict[str, str] = {}
    for name, default in _DEFAULTS.items():
        variable = f"TASKER_{name.upper()}"
        candidates = (
            (flags.get(name), "flag"),
            (environ.get(variable) or None, variable),
            (configured.get(name), str(file)),
            (default, "default"),
        )
        chosen[name], origins[name] = next((value, origin) for value, origin in candidates if value is not None)
    return Settings(
        orchestration_url=_url(chosen["orchestration_url"], f"orchestration_url ({origins['orchestration_url']})"),
        worker_url=_url(chosen["worker_url"], f"worker_url ({origins['worker_url']})"),
        timeout_seconds=_seconds(chosen["timeout_seconds"], f"timeout_seconds ({origins['timeout_seconds']})"),
        output=_output(chosen["output"], f"output ({origins['output']})"),
    )


def _read(file: Path) -> dict[str, str]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{file} cannot be read: {error}") from error
    if unknown := sorted(set(document) - set(_DEFAULTS)):
        raise InvalidInputError(f"{file}: unknown setting {unknown[0]!r}; there are {', '.join(_DEFAULTS)}")
    return {name: str(value) for name, value in document.items()}


def _url(value: str, what: str) -> str:
    try:
        return checked_url(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"{what}: {error}") from error


def _seconds(value: str, what: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InvalidInputError(f"{what}: {value!r}; must be a number of seconds, more than 0")
    return seconds


def _output(value: str, what: str) -> Output:
    if value == "json":
        return "json"
    if value == "table":
        return "table"
    raise InvalidInputError(f"{what}: {value!r}; must be json or table")
