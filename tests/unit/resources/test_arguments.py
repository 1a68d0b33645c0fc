"""Every argument of a container: plain values that cannot work are refused, in one line, before anything is made."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from ephemera import Container, Exec, HealthCheck, Http, Port, Volume, component
from ephemera.host.probes import PostgresProbe
from ephemera.model.data import NO_DATA
from ephemera.model.errors import InputError
from ephemera.model.images import EngineImage, is_reference
from ephemera.resources import arguments
from tests.unit import programs
from tests.unit.programs import Registered

_VOLUME = object.__new__(Volume)
_HEALTH = HealthCheck(command=["true"], interval_seconds=1, timeout_seconds=0.5, retries=1, start_period_seconds=0)
_TRUE = Exec(["true"])
_NUMBERS = (None, "5", True, math.nan, math.inf)
_ODD_COMMANDS: tuple[Any, ...] = (
    "sleep 5",
    b"sleep",
    [],
    [""],
    ["sleep", None],
    ["a\0b"],
    ["\udc80"],
    {"sleep": "5"},
    5,
)


def _health(**fields: Any) -> HealthCheck:
    return dataclasses.replace(_HEALTH, **fields)


# By argument; every one of them, as a test below makes sure.
_REFUSED: dict[str, list[Any]] = {
    "image": [None, "", "Nats:2", 5],
    "ready": [
        Http,
        "http",
        *(Http(path) for path in ("", "health", "/a b", "/ü", "/\n", None)),  # type: ignore[arg-type]
        *(Http(status=status) for status in (0, 99, 600, "200")),  # type: ignore[arg-type]
        *(Http(interval_seconds=each) for each in (0, -1, math.nan, "1")),  # type: ignore[arg-type]
        *(Http(timeout_seconds=each) for each in (0, -1, math.nan, "1")),  # type: ignore[arg-type]
        *(Exec(command) for command in _ODD_COMMANDS),
        PostgresProbe(user=None, database="shop"),  # type: ignore[arg-type]
        PostgresProbe(user="shop", database="a\0b"),
    ],
    "timeout_seconds": [0, -1, *_NUMBERS],
    "ports": [
        None,
        [8000],
        {"http": 0},
        {"http": True},
        {"": Port(80)},
        {5: Port(80)},
        {"a\nb": Port(80)},
        *({"http": Port(number)} for number in (0, -1, 65536, "80", 80.0, True, None)),  # type: ignore[arg-type]
        *({"http": Port(80, scheme=scheme)} for scheme in ("", "http://", "1a", None)),  # type: ignore[arg-type]
        *({"http": Port(80, path=path)} for path in ("api", "/a b", None)),  # type: ignore[arg-type]
    ],
    "variables": [
        None,
        ["A=1"],
        {"": "x"},
        {"A=B": "x"},
        {"A\0": "x"},
        {5: "x"},
        {"\udc80": "x"},
        *({"A": value} for value in (None, b"x", [1], {"a": 1}, math.nan, math.inf, "a\0b", "\udc80", object())),
    ],
    "command": list(_ODD_COMMANDS),
    "healthcheck": [
        "true",
        {"command": ["true"]},
        *(_health(command=command) for command in _ODD_COMMANDS),
        *(_health(interval_seconds=each) for each in (0, 0.0001, -1, *_NUMBERS)),
        *(_health(timeout_seconds=each) for each in (0, 0.0001, -1, *_NUMBERS)),
        *(_health(start_period_seconds=each) for each in (0.0001, -1, False, *_NUMBERS)),
        *(_health(retries=each) for each in (0, -1, 1.5, 2**40, *_NUMBERS)),
    ],
    "needs": [None, "db", ("db",), _VOLUME, {"db": None}],
    "wants": [None, ["api"]],
    "profile": ["", 5, "a\nb"],
    "required": ["yes", 1],
    "source": ["src", 5],
    "volumes": [
        None,
        [_VOLUME],
        {"/data": "a b"},
        {"/data": 5},
        *(
            {path: _VOLUME}
            for path in ("", "data", "./data", "/", "//", "/data/..", "/proc", "/proc/x", "/a:b", "/a\n", 5)
        ),
        {"/data": _VOLUME, "/data/": _VOLUME},
        {"/tmp/": _VOLUME},  # where there is a tmpfs  # noqa: S108 - in the container
    ],
    "tmpfs": [
        None,
        ["/tmp"],  # noqa: S108 - in the container
        {"/run": None},
        *({path: ""} for path in ("", "run", "/", "/run/../", "/proc/x", 5)),
        {"/run": "", "/run/": ""},
        *(
            {"/run": options}
            for options in (
                "size=lots",
                "size=64mb",
                "size",
                "size=-1",
                "size=٣",
                "mode=abc",
                "mode=888",
                "uid=app",
                "gid=-1",
                "nr_inodes=x",
                "exec,",
                "size=1m, exec",
                "bind",
                "shared",
                "color=red",
                " ",
            )
        ),
    ],
    "memory_mb": [5, 4, 0, -1, 256.5, 2**60, *_NUMBERS],
    "cpus": [0, 0.009, -1.0, -math.inf, *_NUMBERS],
    "pids": [0, -1, 1.5, 4_194_305, *_NUMBERS],
    "run_as": ["", "root", "0:5", "a b", "a\n", ":", "a:", "a:b:c", "1000;id", "4294967296", "ü", 1000, b"app", True],
    "capabilities": [
        None,
        ["CHOWN"],
        *({name: "why"} for name in ("NOSUCHCAP", "ALL", "CAP_CHOWN", "chown", "", 5)),
        {"CHOWN": " "},
        {"CHOWN": None},
    ],
    "writable_root_reason": [None, True, 5],
    "root_reason": [None, True, 5],
    "stop_grace_seconds": [-1, 0.5, 2**40, *_NUMBERS],
    "publish": [None, "no", 0],
    "credentials": [
        None,
        ["token"],
        {"": "x"},
        {" a": "x"},
        {"a\nb": "x"},
        {5: "x"},
        {"token": None},
        {"token": b"x"},
    ],
    "engine_capabilities": [None, ["version"], {"": "1"}, {"version": None}, {"version": [1]}],
    "data": [None, 5, "module", "module:", ":NAME", "module:NAME:MORE", "a b:NAME", "module.:NAME", "nosuch:X"],
}
# What looks odd and works.
_TAKEN: dict[str, list[Any]] = {
    "ready": [None, Http("/a?b=%20#c")],
    "timeout_seconds": [0.5],
    "ports": [{"http": 8000}, {"my http": Port(65535, scheme="svn+ssh", path="/a/b")}],
    "variables": [{"A B": "", "a.b-c": "x\ny", "ü": "ü", "N": 5, "F": 0.5, "B": True}],
    "command": [["sleep", ""], ("sleep", "5"), ["sleep", 5]],
    "healthcheck": [None, _HEALTH, _health(interval_seconds=3600, start_period_seconds=0.001)],
    "volumes": [{"/data": "data"}, {"/data/": _VOLUME, "/data with spaces": _VOLUME, "/proc2": _VOLUME}],
    "tmpfs": [
        {},
        {"/tmp": ""},  # noqa: S108 - in the container
        {"/run/": "rw,noexec,nosuid,size=50%,mode=01777,uid=5,gid=5,nr_inodes=4k,exec,noatime"},
    ],
    "memory_mb": [6],
    "cpus": [0.01, 1, 1 / 3],
    "pids": [1, 4_194_304],
    "profile": [None, "scale"],
    "required": [None, True, False],
    "run_as": [None, "1000", "app", "app:1000", "1000:0", "_x-y.z$"],
    "capabilities": [{"CHOWN": "why", "CHECKPOINT_RESTORE": "why"}],
    "stop_grace_seconds": [0, 30],
    "credentials": [{"api.key": "x", "my pass": "x", "pin": 1234}],
    "engine_capabilities": [{"version": "16", "major": 16}],
    "data": ["", NO_DATA],
}


@component
class Checked(Container):
    """A container whose arguments are checked, and that registers nothing."""

    def __post_init__(self) -> None:
        self.check()


def _check(**given: Any) -> None:
    Checked("api", **{"image": EngineImage(name="redis"), "ready": _TRUE, **given})


def _cases(table: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(name, value, id=f"{name}-{number}")
        for name, values in table.items()
        for number, value in enumerate(values)
    ]


def test_every_argument_has_values_that_are_refused() -> None:
    arguments = [field.name for field in dataclasses.fields(Container) if field.init]
    assert ["name", *_REFUSED, "opts"] == arguments


@pytest.mark.parametrize(("name", "value"), _cases(_REFUSED))
def test_value_that_cannot_work_is_refused_in_one_line(name: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        _check(**{name: value})
    assert "\n" not in str(refused.value)
    assert "api" in refused.value.message
    assert refused.value.remedy


def test_refusal_of_what_is_too_large_names_the_largest_that_is_taken() -> None:
    with pytest.raises(InputError, match=r"stop_grace_seconds of service 'api' is 10+: it must be .* to 2147483647$"):
        _check(stop_grace_seconds=10**12)
    _check(stop_grace_seconds=2147483647)


def test_refusal_of_data_tells_why_it_cannot_be_imported() -> None:
    with pytest.raises(InputError, match=r"data of service 'api': 'nosuch:X' cannot be imported: .*No module named"):
        _check(data="nosuch:X")


@pytest.mark.parametrize(("name", "value"), _cases(_TAKEN))
def test_value_that_looks_odd_and_works_is_taken(name: str, value: Any) -> None:
    _check(**{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"variables": {"PASSWORD": [b"s3cret"]}},
        {"variables": [("PASSWORD", "s3cret")]},
        {"variables": {"PASSWORD": "s3cret\0"}},
        {"credentials": {"password": ["s3cret"]}},
        {"credentials": ["s3cret"]},
    ],
)
def test_refusal_tells_no_secret(given: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        _check(**given)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", ""),
        (5, "5"),
        (-1, "-1"),
        (0.5, "0.5"),
        (10**400, f"1{'0' * 400}"),
        (1e22, "1e+22"),
        (True, "true"),
        (False, "false"),
    ],
)
def test_numbers_and_booleans_become_text_as_in_json(value: Any, text: str) -> None:
    assert arguments.text_of("it", value) == text


@pytest.mark.parametrize(
    ("path", "place"), [("/data/", "/data"), ("//data", "/data"), ("/a/./b/../c", "/a/c"), ("/a b", "/a b")]
)
def test_place_is_spelt_as_docker_does(path: str, place: str) -> None:
    assert arguments.place(path) == place


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "/etc", "a" * 101, "ü", None, 5])
def test_name_of_a_volume_that_docker_would_not_take_is_refused(name: Any) -> None:
    _refused_as_a_resource(lambda: programs.environment() and Volume(name), "volume:Volume")


def test_volume_without_an_environment_is_refused() -> None:
    _refused_as_a_resource(lambda: Volume("data"), "volume:Volume")


@pytest.mark.parametrize(
    "reference", ["", "a b", "Nats:2", "nats:", "nats:a b", "/nats", "nats@sha256:12", "http://x/y"]
)
def test_reference_that_is_none_is_told(reference: Any) -> None:
    assert not is_reference(reference)


@pytest.mark.parametrize(
    "reference",
    [
        "nats",
        "nats:2",
        "docker.io/library/nats:2.10",
        "[::1]:5000/a/b_c",
        "h:5/a@sha256:" + "0" * 64,
        "sha256:" + "0" * 64,
    ],
)
def test_reference_is_told(reference: str) -> None:
    assert is_reference(reference)


def _refused_as_a_resource(make: Any, kind: str) -> None:
    registered = Registered()
    with pytest.raises(InputError):
        programs.run(make, registered=registered)
    assert registered.names(kind) == []
