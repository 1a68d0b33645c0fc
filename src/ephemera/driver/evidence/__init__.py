"""Evidence: what is kept of an environment when something failed, in ``.ephemera/artifacts/<run>/`` of the checkout.

Whole logs with times, the engine's description and events of every container, gates, usage, tests, outputs and
definition, and ``index.html``, which shows all of it on one time axis. Credentials are redacted everywhere.
"""

from __future__ import annotations

from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.driver import hiding
from ephemera.driver.evidence.account import account
from ephemera.driver.evidence.collecting import PAGE, collect, new_run, take

__all__ = ["PAGE", "account", "collect", "new_run", "redacted", "take"]


def redacted(text: str, outputs: EnvironmentOutputs) -> str:
    """Return ``text`` without the environment's secrets."""
    return hiding.redactor_of(outputs).text(text) if text else text
