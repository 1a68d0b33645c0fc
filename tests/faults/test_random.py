"""SIGKILL at a hundred random moments of a run, of whoever the dice say: nothing is left of any of them."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from typing import Literal

import pytest

from tests.driver_command import until
from tests.faults.box import NOBODY, Box

_KILLS = 100
_RUN_SECONDS = 9.0
"""More than a run of the box takes, build included; past the end of one, the dice are cast again within its length."""
_TRIES = 8
_ENDS_SECONDS = 90

Dice = Literal["owner", "engine", "plugin", "guardian, then owner", "guardian and owner"]
_VICTIMS: tuple[Dice, ...] = ("owner", "owner", "engine", "plugin", "guardian, then owner", "guardian and owner")


@pytest.mark.parametrize("number", range(_KILLS))
def test_kill(box: Box, number: int) -> None:
    dice = random.Random(number)  # noqa: S311
    longest = _RUN_SECONDS
    for _ in range(_TRIES):
        victim = dice.choice(_VICTIMS)
        seconds = dice.uniform(0.0, longest)
        started = time.monotonic()
        process = box.command.start("run", "box")
        struck = _struck(box, process, victim, seconds)
        lasted = time.monotonic() - started
        box.is_clean(victim if struck else NOBODY, f"{seconds:.2f} s")
        if struck:
            return
        if struck is None:
            longest = min(longest, lasted)
    pytest.fail(f"in {_TRIES} runs there was nobody to kill")


def _struck(box: Box, process: subprocess.Popen[str], victim: Dice, seconds: float) -> bool | None:
    """Kill after that time; False when there was no such process then, None when the run had ended."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        struck = _strike(box, process, victim)
        process.wait(_ENDS_SECONDS)
        return struck
    return None


def _strike(box: Box, process: subprocess.Popen[str], victim: Dice) -> bool:
    if victim in ("owner", "engine", "plugin"):
        return box.kill(victim, process)
    if victim == "guardian and owner":
        process.send_signal(signal.SIGSTOP)  # so that it cannot replace the guardian in between
    before = box.lease()
    struck = box.kill("guardian", process)
    if struck and victim == "guardian, then owner":
        until(lambda: (now := box.lease()) is None or now.guardian not in (None, before and before.guardian), 15)
    box.kill("owner", process)
    process.wait(10)
    if victim == "guardian and owner":
        box.command("reap")
    return struck
