"""The environment's variables: defaults, refusals, and no secret in a message."""

import pytest
from chassis.settings import SettingsError, load
from olav.settings import InitSettings, ServerSettings, Settings

GIVEN = {"LLM_PROVIDER": "openai", "LLM_API_KEY": "sk-secret", "POSTGRES_PASSWORD": "pg-secret"}
SECRET_KEY = "k" * 32


def test_defaults() -> None:
    settings = load(ServerSettings, {**GIVEN, "OPENSEARCH_URL": "", "LLM_MODEL_NAME": ""})
    assert (settings.port, settings.workers, settings.environment, settings.log_level) == (
        8000,
        4,
        "development",
        "info",
    )
    assert settings.opensearch_url is None
    assert settings.llm_model_name == "gpt-4-turbo"
    assert settings.jwt_secret_is_default


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_required_variable_is_named(name: str, value: str | None) -> None:
    environ = {**GIVEN, name: value} if value is not None else {k: v for k, v in GIVEN.items() if k != name}
    with pytest.raises(SettingsError) as caught:
        load(ServerSettings, environ)
    assert str(caught.value) == f"bad environment: {name}: required, and not set"


def test_every_missing_variable_is_named_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^bad environment: LLM_PROVIDER.*LLM_API_KEY.*POSTGRES_PASSWORD.*$"):
        load(Settings, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LLM_PROVIDER", "anthropic"),
        ("LLM_BASE_URL", "llm:8080"),
        ("DATABASE_URL", "mysql://olav:pg-secret@db/olav"),
        ("DATABASE_URL", "postgresql://olav:pg-secret@db:port/olav"),
        ("REDIS_URL", "http://redis"),
        ("OPENSEARCH_URL", "opensearch"),
        ("ENVIRONMENT", "staging"),
        ("LOG_LEVEL", "loud"),
        ("JWT_SECRET_KEY", "too-short-secret"),
        ("OLAV_PORT", "0"),
        ("OLAV_WORKERS", "none"),
        ("OLAV_TOKEN_SECONDS", "0"),
    ],
)
def test_a_bad_variable_is_named_and_no_value_is_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^bad environment: {name}: ") as caught:
        load(ServerSettings, {**GIVEN, name: value})
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("provider", ["ollama", "azure"])
def test_other_providers_need_their_address(provider: str) -> None:
    with pytest.raises(SettingsError, match="LLM_BASE_URL"):
        load(Settings, {**GIVEN, "LLM_PROVIDER": provider})
    assert load(Settings, {**GIVEN, "LLM_PROVIDER": provider, "LLM_BASE_URL": "http://llm:1"}).llm_provider == provider


@pytest.mark.parametrize("given", [{}, {"JWT_SECRET_KEY": "olav-development-secret-known-to-all"}])
def test_production_refuses_the_default_secret(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^bad environment: JWT_SECRET_KEY: the default is refused in production"):
        load(ServerSettings, {**GIVEN, "ENVIRONMENT": "Production", **given})
    settings = load(ServerSettings, {**GIVEN, "ENVIRONMENT": "production", "JWT_SECRET_KEY": SECRET_KEY})
    assert settings.environment == "production"


def test_no_repr_shows_a_secret() -> None:
    settings = load(
        ServerSettings,
        {
            **GIVEN,
            "DATABASE_URL": "postgresql://olav:db-secret@db/olav",
            "REDIS_URL": "redis://:redis-secret@redis",
            "JWT_SECRET_KEY": "jwt-secret" * 4,
        },
    )
    assert "-secret" not in repr(settings)
    assert "-secret" not in str(settings.model_dump())


def test_init_needs_the_seed_users_passwords() -> None:
    with pytest.raises(SettingsError, match=r"OLAV_ADMIN_PASSWORD.*OLAV_OPERATOR_PASSWORD.*OLAV_VIEWER_PASSWORD"):
        load(InitSettings, GIVEN)
