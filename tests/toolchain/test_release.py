"""What the release workflow publishes: archives that Pulumi takes, the same to the byte wherever they are built."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ephemera.machine import toolchain
from tests.toolchain.building import TOOLCHAIN, compiler

pytestmark = pytest.mark.timeout(20 * 60)  # a first build compiles for minutes; later ones only link

_WORKFLOW = TOOLCHAIN.parent / ".github" / "workflows" / "release-plugin.yml"
_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
_NAME = f"pulumi-resource-docker-v{toolchain.PLUGIN_VERSION}-linux-{_MACHINE}.tar.gz"


def _release(module: Path, folder: Path, **variables: str) -> bytes:
    subprocess.run(
        [sys.executable, module / "release.py", folder, "--platform", f"linux/{_MACHINE}"],
        env={**os.environ, "PATH": f"{compiler().parent}{os.pathsep}{os.environ['PATH']}", **variables},
        check=True,
    )
    return (folder / _NAME).read_bytes()


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the release for this machine."""
    folder = tmp_path_factory.mktemp("release")
    _release(TOOLCHAIN / "docker-plugin", folder)
    return folder


def test_checksums_are_those_of_the_archives(released: Path) -> None:
    assert sorted(path.name for path in released.iterdir()) == ["SHA256SUMS", _NAME]
    sha256 = hashlib.sha256((released / _NAME).read_bytes()).hexdigest()
    assert (released / "SHA256SUMS").read_text() == f"{sha256}  {_NAME}\n"


def test_pulumi_takes_the_archive(released: Path, tmp_path: Path) -> None:
    pulumi = str(toolchain.built_engine_dir() / "pulumi")
    assert Path(pulumi).exists(), "there is no engine that was built: `./ephemera setup` builds it"
    variables = {
        **os.environ,
        "PULUMI_HOME": str(tmp_path),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    version = toolchain.PLUGIN_VERSION
    install = ["plugin", "install", "resource", "docker", f"v{version}", "--file", str(released / _NAME)]
    subprocess.run([pulumi, *install], env=variables, check=True)
    schema = subprocess.run(
        [pulumi, "package", "get-schema", f"docker@{version}"], env=variables, check=True, stdout=subprocess.PIPE
    )
    assert "docker:index/container:Container" in json.loads(schema.stdout)["resources"]


def test_two_builds_are_the_same_to_the_byte(released: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(TOOLCHAIN, copy)
    # What a user may have set for builds of their own.
    again = _release(copy / "docker-plugin", tmp_path / "again", GOFLAGS="-race", GOAMD64="v3", CGO_ENABLED="1")
    assert again == (released / _NAME).read_bytes()


def test_version_is_the_one_that_the_driver_looks_for() -> None:
    said = re.search(r'Version = "(.+)"', (TOOLCHAIN / "docker-plugin" / "provider.go").read_text())
    assert said is not None
    assert said[1] == toolchain.PLUGIN_VERSION


def test_workflow_publishes_what_the_script_makes() -> None:
    workflow = yaml.safe_load(_WORKFLOW.read_text())
    (job,) = workflow["jobs"].values()
    commands = "\n".join(step.get("run", "") for step in job["steps"])
    assert "toolchain/docker-plugin/release.py" in commands
    assert "gh release" in commands
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), f"{step['uses']} is not pinned by a commit"
