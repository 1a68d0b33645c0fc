"""The life of an environment: up, use, down, proof. What the command line and the pytest plugin are made of.

A name imports its module when it is used first: some of the modules are programs of their own processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ephemera import lazily

if TYPE_CHECKING:
    from ephemera.lifecycle.bring_up import Ready, Request, plan, up
    from ephemera.lifecycle.finding import alive, called, expected, find_stack, outputs, wrong_system
    from ephemera.lifecycle.holding import let_go
    from ephemera.lifecycle.take_down import Gone, down, forget, hand_over, proven

__all__ = [
    "Gone",
    "Ready",
    "Request",
    "alive",
    "called",
    "down",
    "expected",
    "find_stack",
    "forget",
    "hand_over",
    "let_go",
    "outputs",
    "plan",
    "proven",
    "up",
    "wrong_system",
]

__getattr__ = lazily(
    __name__,
    {
        "bring_up": ("Ready", "Request", "plan", "up"),
        "finding": ("alive", "called", "expected", "find_stack", "outputs", "wrong_system"),
        "holding": ("let_go",),
        "take_down": ("Gone", "down", "forget", "hand_over", "proven"),
    },
)
