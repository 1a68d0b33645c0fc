"""The wheel ``ephemera-toolchain``: installed beside the project's, it spares a machine Go and the build."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
import yaml

from ephemera.setup import toolchain
from ephemera.setup.venv import VirtualEnvironment
from ephemera.setup.work import Work

pytestmark = pytest.mark.timeout(20 * 60)  # a first build compiles for minutes

_ROOT = Path(__file__).resolve().parents[2]
_WORKFLOW = _ROOT / ".github" / "workflows" / "release-toolchain.yml"


def _run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_installed_offline_it_spares_go_and_the_build(tmp_path: Path) -> None:
    packed = tmp_path / "dist"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", packed)
    _run(sys.executable, "-m", "pip", "wheel", *options, _ROOT / "toolchain", _ROOT)
    (wheel,) = packed.glob("ephemera_toolchain-*.whl")
    assert re.fullmatch(r"ephemera_toolchain-[\d.]+-py3-none-manylinux_2_17_\w+\.musllinux_1_1_\w+\.whl", wheel.name)
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    locked = VirtualEnvironment(_ROOT)._wheels(Work("wheels", print))
    found = ("--offline", "--no-index", "--find-links", packed, "--find-links", locked)
    _run(
        Path(sys.executable).with_name("uv"), "pip", "install", "--python", python, *found, "ephemera-stacks[toolchain]"
    )

    fresh = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": f"{python.parent}:/usr/bin:/bin"}
    code = "from ephemera.setup.toolchain import located; print(located().pulumi)"
    pulumi = Path(_run(python, "-I", "-c", code, **fresh).strip())
    assert pulumi == tmp_path / "cache" / "ephemera" / "toolchain" / toolchain.fingerprint() / "bin" / "pulumi"
    assert re.match(r"v3\.\d+\.\d+$", _run(pulumi, "version", PULUMI_SKIP_UPDATE_CHECK="true").strip())
    checks = {
        each["name"]: each for each in json.loads(_run("ephemera", "doctor", "--output", "json", **fresh))["checks"]
    }
    assert checks["toolchain"]["state"] == "ok"
    assert checks["go"]["detail"] == "not there, and nothing has to be built"


def test_its_version_is_the_projects() -> None:
    versions = {
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
        for folder in (_ROOT, _ROOT / "toolchain")
    }
    assert len(versions) == 1


def test_the_plugins_version_is_the_one_that_the_driver_looks_for() -> None:
    provider = (_ROOT / "toolchain" / "docker-plugin" / "provider.go").read_text()
    assert f'Version = "{toolchain.PLUGIN_VERSION}"' in provider


def test_the_workflow_publishes_the_wheel() -> None:
    workflow = yaml.safe_load(_WORKFLOW.read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = "\n".join(step.get("run", "") for step in steps)
    assert "pip wheel" in commands
    assert "gh release create" in commands
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), f"{step['uses']} is not pinned by a commit"
