"""What the environment says, read once at the start and checked as a whole."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

MODELS = (
    "gpt-4-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
)


class SettingsError(Exception):
    """A variable of the environment is wrong; the message names each one."""


def _comma_list(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Settings(BaseModel):
    """Field aliases are the names of the variables. `key`: None lets everybody in. `models`: the ids that exist."""

    model_config = ConfigDict(frozen=True)

    key: Annotated[SecretStr | None, Field(alias="LLM_DOUBLE_KEY")] = None
    models: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[!-~]{1,100}$")], ...],
        BeforeValidator(_comma_list),
        Field(alias="LLM_DOUBLE_MODELS", min_length=1),
    ] = MODELS
    host: Annotated[str, Field(alias="LLM_DOUBLE_HOST")] = "0.0.0.0"  # noqa: S104  a container's only door is its network
    port: Annotated[int, Field(alias="LLM_DOUBLE_PORT", ge=1, le=65535)] = 8080
    log_level: Annotated[str, Field(alias="LOG_LEVEL", pattern="^(?i:debug|info|warning|error)$")] = "info"


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; a variable that is set but empty counts as not set. Raises SettingsError."""
    try:
        return Settings.model_validate({name: value for name, value in environ.items() if value != ""})
    except ValidationError as error:
        # The values stay out of the message: one of them is the key.
        problems = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors(include_input=False))
        raise SettingsError(f"bad environment: {problems}") from None
