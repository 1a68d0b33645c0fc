from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ephemera.model.catalog import Manifest, Service
from ephemera.model.errors import InputError
from ephemera.model.images import EngineImage
from ephemera.model.runner import Runner

_IMAGE = EngineImage(name="python")
_RUNNER = Service(profile="testing", runner=Runner(image=_IMAGE))


def _system(**services: Service) -> Manifest:
    return Manifest(suite="tests", services={name.replace("_", "-"): each for name, each in services.items()})


def test_the_runner_is_no_part_of_an_environment() -> None:
    system = _system(api=Service(), api_tests=_RUNNER, extra=Service(profile="testing"))
    assert system.runner == ("api-tests", _RUNNER.runner)
    assert system.selected() == ("api",)
    assert system.selected(profiles=["testing"]) == ("api", "extra")
    with pytest.raises(InputError, match=r"'api-tests' runs the suite.*--in-network"):
        system.selected(only=["api-tests"])


def test_its_image_is_one_of_the_system_but_none_that_an_environment_needs() -> None:
    system = _system(api=Service(), api_tests=_RUNNER)
    assert system.images == ()
    assert system.all_images == (_IMAGE,)
    assert _system(api=Service()).all_images == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Runner(image="python"), "image of a runner is 'python'"),  # type: ignore[arg-type]
        (lambda: Runner(image=_IMAGE, memory_mb=0), "memory_mb of a runner is 0"),
        (
            lambda: Runner(image=_IMAGE, memory_mb=5),
            "memory_mb of a runner is 5: it must be a whole number from 6 to 2147483647",
        ),
        (lambda: Runner(image=_IMAGE, cpus=float("nan")), "cpus of a runner is nan"),
        (lambda: Runner(image=_IMAGE, cpus=0.005), "cpus of a runner is 0.005: it must be a number, 0.01 or more"),
        (lambda: Runner(image=_IMAGE, pids=4_194_305), "pids of a runner is 4194305"),
        (lambda: Runner(image=_IMAGE, coverage="shop"), "coverage of a runner is 'shop'"),  # type: ignore[arg-type]
        (lambda: Runner(image=_IMAGE, coverage=("a b",)), "coverage of a runner has 'a b'"),
        (lambda: Runner(image=_IMAGE, files=("../secret",)), "files of a runner has '../secret'"),
        (lambda: Runner(image=_IMAGE, files=("/etc/passwd",)), "files of a runner has '/etc/passwd'"),
        (lambda: Runner(image=_IMAGE, name="a b"), "service name 'a b' is not valid"),
    ],
)
def test_a_value_that_cannot_work_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)
