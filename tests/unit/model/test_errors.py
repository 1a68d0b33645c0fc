from __future__ import annotations

import inspect
import json
import re

import pytest

from ephemera.model import errors
from ephemera.model.errors import (
    EngineError,
    EphemeraError,
    ImageError,
    InputError,
    InterruptedByUserError,
    LeftoversError,
    MachineError,
    NameTakenError,
    NoSuchEnvironmentError,
    NotReadyError,
    OtherEngineError,
    PolicyError,
    PortInUseError,
    ServiceFailedError,
    StackTakenError,
    UnexpectedError,
    UnknownNameError,
)

SAMPLES: tuple[EphemeraError, ...] = (
    EphemeraError("m", remedy="r"),
    InputError("m", remedy="r"),
    UnknownNameError("service", "dbb", ["db"]),
    PortInUseError("127.0.0.1", 80, "nginx (pid 1)", "api"),
    PolicyError(["api breaks 'root': user is 'root'"]),
    StackTakenError("m", remedy="r"),
    NameTakenError(["volume 'shop-main-data' exists already"], ["docker volume rm shop-main-data"]),
    OtherEngineError("shop-main", "ssh://build-box", "unix:///var/run/docker.sock"),
    NoSuchEnvironmentError("shop-main", ["shop-x"]),
    NotReadyError("m", remedy="r"),
    ServiceFailedError("api", "exited", container_exit_code=3, log_tail=["one", "two"]),
    UnexpectedError("KeyError: 'x'", remedy="report it"),
    ImageError("m", remedy="r", output=["step 1"]),
    EngineError("m", remedy="r", output=["error: x"]),
    LeftoversError("shop-main", ["network shop-main"]),
    MachineError("m", remedy="r"),
    InterruptedByUserError("m", remedy="r"),
)
"""One of every class."""


def _classes() -> dict[str, type[EphemeraError]]:
    return {
        name: kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, EphemeraError) and kind.__module__ == errors.__name__
    }


def test_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, tuple[str | None, int]] = {}
    above: dict[int, tuple[str, int]] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w+Error)(?: \[(\d+)\])?", line)
        if found:
            depth, name = len(found[1]) // 4, found[2]
            parent, inherited = above[depth - 1] if depth else (None, 1)
            code = int(found[3]) if found[3] else inherited
            above[depth] = (name, code)
            drawn[name] = (parent, code)
    classes = _classes()
    actual = {
        name: (kind.__base__.__name__ if kind is not EphemeraError and kind.__base__ else None, kind.exit_code)
        for name, kind in classes.items()
    }
    assert drawn == actual


def test_every_class_has_a_kind_of_its_own() -> None:
    kinds = [kind.kind for kind in _classes().values()]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: error.kind)
def test_document_is_one_json_object_with_kind_message_and_remedy(error: EphemeraError) -> None:
    document = json.loads(json.dumps(error.document()))
    assert list(document) == ["error"]
    assert document["error"]["kind"] == error.kind
    assert document["error"]["message"] == error.message
    assert document["error"]["remedy"] == error.remedy


def test_there_is_a_sample_of_every_class() -> None:
    assert {type(error) for error in SAMPLES} == set(_classes().values())


def test_failed_service_carries_cause_exit_code_and_last_lines() -> None:
    details = ServiceFailedError("api", "exited", container_exit_code=3, log_tail=["one"]).document()["error"]
    assert details["message"] == "service 'api' exited"
    assert (details["service"], details["cause"], details["container_exit_code"]) == ("api", "exited", 3)
    assert details["log_tail"] == ["one"]


def test_text_is_message_and_remedy() -> None:
    assert str(InputError("no", remedy="do this")) == "no: do this"
    assert str(InputError("no")) == "no"


def test_unknown_name_tells_the_nearest_and_all() -> None:
    error = UnknownNameError("service", "wroker", ["worker", "db"])
    assert str(error) == "unknown service 'wroker': did you mean 'worker'? known: db, worker"
    assert str(UnknownNameError("service", "x", [])) == "unknown service 'x': known: none"


def test_absent_environment_tells_what_is_running() -> None:
    assert "running: shop-a, shop-b" in str(NoSuchEnvironmentError("shop-x", ["shop-b", "shop-a"]))
    assert "ephemera up" in str(NoSuchEnvironmentError("shop-x", []))


def test_held_port_tells_address_holder_and_service() -> None:
    text = str(PortInUseError("127.0.0.1", 8080, "nginx (pid 7)", "api"))
    assert all(part in text for part in ("127.0.0.1:8080", "nginx (pid 7)", "'api'", "expose: loopback"))


def test_error_about_what_is_no_valid_unicode_can_be_printed() -> None:
    error = EphemeraError("/srv/\udcff is no folder", remedy="remove \ud800")
    assert str(error).encode() == rb"/srv/\udcff is no folder: remove \ud800"
