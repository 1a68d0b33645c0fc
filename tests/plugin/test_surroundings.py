"""Tests that change what the run stands on: what we need of it was read when the process started."""

from __future__ import annotations

import json

import pytest

from ephemera.observe import recording
from tests.plugin.doubles import Project

_USES = "def test_uses(environment): pass\n"


def test_settings_are_those_of_the_start(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: this one's surroundings follow what tests set."""
    project.write(
        {
            "conftest.py": """
                import os, shutil, tempfile

                os.environ.clear()
                os.environ |= {"DOCKER_HOST": "tcp://127.0.0.1:2", "HOME": "/dev/null", "CI": "true"}

                def pytest_collection_finish():
                    folder = tempfile.mkdtemp()
                    os.chdir(folder)
                    shutil.rmtree(folder)
            """,
            "suites/shop/test_1.py": _USES,
        }
    )
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    result = project.pytester.runpytest_subprocess("-rs", "--ephemera-summary", "summary.json", "suites")
    result.assert_outcomes(skipped=1)
    assert "tcp://127.0.0.1:2" not in result.stdout.str()
    assert json.loads((project.folder / "summary.json").read_text())["skipped"] == 1


def test_variables_that_pytests_configuration_sets_are_of_the_start(project: Project) -> None:
    project.write(
        {
            "as_configured.py": """
                import os, pytest

                @pytest.hookimpl(tryfirst=True)
                def pytest_load_initial_conftests():
                    os.environ |= {"EPHEMERA_REQUIRE_SERVICES": "1", "DOCKER_HOST": "tcp://127.0.0.1:1"}
            """,
            "suites/shop/test_1.py": _USES,
        }
    )
    result = project.pytester.runpytest_subprocess("-p", "as_configured", "suites")
    result.assert_outcomes(errors=1)


def test_what_cannot_be_noted_ends_no_run(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str, kind: str, **__: object) -> None:
        if kind == "test":
            raise ValueError("a test has replaced what this needs")

    monkeypatch.setattr(recording, "append", refuse)
    project.write({"suites/shop/test_1.py": _USES + "def test_next(environment): pass\n"})
    result = project.run()
    result.assert_outcomes(passed=2)
    assert project.driver.alive == {}
