"""The command ``tasker-cli``."""

from tasker_client.cli import system, task, worker
from tasker_client.cli.session import cli

__all__ = ["main", "run", "system", "task", "worker"]

main, run = cli.main, cli.run
