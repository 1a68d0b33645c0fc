from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ephemera.in_network import archives
from ephemera.model.errors import InputError
from ephemera.model.outputs import EnvironmentOutputs

_SECRET = "s3cr3t_" * 4 + "abcd"
_OUTPUTS = EnvironmentOutputs.model_validate(
    {
        "stack": "shop-main",
        "system": "shop",
        "branch": "main",
        "services": {
            "db": {
                "container": "c",
                "image": "i",
                "credentials": {"password": _SECRET},
                "endpoints": {
                    "postgres": {
                        "scheme": "postgresql",
                        "host": None,
                        "port": None,
                        "url": None,
                        "internal_host": "db",
                        "internal_port": 5432,
                        "internal_url": "postgresql://db:5432/shop",
                    }
                },
            }
        },
    }
)


def _project(folder: Path) -> Path:
    files = (
        "pyproject.toml",
        "conftest.py",
        "secret.env",
        "tests/__init__.py",
        "tests/conftest.py",
        "tests/unit/test_other.py",
        "tests/e2e/shop/test_shop.py",
        "tests/e2e/shop/deep/data.json",
        "tests/e2e/shop/__pycache__/test_shop.pyc",
        "tests/e2e/shop/.cache/thing",
        "fixtures/big.json",
    )
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def _archive(project: Path, *files: str) -> tarfile.TarFile:
    content = archives.pack(project, "tests/e2e/shop", files, _OUTPUTS, {"suite": "tests/e2e/shop"})
    return tarfile.open(fileobj=io.BytesIO(content))


def test_the_suite_and_what_it_is_read_with_and_nothing_else(tmp_path: Path) -> None:
    names = {name for name in _archive(_project(tmp_path)).getnames() if name.startswith("project/")}
    assert names == {
        "project/pyproject.toml",
        "project/conftest.py",
        "project/tests/__init__.py",
        "project/tests/conftest.py",
        "project/tests/e2e/shop/test_shop.py",
        "project/tests/e2e/shop/deep/data.json",
    }


def test_further_files_when_the_catalog_names_them(tmp_path: Path) -> None:
    names = _archive(_project(tmp_path), "fixtures", "tests/unit/test_other.py").getnames()
    assert {"project/fixtures/big.json", "project/tests/unit/test_other.py"} <= set(names)
    with pytest.raises(InputError, match="nowhere is not there"):
        _archive(tmp_path, "nowhere")


def test_outputs_are_those_of_the_inside_and_for_one_user_alone(tmp_path: Path) -> None:
    archive = _archive(_project(tmp_path))
    member = archive.extractfile("outputs.json")
    assert member is not None
    document = json.loads(member.read())
    assert document["services"]["db"]["credentials"] == {"password": _SECRET}
    endpoint = EnvironmentOutputs.parse(document).service("db").endpoint()
    assert (endpoint.url, endpoint.host, endpoint.port) == ("postgresql://db:5432/shop", "db", 5432)
    assert archive.getmember("outputs.json").mode == 0o600


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_SUITE", 100_000)
    (_project(tmp_path) / "fixtures" / "big.json").write_text("x" * 200_000)
    with pytest.raises(InputError, match="the suite tests/e2e/shop with its files is"):
        _archive(tmp_path, "fixtures")


def test_what_is_handed_in_needs_nothing_but_pytest_and_pydantic(tmp_path: Path) -> None:
    """Imported on its own, with everything hidden that a runner's image need not have."""
    (_archive(_project(tmp_path / "project"))).extractall(tmp_path / "in", filter="data")
    hidden = ("pulumi", "pulumi_docker", "docker", "typer", "rich", "yaml", "psutil", "httpx", "psycopg", "requests")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
sys.path.insert(0, {str(tmp_path / "in" / "lib")!r})
import ephemera.inside.run_suite, ephemera.inside.plugin, ephemera.model.catalog
assert ephemera.inside.run_suite.__file__.startswith({str(tmp_path)!r})
from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
