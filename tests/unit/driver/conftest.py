"""A project in a folder of its own, and the workspace over it."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ephemera.driver import workspace as workspace_module
from ephemera.driver.workspace import Workspace
from ephemera.machine.toolchain import Toolchain
from ephemera.resources.manifests import KNOWN
from tests.unit.doubles import SHOP

_numbers = itertools.count()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A project whose catalog holds the shop; Pulumi is said to be in ``bin``."""
    project = tmp_path / "project"
    project.mkdir()
    module = f"shop_catalog_{next(_numbers)}"
    (project / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    (project / "pyproject.toml").write_text(f'[tool.ephemera]\ncatalog = "{module}:SYSTEMS"\n')
    (project / f"{module}.py").write_text("from tests.unit.doubles import shop as SYSTEMS\n")
    toolchain = Toolchain(pulumi=tmp_path / "bin/pulumi", bin_dir=tmp_path / "bin", pulumi_home=tmp_path / "pulumi")
    monkeypatch.setattr(workspace_module, "located", lambda: toolchain)
    monkeypatch.setattr(sys, "path", list(sys.path))
    importlib.invalidate_caches()
    known = KNOWN.set({"shop": SHOP})
    yield Workspace(project)
    KNOWN.reset(known)
    sys.modules.pop(module, None)
