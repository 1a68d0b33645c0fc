"""The environment variables of server and init."""

from typing import Annotated, Any, Literal, Self

from chassis.settings import CommonSettings, HttpUrl, PostgresUrl, ServiceSettings, lower, url
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

# Everybody can read it here: good enough for a laptop, refused in production.
_DEFAULT_JWT_SECRET = "olav-development-secret-known-to-all"  # noqa: S105
_SHORTEST_JWT_SECRET = 32  # bytes, as RFC 7518 asks of HS256


def _long_enough(secret: Any) -> Any:
    if len(secret.get_secret_value().encode()) < _SHORTEST_JWT_SECRET:
        raise ValueError(f"must have at least {_SHORTEST_JWT_SECRET} bytes")
    return secret


class Settings(CommonSettings):
    """What server, init and the local command read. Secrets are SecretStr: no repr and no log shows them."""

    llm_provider: Literal["openai", "ollama", "azure"]
    llm_api_key: SecretStr
    llm_base_url: HttpUrl | None = None
    llm_model_name: str = "gpt-4-turbo"
    llm_embedding_model_name: str = "text-embedding-3-small"
    postgres_password: SecretStr
    database_url: PostgresUrl = SecretStr("postgresql://olav@postgres:5432/olav")
    redis_url: Annotated[SecretStr, url("redis", "rediss")] = SecretStr("redis://redis:6379/0")
    opensearch_url: HttpUrl | None = None
    environment: Annotated[Literal["development", "production"], BeforeValidator(lower)] = "development"

    @model_validator(mode="after")
    def _provider_has_an_address(self) -> Self:
        if self.llm_provider != "openai" and self.llm_base_url is None:
            raise ValueError(f"LLM_BASE_URL: required with LLM_PROVIDER={self.llm_provider}, and not set")
        return self


class ServerSettings(Settings, ServiceSettings):
    """`token_seconds`: how long a login lasts. `login_attempts`: wrong passwords for one username from one address
    within `login_window_seconds`."""

    host: Annotated[str, Field(alias="OLAV_HOST")] = "0.0.0.0"  # noqa: S104  a container's only door is its network
    port: Annotated[int, Field(alias="OLAV_PORT", ge=1, le=65535)] = 8000
    jwt_secret_key: Annotated[SecretStr, AfterValidator(_long_enough)] = SecretStr(_DEFAULT_JWT_SECRET)
    workers: Annotated[int, Field(alias="OLAV_WORKERS", ge=1, le=64)] = 4
    reload: Annotated[bool, Field(alias="OLAV_RELOAD")] = False
    token_seconds: Annotated[int, Field(alias="OLAV_TOKEN_SECONDS", ge=1, le=7 * 86400)] = 3600
    login_attempts: Annotated[int, Field(alias="OLAV_LOGIN_ATTEMPTS", ge=1, le=1000)] = 5
    login_window_seconds: Annotated[int, Field(alias="OLAV_LOGIN_WINDOW_SECONDS", ge=1, le=86400)] = 60

    @property
    def jwt_secret_is_default(self) -> bool:
        return self.jwt_secret_key.get_secret_value() == _DEFAULT_JWT_SECRET

    @model_validator(mode="after")
    def _secret_is_not_the_default(self) -> Self:
        if self.environment == "production" and self.jwt_secret_is_default:
            raise ValueError("JWT_SECRET_KEY: the default is refused in production; set one of your own")
        return self


class InitSettings(Settings):
    """What `python -m olav.init` needs on top: the passwords of the seed users."""

    admin_password: Annotated[SecretStr, Field(alias="OLAV_ADMIN_PASSWORD", min_length=12, max_length=256)]
    operator_password: Annotated[SecretStr, Field(alias="OLAV_OPERATOR_PASSWORD", min_length=12, max_length=256)]
    viewer_password: Annotated[SecretStr, Field(alias="OLAV_VIEWER_PASSWORD", min_length=12, max_length=256)]
