"""docs/reference.md is what the docstrings say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_is_up_to_date(tmp_path: Path) -> None:
    written = tmp_path / "reference.md"
    subprocess.run([sys.executable, "docs/reference.py", str(written)], cwd=ROOT, check=True, timeout=60)
    committed = ROOT / "docs" / "reference.md"
    assert written.read_text() == committed.read_text(), "docs/reference.md is out of date: run `make docs`"
