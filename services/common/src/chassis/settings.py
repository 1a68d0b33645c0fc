"""Settings of a service: environment variables, read once at the start and checked as a whole.

    class Settings(ServiceSettings):
        model_config = prefixed("SHOP_")
        currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"          # SHOP_CURRENCY
        database_url: Annotated[PostgresUrl, Field(alias="DATABASE_URL")]      # required

A field is read from the variable of its name with the prefix, or from the one that its alias names.
"""

import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError


class SettingsError(Exception):
    """A variable is wrong or missing; the message names each one, and no value."""


def prefixed(prefix: str) -> ConfigDict:
    """Return the `model_config` of settings whose variables begin with `prefix`."""
    return ConfigDict(frozen=True, alias_generator=lambda name: prefix + name.upper())


def lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _comma_list(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def url(*schemes: str) -> AfterValidator:
    """Return a check that text, or a secret, is a URL with a host and one of these schemes."""

    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            parts = urlsplit(text)
            wrong = parts.scheme not in schemes or not parts.hostname or parts.port == 0
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError(f"must be a URL like {schemes[0]}://host:port")
        return value

    return AfterValidator(check)


CommaList = BeforeValidator(_comma_list)
"""For a tuple that is given as `a, b, c`."""
HttpUrl = Annotated[str, url("http", "https")]
PostgresUrl = Annotated[SecretStr, url("postgresql", "postgres")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lower)]


class CommonSettings(BaseModel):
    """What every program of a service reads."""

    model_config = prefixed("")

    log_level: Annotated[LogLevel, Field(alias="LOG_LEVEL")] = "info"


class ServiceSettings(CommonSettings):
    """What every HTTP service reads. `start_timeout_seconds`: how long it waits at its start for what it needs."""

    environment: Annotated[str, Field(alias="ENVIRONMENT")] = "development"
    host: str = "0.0.0.0"  # noqa: S104  a container's only door is its network
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    start_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0


S = TypeVar("S", bound=CommonSettings)


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """Return `kind` from `environ`; an empty variable counts as not set. Raise SettingsError."""
    try:
        return kind.model_validate({name: value for name, value in environ.items() if value != ""})
    except ValidationError as error:
        # The values stay out of the message: some of them are secrets.
        problems = "; ".join(_problem(item) for item in error.errors(include_input=False))
        raise SettingsError(f"bad environment: {problems}") from None


def load_or_exit(kind: type[S], environ: Mapping[str, str]) -> S:
    """Return the settings; a bad environment ends the process with status 2 and one line on stderr."""
    try:
        return load(kind, environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


def _problem(item: Any) -> str:
    reason = "required, and not set" if item["type"] == "missing" else item["msg"].removeprefix("Value error, ")
    # A check of several fields together has no place; its message names them.
    return f"{item['loc'][0]}: {reason}" if item["loc"] else reason
