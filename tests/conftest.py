"""What all tests need: the checkout's folders to import from, and pytest's own means to test a plugin."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

# `tests`, `components` and `stacks` are folders of the checkout, not of the installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# A shell makes what it starts in the background ignore Ctrl-C, and so would all that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]
