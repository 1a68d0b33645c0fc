"""The command ``olav``."""

from olav_client.cli import access, questions, users
from olav_client.cli.session import cli

__all__ = ["access", "main", "questions", "run", "users"]

main, run = cli.main, cli.run
