from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ephemera import Build, EngineImage
from ephemera.model.errors import InputError
from ephemera.model.images import ServiceImage


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose module ``stacks/one.py`` calls Build."""
    (tmp_path / "Pulumi.yaml").write_text("name: shop\n")
    (tmp_path / "stacks").mkdir()
    return tmp_path


def _built(project: Path, *folder: Any, **given: Any) -> ServiceImage:
    code = compile("image = Build(*folder, **given)", str(project / "stacks" / "one.py"), "exec")
    names: dict[str, Any] = {"Build": Build, "folder": folder, "given": given}
    exec(code, names)  # noqa: S102 - the module is told by its file
    image: ServiceImage = names["image"]
    return image


def _dockerfile(folder: Path, text: str = "ARG PYTHON_IMAGE=python:3.12\nFROM ${PYTHON_IMAGE}\n") -> None:
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(text)


@pytest.mark.parametrize(
    ("folder", "target", "name"),
    [
        ("services/api", None, "api"),
        ("services/shop", "worker", "shop-worker"),
        ("services/api", "api", "api"),
        ("services/shop/db", None, "shop-db"),
        ("images/redis_like", None, "redis-like"),
        ("services/postgres", None, "postgres-image"),
    ],
)
def test_image_is_named_after_folder_and_target(project: Path, folder: str, target: str | None, name: str) -> None:
    _dockerfile(project / folder)
    built = _built(project, folder, target=target)
    assert (built.name, built.context, built.target) == (name, project / folder, target)
    assert _built(project, folder, name="own").name == "own"


def test_arguments_that_name_an_image_of_ours_are_given_it(project: Path) -> None:
    _dockerfile(
        project / "api",
        "ARG PYTHON_IMAGE\nARG PYTHON_SERVICE_IMAGE=x\n ARG POSTGRES_IMAGE\nARG OTHER_IMAGE\nARG VERSION\nFROM x\n",
    )
    own = EngineImage("redis")
    built = _built(project, "api", arguments={"POSTGRES_IMAGE": "postgres:16"}, bases={"OTHER_IMAGE": own})
    assert built.bases == {
        "PYTHON_IMAGE": EngineImage("python"),
        "PYTHON_SERVICE_IMAGE": EngineImage("python-service"),
        "OTHER_IMAGE": own,
    }


@pytest.mark.parametrize("folder", ["nowhere", 5, None])
def test_folder_without_a_dockerfile_is_refused(project: Path, folder: object) -> None:
    with pytest.raises(InputError, match=r"folder of a Build|is not a file in the build context"):
        _built(project, folder)
