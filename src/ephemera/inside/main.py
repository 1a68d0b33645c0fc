"""The first process of a runner's container: runs pytest, tells how it ended, and stays until its results are taken.

Standard output is pytest's, both of its streams. On standard error stands one line of JSON at the end, ``{"ephemera":
{"exit_code", "counts", "tests", "out_of_memory"}}``, or with ``missing`` alone. Standard input is held by whoever runs
the suite: a byte says that the results were taken, its end that nobody waits for them any more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path("/run/ephemera/in")
"""What was handed in: ``lib``, ``project``, ``outputs.json``, ``order.json``."""
RESULTS = Path("/run/ephemera/results")
GRACE_SECONDS = 10.0
"""From the interrupt to the kill of a pytest that is not wanted any more."""

_COVERAGE = ROOT / "coveragerc"
_STDIN = 0
# The number of processes that the kernel killed for lack of memory, in either version of control groups.
_MEMORY_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def main() -> int:
    """Run the suite as ``order.json`` says; pytest's exit code."""
    order = json.loads((ROOT / "order.json").read_text())
    missing = [name for name in ("pytest", "pydantic", *(("coverage",) if order["coverage"] else ())) if not _is(name)]
    if missing:
        _tell({"missing": missing})
        return 1
    if order["coverage"]:
        _measure(order["coverage"])
    summary = ROOT / "summary.json"
    process = subprocess.Popen(
        _command(order, summary),
        cwd=ROOT / "project",
        env=_variables(order),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    unwanted = _Unwanted(process)
    signal.signal(signal.SIGTERM, unwanted.asked)
    threading.Thread(target=unwanted.listen, name="standard input", daemon=True).start()
    exit_code = process.wait()
    if order["coverage"]:
        _report_coverage()
    told = json.loads(summary.read_text()) if summary.is_file() else {}
    _tell({"exit_code": exit_code, "out_of_memory": _out_of_memory(), **told})
    unwanted.taken.wait()
    return exit_code if exit_code >= 0 else 128 - exit_code


class _Unwanted:
    """Ends pytest when nobody wants to know how it goes on; ``taken``: the results were taken, or nobody will."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.taken = threading.Event()

    def listen(self) -> None:
        """Wait for a word on standard input."""
        if not os.read(_STDIN, 1):
            self._end()
        self.taken.set()

    def asked(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signal module's form
        """Somebody stops the container."""
        self._end()
        self.taken.set()

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            killer = threading.Timer(GRACE_SECONDS, self._process.kill)
            killer.daemon = True
            killer.start()


def _command(order: dict[str, Any], summary: Path) -> list[str]:
    return [
        sys.executable,
        *("-m", "pytest"),
        *("-p", "ephemera.inside.plugin"),
        *("-p", "no:cacheprovider"),
        f"--rootdir={ROOT / 'project'}",
        f"--junitxml={RESULTS / 'junit.xml'}",
        f"--ephemera-summary={summary}",
        order["suite"],
        *order["arguments"],
    ]


def _variables(order: dict[str, Any]) -> dict[str, str]:
    paths = (str(ROOT / "lib"), os.environ.get("PYTHONPATH", ""))
    return {
        **os.environ,
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


def _measure(packages: list[str]) -> None:
    """Have every Python that is started with the suite's variables measure them: pytest, and what its tests start."""
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


def _report_coverage() -> None:
    for verb in ("combine", "xml"):
        command = [sys.executable, "-m", "coverage", verb, "--quiet", f"--rcfile={_COVERAGE}"]
        if subprocess.run(command, cwd=ROOT / "project", stderr=subprocess.STDOUT, check=False).returncode:
            return  # it says why: nothing was measured, say


def _is(name: str) -> bool:
    return find_spec(name) is not None


def _out_of_memory() -> bool:
    for path in _MEMORY_EVENTS:
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)
    return False


def _tell(document: dict[str, Any]) -> None:
    print(json.dumps({"ephemera": document}), file=sys.stderr, flush=True)
