"""The life of an environment: up, use, down, proof. What the CLI and the pytest plugin are made of."""

from ephemera.driver.down import Gone, down, forget, hand_over, proven
from ephemera.driver.finding import (
    alive,
    called,
    expected,
    find_stack,
    outputs,
    wrong_system,
)
from ephemera.driver.holding import let_go
from ephemera.driver.up import Ready, Request, plan, up

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
