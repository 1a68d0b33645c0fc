from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.settings import (
    Settings,
    from_environment,
    from_flags,
    known_keys,
    meant_for,
    read_settings,
    validated,
)
from tests.unit.doubles import SHOP

_CATALOG = {"shop": SHOP, "shop-lite": SHOP}


def _read(stack: str = "shop-main", **config: str) -> Settings:
    return read_settings(_CATALOG, stack, config)


def test_system_and_branch_come_from_the_stacks_name() -> None:
    settings = _read("shop-lite-fix-1")
    assert (settings.system, settings.branch) == ("shop-lite", "fix-1")


def test_what_the_config_says_wins_over_the_stacks_name() -> None:
    settings = _read("shop-main-abc123", system="shop", branch="feature/A")
    assert (settings.system, settings.branch) == ("shop", "feature/A")


def test_branch_is_taken_from_the_name_when_only_the_system_is_configured() -> None:
    assert _read("shop-fix-1", system="shop").branch == "fix-1"


def test_defaults_of_settings_and_of_the_systems_options() -> None:
    settings = _read()
    assert (settings.images, settings.expose, settings.only, settings.profiles) == ("auto", "auto", (), ())
    assert settings.options == {"level": "info", "seconds": 5, "verbose": False}


def test_empty_defaults_of_the_project_file_count_as_not_given() -> None:
    assert _read(system="", branch="", owner="", only="[]", profiles="", port_table="") == _read()


def test_options_are_read_by_their_declared_type() -> None:
    settings = _read(level="debug", seconds="-3", verbose="true")
    assert settings.options == {"level": "debug", "seconds": -3, "verbose": True}


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("seconds", "soon", "of type integer"),
        ("seconds", "1.5", "of type integer"),
        ("seconds", "--1", "of type integer"),
        ("verbose", "yes", "of type boolean"),
        ("images", "remote", "'auto', 'registry' or 'local'"),
        ("expose", "public", "'loopback'"),
        ("only", '{"a": 1}', "a list of names"),
        ("only", "[1]", "a list of names"),
        ("profiles", "7", "a list of names"),
    ],
)
def test_wrong_value_is_refused_with_key_value_and_rule(key: str, value: str, rule: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(**{key: value})
    assert f"ephemera:{key}" in caught.value.message
    assert value in caught.value.message
    assert rule in caught.value.remedy


def test_misspelt_key_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ephemera:expose'"):
        _read(exposee="none")
    with pytest.raises(UnknownNameError, match="did you mean 'ephemera:seconds'"):
        _read(second="1")


@pytest.mark.parametrize("text", ['["db", "api"]', "db,api", " db , api "])
def test_lists_are_read_as_json_or_by_commas(text: str) -> None:
    assert _read(only=text).only == ("db", "api")


@pytest.mark.parametrize("text", ["db", '"db"', '["db"]'])
def test_list_of_one(text: str) -> None:
    assert _read(only=text).only == ("db",)


@pytest.mark.parametrize(("key", "what"), [("only", "service"), ("profiles", "profile")])
def test_unknown_service_or_profile_is_refused(key: str, what: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown {what} 'nope'"):
        _read(**{key: "nope"})


def test_unknown_system_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'shop'"):
        _read(system="shopp")
    with pytest.raises(UnknownNameError, match="system in stack name"):
        _read("other-main")


def test_fixed_ports_need_a_table_that_is_declared() -> None:
    assert _read(expose="fixed", port_table="test").port_table == "test"
    with pytest.raises(UnknownNameError, match="unknown port table 'prod'"):
        _read(expose="fixed", port_table="prod")
    with pytest.raises(UnknownNameError, match="unknown port table ''"):
        _read(expose="fixed")


def test_config_leaves_defaults_out() -> None:
    assert Settings(system="shop", branch="main").to_config() == {"system": "shop", "branch": "main"}


@given(
    branch=st.text(min_size=1).filter(lambda text: text != "[]"),
    owner=st.sampled_from(["", "me@here"]),
    expose=st.sampled_from(["auto", "loopback", "none"]),
    only=st.lists(st.sampled_from(["db", "api", "worker"]), unique=True),
    profiles=st.lists(st.sampled_from(["scale", "lab"]), unique=True),
    level=st.text(min_size=1).filter(lambda text: text != "[]"),
    seconds=st.integers(),
    verbose=st.booleans(),
)
def test_settings_survive_the_way_through_config(
    branch: str,
    owner: str,
    expose: Any,
    only: list[str],
    profiles: list[str],
    level: str,
    seconds: int,
    verbose: bool,
) -> None:
    settings = Settings(
        system="shop",
        branch=branch,
        owner=owner,
        expose=expose,
        only=tuple(only),
        profiles=tuple(profiles),
        options={"level": level, "seconds": seconds, "verbose": verbose},
    )
    assert read_settings(_CATALOG, "shop-anything", settings.to_config()) == settings


def test_variables_of_the_environment_are_read_for_every_key() -> None:
    environment = {"EPHEMERA_EXPOSE": "none", "EPHEMERA_SECONDS": "9", "EPHEMERA_IMAGES": "", "EPHEMERA_OTHER": "x"}
    assert from_environment(SHOP, environment) == {"expose": "none", "seconds": "9"}


def test_lists_of_the_environment_are_separated_by_commas() -> None:
    found = from_environment(SHOP, {"EPHEMERA_ONLY": "db, api", "EPHEMERA_PROFILES": "scale"})
    assert json.loads(found["only"]) == ["db", "api"]
    assert _read(**found).profiles == ("scale",)


def test_known_keys_are_those_of_settings_and_of_the_system() -> None:
    assert {"system", "only", "level", "seconds"} <= set(known_keys(SHOP))
    assert "options" not in known_keys(SHOP)


def test_empty_branch_is_refused_with_the_rule() -> None:
    with pytest.raises(InputError, match=r"ephemera:branch is ''.*at least 1 character"):
        validated({"system": "shop", "branch": ""}, {})


def test_settings_cannot_be_changed_once_made() -> None:
    settings = Settings(system="shop", branch="main")
    with pytest.raises(ValidationError, match="frozen"):
        settings.branch = "other"  # type: ignore[misc]


@pytest.mark.parametrize("value", ["build.example", "10.0.0", "10.0.0.999", "::1", "10.0.0.7/24"])
def test_address_to_publish_on_is_an_ipv4_address(value: str) -> None:
    with pytest.raises(InputError, match="ephemera:publish_host is"):
        validated({"system": "shop", "branch": "main", "publish_host": value}, {})
    assert validated({"system": "shop", "branch": "main", "publish_host": "10.0.0.7"}, {}).publish_host == "10.0.0.7"


def test_flags_are_read_as_config() -> None:
    assert from_flags() == {}
    found = from_flags(
        config=["ephemera:level=debug", "seconds=3=4", "expose=none"], only=["db"], profiles=["lab"], images="local"
    )
    assert found == {
        "level": "debug",
        "seconds": "3=4",
        "expose": "none",
        "only": '["db"]',
        "profiles": '["lab"]',
        "images": "local",
    }
    assert from_flags(expose="none", config=["expose=dynamic"]) == {"expose": "none"}
    with pytest.raises(InputError, match="--ephemera-config 'level' is not valid: give it as KEY=VALUE"):
        from_flags(config=["level"], prefix="--ephemera-")


_BANK = Manifest(suite="tests/bank", services={"db": Service(), "vault": Service(profile="safe")})


@pytest.mark.parametrize(
    ("key", "text", "for_bank"),
    [
        ("expose", "none", "none"),
        ("level", "debug", None),
        ("levle", "debug", "debug"),
        ("only", "db, api", '["db"]'),
        ("only", '["api"]', None),
        ("only", '["app"]', '["app"]'),
        ("profiles", '["lab", "safe"]', '["safe"]'),
        ("port_table", "test", None),
        ("port_table", "tets", "tets"),
    ],
)
def test_of_a_runs_settings_a_system_gets_its_own_and_what_is_a_mistake(
    key: str, text: str, for_bank: str | None
) -> None:
    catalog = {"shop": SHOP, "bank": _BANK}
    assert meant_for(_BANK, catalog, {key: text}) == ({} if for_bank is None else {key: for_bank})
    assert meant_for(_BANK, {"bank": _BANK}, {"level": "debug"}) == {"level": "debug"}
