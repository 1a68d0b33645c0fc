from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ephemera.home.paths import cache_dir
from ephemera.host import fingerprint
from ephemera.host.fingerprint import Files
from ephemera.model.errors import InputError
from ephemera.pulumi.project_catalog import ProjectCatalog

_PROGRAM = """
import os
from ephemera import Container, Exec, System
import pulumi

shop, bank = System("shop"), System("bank")

@shop.program
def program(environment):
    with open({log!r}, "a") as log:
        log.write("rehearsed ")
    name = pulumi.Config("mine").get("name") or os.environ.get("SERVICE", "api")
    Container(name, image="nats:2", ready=Exec(["true"]), run_as="1")

@bank.program
def program(environment):
    1 / 0
"""
Catalog = Callable[[], ProjectCatalog]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def project(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: demo\nruntime: python\n")
    program = _PROGRAM.format(log=str(log))
    (project / "__main__.py").write_text(f"{program}\nfrom ephemera import run\nrun(shop, bank)\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    return project


@pytest.fixture
def catalog(project: Path) -> Catalog:
    return lambda: ProjectCatalog(project, dict, Files())


def test_system_is_rehearsed_once_as_long_as_nothing_changes(catalog: Catalog, log: Path) -> None:
    assert list(catalog()["shop"].services) == ["api"]
    assert list(catalog()) == ["shop", "bank"]
    assert catalog()["shop"] == catalog()["shop"]
    assert log.read_text() == "rehearsed "


def test_changed_file_and_changed_variable_are_noticed(
    catalog: Catalog, project: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog()["shop"]
    monkeypatch.setenv("SERVICE", "worker")
    assert list(catalog()["shop"].services) == ["worker"]
    program = project / "__main__.py"
    program.write_text(program.read_text().replace('"SERVICE"', '"NOTHING"').replace('"api"', '"server"'))
    assert list(catalog()["shop"].services) == ["server"]
    assert log.read_text() == "rehearsed " * 3


def test_what_is_remembered_imports_neither_pulumi_nor_the_program(catalog: Catalog, project: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ephemera.pulumi.workspace import Workspace\n"
        f"assert list(Workspace(Path({str(project)!r})).catalog['shop'].services) == ['api']\n"
        "print('pulumi' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    said = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() for _ in range(2)]
    assert said == ["True", "False"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 1}', '{"schema": 99, "systems": 3}'])
def test_memory_that_cannot_be_read_is_made_anew(catalog: Catalog, log: Path, damage: str) -> None:
    catalog()["shop"]
    (memory,) = (cache_dir() / "manifests").glob("*.json")
    memory.write_text(damage)
    assert list(catalog()["shop"].services) == ["api"]
    assert log.read_text() == "rehearsed " * 2


def test_files_are_looked_at_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog()["shop"]
    walked: list[str] = []
    walk = fingerprint._walk

    def noted(path: str, seen: set[tuple[int, int]]) -> Any:
        walked.append(path)
        return walk(path, seen)

    monkeypatch.setattr(fingerprint, "_walk", noted)
    again = catalog()
    assert again["shop"]
    assert list(again)
    assert len(walked) == len(set(walked)) > 0


def test_system_that_cannot_be_rehearsed_spoils_no_other(catalog: Catalog) -> None:
    with pytest.raises(
        InputError, match=r"program of system 'bank' .*ZeroDivisionError: division by zero .*__main__.py:17"
    ):
        catalog()["bank"]
    assert list(catalog()["shop"].services) == ["api"]
    assert list(catalog()) == ["shop", "bank"]


def test_programs_are_rehearsed_with_config_of_the_project(project: Path) -> None:
    assert list(ProjectCatalog(project, lambda: {"mine:name": "other"}, Files())["shop"].services) == ["other"]
