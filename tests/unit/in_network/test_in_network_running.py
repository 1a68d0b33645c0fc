from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ephemera.in_network import suite_run
from ephemera.model.catalog import Service
from ephemera.model.errors import InputError
from ephemera.model.images import EngineImage
from ephemera.model.runner import Runner
from tests.unit.doubles import SHOP, FakeClient


@pytest.mark.parametrize(("cpus", "refused"), [(1.0, False), (2, False), (2.5, True)])
def test_runner_that_is_to_have_more_cpus_than_there_are_is_refused_before_anything_is_created(
    monkeypatch: pytest.MonkeyPatch, cpus: float, refused: bool
) -> None:
    @contextmanager
    def connected() -> Iterator[FakeClient]:
        yield FakeClient(told={"NCPU": 2})

    monkeypatch.setattr(suite_run, "connected", connected)
    monkeypatch.setattr(suite_run, "suite_folder", lambda *_: None)
    runner = Runner(image=EngineImage(name="python"), cpus=cpus)
    system = replace(SHOP, services={**SHOP.services, "tests": Service(profile="testing", runner=runner)})
    workspace: Any = None
    if not refused:
        assert suite_run.check(workspace, "shop", system) == ("tests", runner)
        return
    with pytest.raises(InputError, match=r"cpus of runner 'tests' is 2\.5, and the Docker host has 2: give at most 2"):
        suite_run.check(workspace, "shop", system)
