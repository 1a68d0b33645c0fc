"""Workers of pytest-xdist that crash."""

from __future__ import annotations

import pytest

# One worker gets first and second at once. After the crash a new one is given first again, whose only test has passed:
# it reports nothing, and xdist would wait for it before it hands out the others.
_FILES = {
    "unit/test_1.py": "def test_passes(): pass",
    "unit/test_2.py": "import os, signal\ndef test_dies(): os.kill(os.getpid(), signal.SIGKILL)\ndef test_next(): pass",
    "unit/test_3.py": "def test_one(): pass\ndef test_two(): pass",
}


@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "loadgroup"])
def test_a_crash_ends_a_run_that_xdist_would_wait_for(pytester: pytest.Pytester, dist: str) -> None:
    for path, text in _FILES.items():
        file = pytester.path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    arguments = ("-n", "1", "--dist", dist, "--no-loadscope-reorder", "-p", "no:cacheprovider")
    result = pytester.runpytest_subprocess(*arguments, timeout=120)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*worker 'gw0' crashed while running 'unit/test_2.py::test_dies'*"])
    result.stdout.fnmatch_lines(["*worker gw0 crashed: run its tests again*"])
