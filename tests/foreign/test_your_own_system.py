"""docs/your-own-system.md, followed to the letter by a reader who has nothing but the package."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from docker.errors import APIError

from ephemera import images
from ephemera.docker.connection import connected
from ephemera.home import identity
from ephemera.lifecycle import removal
from ephemera.model.labels import BACKEND
from ephemera.setup.steps import base_image
from tests.foreign.page import Commands, File, prints_as_shown, section, steps, write
from tests.foreign.shell import Shell, of_a_stranger

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "your-own-system.md"
TAG = secrets.token_hex(3)
"""Goes with each branch: stacks of several users share one engine, and no two may share a name."""
OUR_OWN = ("components", "stacks", "services", "tests")
# The page takes a minute, and several where others are at work; each of its commands has a deadline of its own.
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Walk:
    """What came of following the page: its commands with what they printed, and the terminal that is left."""

    printed: list[tuple[Commands, str]]
    shell: Shell
    state: Path

    @property
    def project(self) -> Path:
        """The reader's project."""
        return self.shell.folder

    def left(self) -> list[str]:
        """What is left of every environment that was made."""
        home = self.state / "ephemera"
        patterns = (
            "leases/*",
            "operations/*",
            "guardians/*",
            "pulumi/.pulumi/stacks/*/*",
            "pulumi/.pulumi/locks/**/*.json",
        )
        files = [str(path) for pattern in patterns for path in home.glob(pattern)]
        with connected() as client:
            objects = [str(found) for found in removal.find(client, backend=(home / "backend-id").read_text())]
        return [*files, *objects, *(json.loads((home / "addresses.json").read_text()).keys() - {"schema"})]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Iterator[Walk]:
    """The page, followed. ``../ephemera`` is what the source archive holds, and so no checkout."""
    assert base_image() is not None or images.mode() == "registry"
    folder = tmp_path_factory.mktemp("reader")
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    next(folder.glob("ephemera_stacks-*")).rename(folder / "ephemera")
    state = folder / "state"
    shell = Shell(folder, of_a_stranger(folder) | {"EPHEMERA_IMAGES": images.mode()} | wheels())
    printed = []
    try:
        for step in steps(PAGE.read_text()):
            if isinstance(step, File):
                write(step, shell.folder)
            else:
                text = shell(re.sub(r"\b(main|hand)\b", rf"\1-{TAG}", step.text))
                printed.append((step, text.replace(f"-{TAG}", "").replace(identity.owner(), "ada@vm")))
        yield Walk(printed, shell, state)
    finally:
        clean_up(state)


def wheels() -> dict[str, str]:
    """Settings with which pip takes what was downloaded for this environment, and needs no index for it."""
    stored = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ephemera" / "wheels"
    folders = " ".join(str(folder) for folder in stored.glob("*") if list(folder.glob("hatchling-*.whl")))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": folders} if folders else {}


def clean_up(state: Path) -> None:
    """Remove what a failed walk left, and the images that the reader built."""
    if not (file := state / "ephemera" / "backend-id").is_file():
        return
    backend = file.read_text()
    with connected() as client:
        for stack in {found.stack for found in removal.find(client, backend=backend)}:
            removal.remove(client, stack, backend)
        for image in client.images.list(filters={"label": f"{BACKEND}={backend}"}):
            for tag in image.tags:
                with suppress(APIError):  # another run of this is using it
                    client.images.remove(tag)


def test_the_page_prints_what_it_shows(walk: Walk) -> None:
    for commands, printed in walk.printed:
        if commands.printed is not None:
            assert prints_as_shown(commands.printed, printed), f"{commands.text}\n{printed}\nis not\n{commands.printed}"


def test_the_package_alone_is_installed(walk: Walk) -> None:
    installed = walk.shell("python -c 'import ephemera; print(ephemera.__file__)'")
    assert installed.startswith(str(walk.project / "venv"))
    for name in OUR_OWN:
        assert walk.shell.attempt(f"cd / && python -c 'import {name}'").returncode != 0


def test_beside_services_and_tests_the_project_is_two_small_files(walk: Walk) -> None:
    files = {path.name: path.read_text() for path in walk.project.iterdir() if path.is_file()}
    del files[".gitignore"]
    assert files.keys() == {"Pulumi.yaml", "__main__.py"}
    assert sum(len(text.splitlines()) for text in files.values()) <= 40


def test_nothing_is_left(walk: Walk) -> None:
    assert walk.left() == []
    assert list(walk.project.glob("Pulumi.*.yaml")) == []
    assert not (walk.project / ".ephemera" / "venv").exists()


def test_pytest_makes_no_machine_ready_but_says_who_does(walk: Walk, tmp_path: Path) -> None:
    done = walk.shell.attempt(f"XDG_CACHE_HOME={tmp_path} pytest --quiet")
    assert "passed" not in done.stdout
    assert "the Pulumi toolchain is not there: run `ephemera setup`, which makes it" in done.stdout
    assert not (tmp_path / "ephemera" / "engine").exists()


@pytest.fixture
def readme(walk: Walk, tmp_path: Path) -> Iterator[Shell]:
    """The project of the README's section, in the environment that the page has installed."""
    shell = Shell(tmp_path, walk.shell.variables)
    for step in steps(section((ROOT / "README.md").read_text(), "Your own stack")):
        if isinstance(step, File):
            write(step, tmp_path / "environments")
    yield shell
    assert walk.left() == []


def test_a_project_in_a_subfolder_of_a_repository(readme: Shell) -> None:
    readme(f"git init --quiet --initial-branch sub-{TAG} && cd environments")
    summary = json.loads(readme("ephemera run shop --output json 2> /dev/null"))
    assert summary["stack"].startswith(f"shop-sub-{TAG}-")
    assert (summary["tests"]["passed"], summary["leftovers"]) == (1, [])


def test_a_project_without_git_with_a_package_of_a_name_like_ours(readme: Shell) -> None:
    readme("cd environments && mv tests ephemera_tests && touch ephemera_tests/__init__.py")
    readme('sed --in-place \'s/System("shop")/System("shop", suite="ephemera_tests")/\' __main__.py')
    refused = readme.attempt("python -m ephemera run shop")
    assert refused.returncode == 2
    assert refused.stdout == f"ephemera: {readme.folder} is on no branch: give one with --branch NAME\n"
    summary = json.loads(readme(f"python -m ephemera run shop --branch none-{TAG} --output json 2> /dev/null"))
    assert (summary["tests"]["passed"], summary["leftovers"]) == (1, [])


def test_the_wheel_holds_the_package_and_its_data_alone(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {re.sub(r"-.*\.", ".", folder) for folder in folders} == {"ephemera", "ephemera_stacks.dist-info"}
    assert {"images", "toolchain"} == {name.split("/")[2] for name in names if name.startswith("ephemera/_data/")}
    for room in ("images", "toolchain"):
        for recipe in (ROOT / room).rglob("*"):
            if recipe.is_file() and "__pycache__" not in recipe.parts:
                assert f"ephemera/_data/{recipe.relative_to(ROOT)}" in names


def test_a_wheel_from_the_source_archive_is_the_same(built: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(next(built.glob("*.tar.gz")), tmp_path, filter="data")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=next(tmp_path.glob("ephemera_stacks-*")), check=True, capture_output=True, timeout=60)
    contents = []
    for folder in (built, tmp_path):
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            contents.append({name: wheel.read(name) for name in wheel.namelist()})
    assert contents[0] == contents[1]
