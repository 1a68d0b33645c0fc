"""The plugin's options of pytest. All of them carry our prefix: the plugin is loaded for every project of a virtual
environment, and two options of one name keep pytest from starting."""

from __future__ import annotations

from typing import Any

import pytest

_REPEATABLE: dict[str, Any] = {"action": "append", "default": []}
_SWITCH: dict[str, Any] = {"action": "store_true"}
_MADE = "in environments that the run makes,"
_OPTIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("env", "use this environment, which is up, and leave it", {"metavar": "STACK"}),
    (
        "only",
        f"{_MADE} start only this service and what it requires (repeatable)",
        {"metavar": "SERVICE", **_REPEATABLE},
    ),
    ("profile", f"{_MADE} add the services of a profile (repeatable)", {"metavar": "PROFILE", **_REPEATABLE}),
    ("expose", f"{_MADE} publish endpoints as loopback, dynamic, fixed or none", {"metavar": "WAY"}),
    ("port-table", f"{_MADE} take this table of fixed ports, with expose fixed", {"metavar": "TABLE"}),
    ("images", f"{_MADE} take images from registry, local or auto", {"metavar": "MODE"}),
    ("config", f"{_MADE} set KEY in the stack's config (repeatable)", {"metavar": "KEY=VALUE", **_REPEATABLE}),
    ("keep", "leave environments running after the run", _SWITCH),
    ("keep-on-failure", "leave them running when a test failed", _SWITCH),
    ("require-services", "fail, and do not skip, tests whose environment cannot be had", _SWITCH),
    ("summary", "write the counts of the run to FILE, as JSON", {"metavar": "FILE"}),
)


def add_options(parser: pytest.Parser) -> None:
    """Add all of them, in the environment's network too, where only the summary is of use: a project's own pytest
    configuration may hold any."""
    group = parser.getgroup("ephemera", "ephemeral environments")
    for name, text, attributes in _OPTIONS:
        group.addoption(f"--ephemera-{name}", help=text, **attributes)
