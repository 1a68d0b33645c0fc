"""Settings: names of variables, what is refused, and no value in a message."""

from typing import Annotated, Self

import pytest
from chassis.settings import (
    CommaList,
    HttpUrl,
    PostgresUrl,
    ServiceSettings,
    SettingsError,
    load,
    load_or_exit,
    prefixed,
)
from pydantic import Field, model_validator


class Settings(ServiceSettings):
    model_config = prefixed("SHOP_")

    database_url: Annotated[PostgresUrl, Field(alias="DATABASE_URL")]
    currencies: Annotated[tuple[str, ...], CommaList, Field(min_length=1)] = ("EUR",)
    bank_url: HttpUrl | None = None
    rate: float = 1.0

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(self.currencies) > 1 and self.bank_url is None:
            raise ValueError("SHOP_BANK_URL: required with several currencies")
        return self


GIVEN = {"DATABASE_URL": "postgresql://shop:hunter2@db/shop"}


def test_a_variable_is_the_prefix_and_the_name_or_the_alias() -> None:
    settings = load(Settings, {**GIVEN, "SHOP_PORT": "81", "SHOP_RATE": "", "LOG_LEVEL": "DEBUG", "RATE": "2"})
    assert (settings.port, settings.rate, settings.log_level, settings.host) == (81, 1.0, "debug", "0.0.0.0")  # noqa: S104
    assert settings.database_url.get_secret_value() == GIVEN["DATABASE_URL"]
    assert "hunter2" not in repr(settings)


def test_a_list_has_commas() -> None:
    settings = load(Settings, {**GIVEN, "SHOP_CURRENCIES": "EUR, CHF,", "SHOP_BANK_URL": "http://bank"})
    assert settings.currencies == ("EUR", "CHF")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("DATABASE_URL", "", "required, and not set"),
        ("DATABASE_URL", "mysql://shop:hunter2@db", "must be a URL like postgresql://host:port"),
        ("DATABASE_URL", "postgresql://shop:hunter2@db:port/shop", "must be a URL like postgresql://host:port"),
        ("SHOP_BANK_URL", "bank", "must be a URL like http://host:port"),
        ("SHOP_PORT", "0", "greater than or equal to 1"),
        ("SHOP_CURRENCIES", ",", "at least 1 item"),
        ("SHOP_START_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_bad_variable_is_named_with_the_rule_and_without_its_value(name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"^bad environment: {name}: ") as caught:
        load(Settings, {**GIVEN, name: value})
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_does_not_go_together_is_told_as_it_is() -> None:
    with pytest.raises(SettingsError, match=r"^bad environment: SHOP_BANK_URL: required with several currencies$"):
        load(Settings, {**GIVEN, "SHOP_CURRENCIES": "EUR,CHF"})


def test_every_bad_variable_is_named_at_once_and_ends_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load_or_exit(Settings, {"SHOP_PORT": "many"})
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "SHOP_PORT" in told
    assert "DATABASE_URL" in told
