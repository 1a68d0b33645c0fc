from __future__ import annotations

import json

import pytest

from ephemera.cli.options import settings_from
from ephemera.model.errors import InputError


def test_pairs_become_config_with_or_without_the_namespace() -> None:
    assert settings_from(config=["level=debug", "ephemera:seconds=9", "branch=a=b", "owner="]) == {
        "level": "debug",
        "seconds": "9",
        "branch": "a=b",
        "owner": "",
    }


@pytest.mark.parametrize("pair", ["level", "=debug", ""])
def test_pair_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(InputError, match="is not valid: give it as KEY=VALUE") as caught:
        settings_from(config=[pair])
    assert repr(pair) in caught.value.message


def test_flags_become_the_settings_they_name() -> None:
    found = settings_from(
        config=None, only=["db", "api"], profile=["scale"], expose="fixed", port_table="test", images="local"
    )
    assert json.loads(found.pop("only")) == ["db", "api"]
    assert json.loads(found.pop("profiles")) == ["scale"]
    assert found == {"expose": "fixed", "port_table": "test", "images": "local"}


def test_nothing_given_sets_nothing() -> None:
    assert settings_from(config=None, only=[], profile=None) == {}


def test_flag_wins_over_the_pair_of_the_same_name() -> None:
    assert settings_from(config=["expose=none"], expose="dynamic") == {"expose": "dynamic"}
