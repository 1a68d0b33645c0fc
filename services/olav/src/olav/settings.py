"""What the environment says, read once at the start and checked as a whole."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError

# Everybody can read it here: good enough for a laptop, refused in production.
_DEFAULT_JWT_SECRET = "olav-development-secret-known-to-all"  # noqa: S105
_SHORTEST_JWT_SECRET = 32  # bytes, as RFC 7518 asks of HS256


class SettingsError(Exception):
    """A variable of the environment is wrong or missing; the message names each one."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _url(*schemes: str) -> AfterValidator:
    def check(value: Any) -> Any:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        try:
            parts = urlsplit(text)
            wrong = parts.scheme not in schemes or not parts.hostname or parts.port == 0
        except ValueError:
            wrong = True
        if wrong:
            raise PydanticCustomError("url", f"must be a URL like {schemes[0]}://host:port")
        return value

    return AfterValidator(check)


class Settings(BaseModel):
    """Field aliases are the names of the variables. Secrets are SecretStr: no repr and no log shows them."""

    model_config = ConfigDict(frozen=True)

    llm_provider: Annotated[Literal["openai", "ollama", "azure"], Field(alias="LLM_PROVIDER")]
    llm_api_key: Annotated[SecretStr, Field(alias="LLM_API_KEY")]
    llm_base_url: Annotated[str | None, Field(alias="LLM_BASE_URL"), _url("http", "https")] = None
    llm_model_name: Annotated[str, Field(alias="LLM_MODEL_NAME")] = "gpt-4-turbo"
    llm_embedding_model_name: Annotated[str, Field(alias="LLM_EMBEDDING_MODEL_NAME")] = "text-embedding-3-small"
    postgres_password: Annotated[SecretStr, Field(alias="POSTGRES_PASSWORD")]
    database_url: Annotated[SecretStr, Field(alias="DATABASE_URL"), _url("postgresql", "postgres")] = SecretStr(
        "postgresql://olav@postgres:5432/olav"
    )
    redis_url: Annotated[SecretStr, Field(alias="REDIS_URL"), _url("redis", "rediss")] = SecretStr(
        "redis://redis:6379/0"
    )
    opensearch_url: Annotated[str | None, Field(alias="OPENSEARCH_URL"), _url("http", "https")] = None
    environment: Annotated[
        Literal["development", "production"], Field(alias="ENVIRONMENT"), BeforeValidator(_lower)
    ] = "development"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(alias="LOG_LEVEL"), BeforeValidator(_lower)
    ] = "info"


class ServerSettings(Settings):
    """`token_seconds`: how long a login lasts. `login_attempts`: wrong passwords for one username from one address
    within `login_window_seconds`."""

    jwt_secret_key: Annotated[SecretStr, Field(alias="JWT_SECRET_KEY")] = SecretStr(_DEFAULT_JWT_SECRET)
    host: Annotated[str, Field(alias="OLAV_HOST")] = "0.0.0.0"  # noqa: S104  a container's only door is its network
    port: Annotated[int, Field(alias="OLAV_PORT", ge=1, le=65535)] = 8000
    workers: Annotated[int, Field(alias="OLAV_WORKERS", ge=1, le=64)] = 4
    reload: Annotated[bool, Field(alias="OLAV_RELOAD")] = False
    token_seconds: Annotated[int, Field(alias="OLAV_TOKEN_SECONDS", ge=1, le=7 * 86400)] = 3600
    login_attempts: Annotated[int, Field(alias="OLAV_LOGIN_ATTEMPTS", ge=1, le=1000)] = 5
    login_window_seconds: Annotated[int, Field(alias="OLAV_LOGIN_WINDOW_SECONDS", ge=1, le=86400)] = 60

    @property
    def jwt_secret_is_default(self) -> bool:
        return self.jwt_secret_key.get_secret_value() == _DEFAULT_JWT_SECRET


class InitSettings(Settings):
    """What `python -m olav.init` needs on top: the passwords of the seed users."""

    admin_password: Annotated[SecretStr, Field(alias="OLAV_ADMIN_PASSWORD", min_length=12, max_length=256)]
    operator_password: Annotated[SecretStr, Field(alias="OLAV_OPERATOR_PASSWORD", min_length=12, max_length=256)]
    viewer_password: Annotated[SecretStr, Field(alias="OLAV_VIEWER_PASSWORD", min_length=12, max_length=256)]


S = TypeVar("S", bound=Settings)


def load(kind: type[S], environ: Mapping[str, str]) -> S:
    """`kind` from `environ`; a variable that is set but empty counts as not set. Raises SettingsError."""
    try:
        settings = kind.model_validate({name: value for name, value in environ.items() if value != ""})
    except ValidationError as error:
        # The values stay out of the message: some of them are secrets.
        problems = [f"{item['loc'][0]}: {_reason(item)}" for item in error.errors(include_input=False)]
        raise SettingsError(f"bad environment: {'; '.join(problems)}") from None
    if problems := _conflicts(settings):
        raise SettingsError(f"bad environment: {'; '.join(problems)}")
    return settings


def _reason(item: Any) -> str:
    return "required, and not set" if item["type"] == "missing" else str(item["msg"])


def _conflicts(settings: Settings) -> list[str]:
    """What is wrong although each variable by itself is right."""
    problems = []
    if settings.llm_provider != "openai" and settings.llm_base_url is None:
        problems.append(f"LLM_BASE_URL: required with LLM_PROVIDER={settings.llm_provider}, and not set")
    if isinstance(settings, ServerSettings):
        if len(settings.jwt_secret_key.get_secret_value().encode()) < _SHORTEST_JWT_SECRET:
            problems.append(f"JWT_SECRET_KEY: must have at least {_SHORTEST_JWT_SECRET} bytes")
        elif settings.environment == "production" and settings.jwt_secret_is_default:
            problems.append("JWT_SECRET_KEY: the default is refused in production; set one of your own")
    return problems
