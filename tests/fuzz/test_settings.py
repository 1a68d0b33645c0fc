"""Settings: any config value, variable or flag gives settings that can be written and read back, or one clear error."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ephemera.cli import options
from ephemera.model.catalog import Manifest, Option, Service
from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.settings import Settings, from_environment, known_keys, read_settings
from tests.fuzz.cases import result_or_error, texts, thousand

_SYSTEM = Manifest(
    suite="tests",
    services={"db": Service(), "api": Service(requires=("db",)), "extra": Service(profile="scale")},
    options={
        "level": Option("info", ""),
        "seconds": Option(5, ""),
        "verbose": Option(False, ""),
    },
    fixed_ports={"test": {"api.http": 18080}},
)
_CATALOG = {"shop": _SYSTEM}
_KEYS = known_keys(_SYSTEM)
_SENSIBLE = ["shop", "main", "auto", "local", "registry", "loopback", "dynamic", "fixed", "none", "test", "api", "db"]
_SENSIBLE += [
    '["api", "db"]',
    "api,db",
    "scale",
    "10.213.0.0/16",
    "10.0.0.0/8",
    "8.8.0.0/16",
    "true",
    "false",
    "-3",
    "[1]",
]

values = texts | st.sampled_from(_SENSIBLE)
keys = st.sampled_from(_KEYS) | texts


def _usable(found: Any) -> None:
    if isinstance(found, EphemeraError):
        assert isinstance(found, InputError)
        return
    assert isinstance(found, Settings)
    assert set(found.only) <= set(_SYSTEM.services)
    assert set(found.profiles) <= {"scale"}
    assert found.expose != "fixed" or found.port_table == "test"
    pool = ipaddress.IPv4Network(found.subnet_pool)
    assert pool.is_private
    assert 16 <= pool.prefixlen <= 24
    for name, option in _SYSTEM.options.items():
        assert type(found.options[name]) is type(option.default)
    again = read_settings(_CATALOG, "shop-main", found.to_config())
    assert again == found, "what is written to the stack's config is read back as it was"


@thousand
@given(st.dictionaries(keys, values, max_size=5))
@example({"only": "[" * 100_000})
@example({"only": "9" * 5000})
@example({"seconds": "9" * 5000})
@example({"level": ""})
@example({"only": "[]"})
def test_any_config_is_settings_or_one_clear_error(config: dict[str, str]) -> None:
    _usable(result_or_error(lambda: read_settings(_CATALOG, "shop-main", config)))


@thousand
@given(st.sampled_from(_KEYS), values)
def test_any_value_of_any_key_is_a_setting_or_one_clear_error(key: str, value: str) -> None:
    _usable(result_or_error(lambda: read_settings(_CATALOG, "shop-main", {key: value})))


@thousand
@given(texts, st.dictionaries(keys, values, max_size=3))
def test_any_stack_is_settings_or_one_clear_error(stack: str, config: dict[str, str]) -> None:
    result_or_error(lambda: read_settings(_CATALOG, stack, config))


@thousand
@given(st.dictionaries(st.sampled_from([f"EPHEMERA_{key.upper()}" for key in _KEYS]), values, max_size=4))
def test_any_variables_are_settings_or_one_clear_error(variables: dict[str, str]) -> None:
    _usable(result_or_error(lambda: read_settings(_CATALOG, "shop-main", from_environment(_SYSTEM, variables))))


@thousand
@given(
    st.lists(texts | st.builds("{}={}".format, keys, values), max_size=3),
    st.none() | st.lists(values, max_size=3),
    st.none() | st.lists(values, max_size=3),
    st.none() | values,
    st.none() | values,
    st.none() | values,
)
def test_any_flags_are_settings_or_one_clear_error(
    config: list[str],
    only: list[str] | None,
    profile: list[str] | None,
    expose: str | None,
    port_table: str | None,
    images: str | None,
) -> None:
    def settings() -> Settings:
        given = options.settings_from(
            config=config, only=only, profile=profile, expose=expose, port_table=port_table, images=images
        )
        return read_settings(_CATALOG, "shop-main", given)

    _usable(result_or_error(settings))
