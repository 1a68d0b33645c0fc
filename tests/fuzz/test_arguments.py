"""Arguments of a container: whatever a program gives is one that Docker takes, or one clear error in one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ephemera import Container, Exec, ExitZero, HealthCheck, Http, Port, Volume, component
from ephemera.host.probes import PostgresProbe
from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.images import EngineImage
from ephemera.resources import arguments
from ephemera.resources.given import duration
from tests.fuzz.cases import documents, plain, result_or_error, texts, thousand


@component
class Checked(Container):
    """A container whose arguments are checked, and that registers nothing."""

    def __post_init__(self) -> None:
        self.check()


_VOLUME = object.__new__(Volume)
_names = st.sampled_from(["/data", "/data/", "/tmp", "http", "A", "CHOWN", "size=1m"]) | texts  # noqa: S108
_values = documents | st.binary(max_size=9) | st.just(_VOLUME) | st.just({1}) | st.just(int)


def _mapping(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(_names, values | _values, max_size=3) | _values


_numbers = plain | st.integers(-2, 10) | st.floats(-1, 5)
_commands = st.lists(texts | plain, max_size=3) | _values
_probes = (
    st.builds(Http, path=texts | plain, status=_numbers, interval_seconds=_numbers)
    | st.builds(Exec, command=_commands)
    | st.builds(PostgresProbe, user=texts | plain, database=texts | plain)
    | st.just(ExitZero())
    | _values
)
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "image": _values,
    "ready": _probes,
    "timeout_seconds": _numbers,
    "ports": _mapping(st.builds(Port, number=_numbers, scheme=texts | plain, path=texts | plain)),
    "variables": _mapping(plain),
    "command": _commands,
    "healthcheck": st.builds(
        HealthCheck,
        command=_commands,
        interval_seconds=_numbers,
        timeout_seconds=_numbers,
        retries=_numbers,
        start_period_seconds=_numbers,
    )
    | _values,
    "needs": st.lists(_values, max_size=2) | _values,
    "wants": st.lists(_values, max_size=2) | _values,
    "profile": texts | _values,
    "required": _values,
    "source": _values,
    "volumes": _mapping(st.just(_VOLUME) | texts),
    "tmpfs": _mapping(texts | st.sampled_from(["", "size=1m", "exec,mode=1777"])),
    "memory_mb": _numbers,
    "cpus": _numbers,
    "pids": _numbers,
    "run_as": texts | _values,
    "capabilities": _mapping(texts),
    "writable_root_reason": _values,
    "root_reason": _values,
    "stop_grace_seconds": _numbers,
    "publish": _values,
    "credentials": _mapping(plain),
    "engine_capabilities": _mapping(plain),
    "data": texts | _values,
}
_ARGUMENTS = [
    field.name for field in dataclasses.fields(Container) if field.init and field.name not in ("name", "opts")
]


@pytest.mark.parametrize("name", _ARGUMENTS)
def test_any_value_is_taken_or_one_clear_error(name: str) -> None:
    @settings(thousand, max_examples=150)
    @given(_BY_NAME[name])
    def tried(value: Any) -> None:
        image = EngineImage(name="redis")
        given = {"image": image, "ready": Exec(["true"]), "run_as": "1000", name: value}
        found = result_or_error(lambda: Checked("api", **given))
        if isinstance(found, EphemeraError):
            assert isinstance(found, InputError)
            assert len(str(found).splitlines()) == 1
            assert len(str(found)) < 1000

    tried()


@thousand
@given(st.just(0.0) | st.floats(arguments.MIN_SECONDS, 10**9))
def test_any_duration_is_spelt_to_the_nanosecond(seconds: float) -> None:
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    text, total = duration(seconds), 0.0
    for unit in ("h", "m", "s") if not text.endswith("ms") else ("ms",):
        amount, found, rest = text.partition(unit)
        if found:
            total, text = total + float(amount) * units[unit], rest
    assert text == ""
    assert abs(total - seconds) <= max(1e-9, seconds * 1e-12)
