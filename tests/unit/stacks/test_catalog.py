from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ephemera.model.settings import CONFIG_KEYS
from ephemera.model.system import System, find_project, load_systems
from ephemera.resources.rehearsal import manifest_of
from stacks.catalog import SYSTEMS

_ROOT = Path(__file__).resolve().parents[3]


def test_project_is_found_with_this_catalog() -> None:
    assert find_project(_ROOT / "stacks") == _ROOT
    assert tuple(load_systems(_ROOT).values()) == SYSTEMS


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_system_is_declared_in_full(system: System) -> None:
    manifest = manifest_of(system)
    assert system.description
    assert manifest.images
    assert (_ROOT / system.suite).is_dir()
    assert all(service.source is None or service.source.path.is_dir() for service in manifest.services.values())
    for ports in system.fixed_ports.values():
        assert len(set(ports.values())) == len(ports)


def test_what_depends_on_what_is_read_from_the_programs() -> None:
    tasker, olav = (manifest_of(system) for system in SYSTEMS)
    assert tasker.services["worker"].requires == ("orchestration", "postgres")
    assert tasker.selected(only=["orchestration"]) == ("postgres", "orchestration")
    assert tasker.selected(profiles=["scale"])[-1] == "worker-2"
    assert olav.selected(only=["olav-server"]) == ("postgres", "redis", "olav-init", "olav-server")
    assert olav.runner is not None
    assert olav.runner[0] == "olav-tests"


def test_project_file_declares_only_keys_that_exist() -> None:
    declared = yaml.safe_load((_ROOT / "Pulumi.yaml").read_text())["config"]
    known = {f"ephemera:{key}" for key in CONFIG_KEYS}
    known |= {f"ephemera:{key}" for system in SYSTEMS for key in system.options}
    assert set(declared) <= known
