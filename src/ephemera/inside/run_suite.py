"""Process of a runner's container: runs pytest, reports how it ended, and waits until its results are taken.

Standard output is pytest's, both of its streams. On standard error stands one line at the end: ``ephemera`` and JSON
with ``exit_code``, ``counts`` and ``tests``, or with ``missing``: packages that the image lacks, so that nothing ran.
Standard input stays open as long as the driver wants the outcome: its end interrupts pytest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import sleep
from typing import Any

ROOT = Path("/run/ephemera/in")
"""Folder of what was handed in: ``lib``, ``project``, ``outputs.json``, ``order.json``."""
RESULTS = Path("/run/ephemera/results")
GRACE_SECONDS = 10.0
"""From interrupting pytest to killing it."""
ACCOUNT = b"ephemera "
"""Start of the line on standard error."""

_PROJECT = ROOT / "project"
_COVERAGE = ROOT / "coveragerc"
_SUMMARY = ROOT / "summary.json"


def main() -> None:
    """Run the suite as ``order.json`` says, and wait to be removed."""
    driver, account = os.dup(0), os.fdopen(os.dup(2), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(1, 2)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ended = threading.Event()
    threading.Thread(target=_end_with, args=(driver, ended), daemon=True).start()
    with suppress(KeyboardInterrupt):
        document = _run(json.loads((ROOT / "order.json").read_text()))
        account.write(ACCOUNT + json.dumps(document).encode() + b"\n")
        account.flush()
        ended.wait()


def _run(order: dict[str, Any]) -> dict[str, Any]:
    """Run pytest in this process; return the document for the driver."""
    wanted = ("pytest", "pydantic", *(("coverage",) if order["coverage"] else ()))
    if missing := [name for name in wanted if find_spec(name) is None]:
        return {"missing": missing}
    os.chdir(_PROJECT)
    sys.path.insert(0, str(_PROJECT))
    os.environ.update(_variables(order))
    measured = _measure(order["coverage"]) if order["coverage"] else None
    import pytest

    exit_code = pytest.main(
        [
            *("-p", "ephemera.inside.plugin"),
            *("-p", "no:cacheprovider"),
            f"--rootdir={_PROJECT}",
            f"--junitxml={RESULTS / 'junit.xml'}",
            f"--ephemera-summary={_SUMMARY}",
            order["suite"],
            *order["arguments"],
        ]
    )
    if measured:
        measured.stop()
        measured.save()
        _report_coverage()
    told = json.loads(_SUMMARY.read_text()) if _SUMMARY.is_file() else {}
    return {"exit_code": int(exit_code), **told}


def _end_with(driver: int, ended: threading.Event) -> None:
    """Interrupt pytest when standard input ends, and end the container after the grace time."""
    os.read(driver, 1)  # nothing more is sent
    ended.set()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    sleep(GRACE_SECONDS)
    os._exit(128 + signal.SIGKILL)


def _variables(order: dict[str, Any]) -> dict[str, str]:
    paths = (str(ROOT / "lib"), os.environ.get("PYTHONPATH", ""))
    return {
        **order["variables"],
        **({"COVERAGE_PROCESS_START": str(_COVERAGE)} if order["coverage"] else {}),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "EPHEMERA_INSIDE": "1",
        "EPHEMERA_OUTPUTS": str(ROOT / "outputs.json"),
        "EPHEMERA_RESULTS": str(RESULTS),
        "EPHEMERA_SYSTEM": order["system"],
        "EPHEMERA_SERVICES": json.dumps(order["services"]),
    }


def _measure(packages: list[str]) -> Any:
    """Measure packages in this process, and in every Python that tests start with its variables."""
    (ROOT / "lib" / "sitecustomize.py").write_text("import coverage\n\ncoverage.process_startup()\n")
    _COVERAGE.write_text(
        "[run]\n"
        f"source_pkgs = {','.join(packages)}\n"
        f"data_file = {RESULTS / '.coverage'}\n"
        "parallel = true\n"
        # Most of those processes import nothing of it.
        "disable_warnings = module-not-imported, module-not-measured, no-data-collected\n"
        f"[xml]\noutput = {RESULTS / 'coverage.xml'}\n"
    )
    return import_module("coverage").process_startup()


def _report_coverage() -> None:
    for verb in ("combine", "xml"):
        command = [sys.executable, "-m", "coverage", verb, "--quiet", f"--rcfile={_COVERAGE}"]
        unmeasured = {**os.environ, "COVERAGE_PROCESS_START": ""}
        if subprocess.run(command, cwd=_PROJECT, env=unmeasured, check=False).returncode:
            return  # it says why, for example that nothing was measured
