"""Digests of the process environment, without variables that say nothing about an environment."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from ephemera.home import identity
from ephemera.host import surroundings
from ephemera.host.branches import branch_variables
from ephemera.setup.toolchain import steers

_BRANCH_VARIABLES = frozenset(("EPHEMERA_OWNER", *branch_variables()))
# These differ from one terminal, or one test, to the next.
_VOLATILE = frozenset(
    "PWD OLDPWD SHLVL _ TERM COLUMNS LINES COLORTERM NO_COLOR FORCE_COLOR TERM_PROGRAM TERM_PROGRAM_VERSION "  # noqa: SIM905
    "TERM_SESSION_ID VTE_VERSION WINDOWID XDG_SESSION_ID TMUX TMUX_PANE STY LS_COLORS PS1 EPHEMERA_READY_SECONDS "
    "EPHEMERA_OUTPUT EPHEMERA_WARM EPHEMERA_KEEP EPHEMERA_KEEP_ON_FAILURE EPHEMERA_REQUIRE_SERVICES".split()
)
_VOLATILE_PREFIXES = ("SSH_", "PYTEST_")


def digest(*, any_branch: bool = False) -> str:
    """Return a digest of the variables; with ``any_branch``, without those that differ by branch alone."""
    left_out = _VOLATILE | _BRANCH_VARIABLES if any_branch else _VOLATILE
    return digest_of(
        {
            name: value
            for name, value in surroundings.variables().items()
            if name not in left_out and not name.startswith(_VOLATILE_PREFIXES) and not steers(name)
        }
    )


def digest_of(document: Any) -> str:
    """Return a digest of plain values, made with the user's key: they cannot be guessed from it."""
    text = json.dumps(document, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
    return hmac.new(identity.key(), text, hashlib.sha256).hexdigest()
