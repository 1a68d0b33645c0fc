from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ephemera.model.catalog import Source
from ephemera.model.errors import InputError

_FOLDER = Path("/srv/src")


def _source(**given: Any) -> Source:
    return Source(**{"folder": _FOLDER, "target": "/opt/app", **given})


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"folder": 5}, "a folder of the project"),
        ({"folder": Path("/")}, "another folder than /"),
        ({"target": "opt/app"}, "an absolute folder in the container"),
        ({"target": "/"}, "an absolute folder in the container"),
        ({"target": "/opt/../etc"}, "an absolute folder in the container"),
        ({"target": "/opt/app/"}, "an absolute folder in the container"),
        ({"reload": "signal"}, "restart or command"),
        ({"reload": "command"}, "the one that reloads it"),
        ({"command": "python"}, "a tuple of texts"),
        ({"unused": (1,)}, "a tuple of texts"),
    ],
)
def test_wrong_source_is_refused_with_the_rule(given: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError) as caught:
        _source(**given)
    assert rule in caught.value.remedy


def test_folder_is_relative_to_the_project_of_the_calling_module(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    (tmp_path / "stacks").mkdir()
    module = tmp_path / "stacks" / "shop.py"
    module.write_text("from ephemera import Source\nSOURCE = Source(folder='services/../src', target='/srv')\n")
    source = runpy.run_path(str(module))["SOURCE"]
    assert source.path == tmp_path / "src"
    assert replace(source, target="/opt").folder == source.path


def test_files_of_other_services_are_not_used() -> None:
    source = _source(unused=("app/worker", "app/tool.py"))
    assert source.uses(_FOLDER / "app" / "worker.py")
    assert not source.uses(_FOLDER / "app" / "worker" / "main.py")
    assert not source.uses(_FOLDER / "app" / "tool.py")
    assert not source.uses(Path("/srv/other.py"))
