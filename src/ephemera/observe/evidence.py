"""Evidence: what is kept of an environment when something failed, in ``.ephemera/artifacts/<run>/`` of the checkout.

Whole logs with times, Docker's description and events of every container, gates, usage, tests, outputs and definition,
and ``index.html``, which shows all of it on one time axis. Credentials are redacted everywhere.
"""

from ephemera.observe.collecting import PAGE, account, collect, new_run, take

__all__ = ["PAGE", "account", "collect", "new_run", "take"]
