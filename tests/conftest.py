"""What all tests need: the checkout's folders to import from, and pytest's own means to test a plugin."""

from __future__ import annotations

import sys
from pathlib import Path

# `tests`, `components` and `stacks` are folders of the checkout, not of the installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest_plugins = ["pytester"]
