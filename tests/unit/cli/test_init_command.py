"""``ephemera init``: what it writes is a project whose program declares what was asked for."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ephemera.model.catalog import Manifest
from ephemera.model.images import EngineImage, PublicImage, ServiceImage
from ephemera.pulumi.workspace import Workspace
from tests.unit.cli.conftest import Command


class Terminal(io.StringIO):
    """Standard input of a user who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, not in a git repository."""
    folder = tmp_path / "My Shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def declared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Manifest]:
    """Rehearses the program that was written."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    return lambda system: Workspace(folder).catalog[system]


def test_the_program_runs_the_image_that_was_asked_for(
    ephemera: Command, folder: Path, declared: Callable[[str], Manifest]
) -> None:
    assert ephemera("init", "shop", "--image", "ghcr.io/ada/price-list:2", "--port", "8080").exit_code == 0
    assert list(declared("shop").services) == ["price-list"]
    assert declared("shop").images == (PublicImage(reference="ghcr.io/ada/price-list:2"),)
    assert "port=8080" in (folder / "__main__.py").read_text()
    assert 'environment.http("price-list")' in (folder / "tests" / "test_price_list.py").read_text()


def test_the_program_builds_the_folder_that_was_asked_for(
    ephemera: Command, folder: Path, declared: Callable[[str], Manifest]
) -> None:
    (folder / "services" / "api").mkdir(parents=True)
    (folder / "services" / "api" / "Dockerfile").write_text("FROM scratch\n")
    assert ephemera("init", "shop", "--build", "services/api/", "--health", "/health").exit_code == 0
    assert list(declared("shop").services) == ["api"]
    (image,) = declared("shop").images
    assert isinstance(image, ServiceImage)
    assert image.context == folder / "services" / "api"
    assert 'health="/health"' in (folder / "__main__.py").read_text()


def test_without_arguments_it_is_named_as_the_folder_and_runs_a_web_server(
    ephemera: Command, declared: Callable[[str], Manifest]
) -> None:
    assert "git init && ephemera run" in ephemera("init").out
    assert declared("my-shop").images == (EngineImage("python"),)


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("nats:2\n8222\n", ('"nats"', 'image="nats:2"', "port=8222")),
        ("api\n\n", ('"api"', 'image=Build("api")', "port=8000")),
        ("\n", ('"web"', 'image=EngineImage("python")', "port=8000")),
    ],
)
def test_on_a_terminal_it_asks(
    ephemera: Command, folder: Path, monkeypatch: pytest.MonkeyPatch, typed: str, written: tuple[str, ...]
) -> None:
    (folder / "api").mkdir()
    (folder / "api" / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert ephemera("init").exit_code == 0
    assert [text for text in written if text not in (folder / "__main__.py").read_text()] == []


def test_nothing_is_written_where_one_of_the_files_exists(ephemera: Command, folder: Path) -> None:
    (folder / "__main__.py").write_text("print()\n")
    said = ephemera("init")
    assert said.exit_code == 2
    assert "__main__.py exists" in said.err
    assert [path.name for path in folder.iterdir()] == ["__main__.py"]
    assert (folder / "__main__.py").read_text() == "print()\n"


def test_an_existing_gitignore_gets_the_lines_that_it_lacks(ephemera: Command, folder: Path) -> None:
    (folder / ".gitignore").write_text("/venv/\n__pycache__/")
    assert ephemera("init").exit_code == 0
    assert (folder / ".gitignore").read_text() == "/venv/\n__pycache__/\n.ephemera/\nPulumi.*.yaml\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("Shop",), "system name 'Shop' is not valid"),
        (("--image", "not an image"), "--image is 'not an image'"),
        (("--build", "services"), "services has no Dockerfile"),
        (("--image", "nats:2", "--build", "."), "both --image and --build"),
        (("--port", "70000"), "--port is 70000"),
        (("--health", 'x"'), "--health is"),
    ],
)
def test_bad_values_write_nothing(ephemera: Command, folder: Path, arguments: tuple[str, ...], reason: str) -> None:
    said = ephemera("init", *arguments)
    assert said.exit_code == 2
    assert reason in said.err
    assert list(folder.iterdir()) == []
