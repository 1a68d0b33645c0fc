from __future__ import annotations

import pytest

from ephemera.components.postgres_data import DATA as POSTGRES
from ephemera.components.redis_data import DATA as REDIS
from ephemera.model.data import NO_DATA, NOTHING, Data, DatabaseData, DataError, load_data
from ephemera.model.errors import InputError, NotReadyError


def test_reference_names_an_implementation() -> None:
    assert load_data(NO_DATA) is NOTHING
    assert load_data("ephemera.components.redis_data:DATA") is REDIS


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere", "'nowhere' cannot be imported: it must be of the form module:NAME"),
        ("no.such.module:DATA", "cannot be imported: ModuleNotFoundError"),
        ("ephemera.components.redis_data:NONE", "cannot be imported: AttributeError"),
        ("ephemera.components.redis_data:_DONE", "is a str: it must be a Data"),
    ],
)
def test_what_is_none_is_refused(reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_data(reference)


def test_protocols_tell_who_makes_databases() -> None:
    assert isinstance(POSTGRES, DatabaseData)
    assert isinstance(REDIS, Data)
    assert not isinstance(REDIS, DatabaseData)


def test_error_is_one_of_an_environment_that_is_not_ready() -> None:
    error = DataError("m", remedy="r")
    assert isinstance(error, NotReadyError)
    assert (error.exit_code, error.document()["error"]["kind"]) == (3, "data")
