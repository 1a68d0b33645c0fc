from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ephemera.lifecycle import suite
from ephemera.model.catalog import Manifest
from ephemera.model.errors import InputError
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import SHOP

_SYSTEM = Manifest(suite="tests/shop", services={})


@pytest.fixture
def project(workspace: Workspace) -> Path:
    """The project with its suite; ``python -m pytest`` in it is the ``pytest.py`` that a test writes there."""
    (workspace.project / "tests" / "shop").mkdir(parents=True)
    return workspace.project


def _run(workspace: Workspace, *arguments: str, to_stderr: bool = True) -> suite.SuiteResult:
    return suite.run(workspace, _SYSTEM, "shop-main", arguments, to_stderr)


def _pytest(project: Path, text: str) -> None:
    (project / "pytest.py").write_text(f"import json, os, signal, sys\nfrom pathlib import Path\n{text}\n")


def test_suite_is_run_attached_with_the_arguments_that_are_passed_on(workspace: Workspace, project: Path) -> None:
    _pytest(project, "Path('seen').write_text(json.dumps([os.getcwd(), *sys.argv[1:]]))")
    _run(workspace, "-k", "smoke", "-x")
    folder, target, *options = json.loads((project / "seen").read_text())
    assert folder == str(project)
    assert target == str(project / "tests" / "shop")
    assert options[:4] == ["--ephemera-env", "shop-main", "--ephemera-require-services", "--ephemera-summary"]
    assert options[5:] == ["-k", "smoke", "-x"]


def test_settings_are_given_as_options_of_the_plugin() -> None:
    assert suite.with_settings({"expose": "none", "only": '["web"]'}) == [
        "--ephemera-config=expose=none",
        '--ephemera-config=only=["web"]',
    ]


def test_counts_and_exit_code_are_pytests_own(workspace: Workspace, project: Path) -> None:
    counts = {"passed": 3, "failed": 1, "skipped": 2, "errors": 4, "xfailed": 5, "xpassed": 6, "evidence": "/somewhere"}
    summary = "sys.argv[sys.argv.index('--ephemera-summary') + 1]"
    _pytest(project, f"Path({summary}).write_text({json.dumps(counts)!r}); sys.exit(1)")
    result = _run(workspace)
    counts.pop("evidence")
    assert result.document() == {**counts, "exit_code": 1}
    assert result.evidence == Path("/somewhere")
    assert result.seconds > 0


def test_pytest_that_ends_without_a_summary_counts_nothing(workspace: Workspace, project: Path) -> None:
    _pytest(project, "sys.exit(4)")
    result = _run(workspace)
    kinds = ("passed", "failed", "skipped", "errors", "xfailed", "xpassed")
    assert result.document() == {**dict.fromkeys(kinds, 0), "exit_code": 4}
    assert result.evidence is None


def test_output_goes_to_standard_error_when_json_is_wanted(
    workspace: Workspace, project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _pytest(project, "print('dots')")
    with os.fdopen(os.dup(2), "w") as real:
        monkeypatch.setattr(sys, "stderr", real)
        _run(workspace, to_stderr=True)
    assert capfd.readouterr() == ("", "dots\n")
    _run(workspace, to_stderr=False)
    assert capfd.readouterr() == ("dots\n", "")


def test_suite_that_is_not_there_is_refused(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="the suite tests/shop is not there"):
        suite.run(workspace, SHOP, "shop-main", [], True)


def test_interrupt_is_passed_on_and_pytest_may_end_in_order(
    workspace: Workspace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(project / "there")
    _pytest(
        project,
        """
def stop(*_):
    Path('ended').write_text('in order')
    sys.exit(2)
signal.signal(signal.SIGINT, stop)
Path('there').write_text('yes')
signal.pause()
""",
    )
    real = subprocess.Popen.wait

    def wait(process: subprocess.Popen[bytes], timeout: float | None = None) -> Any:
        if timeout is None:
            (project / "there").read_text()
            raise KeyboardInterrupt
        return real(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        _run(workspace)
    assert (project / "ended").read_text() == "in order"
