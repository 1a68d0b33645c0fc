from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ephemera.contract.catalog import Source, find_project, load_catalog
from ephemera.contract.names import check_system_name
from ephemera.contract.settings import CONFIG_KEYS
from stacks.catalog import SYSTEMS

_ROOT = Path(__file__).resolve().parents[3]


def test_project_is_found_with_this_catalog() -> None:
    assert find_project(_ROOT / "stacks") == _ROOT
    assert load_catalog(_ROOT) is SYSTEMS


@pytest.mark.parametrize("name", SYSTEMS)
def test_system_is_declared_in_full(name: str) -> None:
    system = SYSTEMS[name]
    check_system_name(name)
    assert callable(system.load())
    assert system.description
    assert system.images
    assert len(set(system.images)) == len(system.images)
    assert system.memory_mb > 0
    assert system.cpus > 0
    for service in system.services.values():
        folder = service.source.folder if isinstance(service.source, Source) else service.source
        assert folder is None or folder.is_dir()


@pytest.mark.parametrize("name", SYSTEMS)
def test_options_have_a_default_of_their_type_and_no_name_that_is_taken(name: str) -> None:
    types = {"string": str, "boolean": bool, "integer": int}
    for key, option in SYSTEMS[name].options.items():
        assert type(option.default) is types[option.type], key
        assert option.help
        assert key not in CONFIG_KEYS


@pytest.mark.parametrize("name", SYSTEMS)
def test_fixed_ports_are_distinct_and_of_services_that_are_there(name: str) -> None:
    for table, ports in SYSTEMS[name].fixed_ports.items():
        assert len(set(ports.values())) == len(ports), table
        assert {endpoint.partition(".")[0] for endpoint in ports} <= set(SYSTEMS[name].services)


def test_project_file_declares_only_keys_that_exist() -> None:
    declared = yaml.safe_load((_ROOT / "Pulumi.yaml").read_text())["config"]
    known = {f"ephemera:{key}" for key in CONFIG_KEYS}
    known |= {f"ephemera:{key}" for system in SYSTEMS.values() for key in system.options}
    assert set(declared) <= known
