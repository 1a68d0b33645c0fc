"""What every command has: the shared options, the clients, and one way to print."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.cli import Cli, Option, usual_options
from chassis.client import Document, checked_url

from tasker_client import __version__
from tasker_client.cli import render
from tasker_client.orchestration import OrchestrationClient
from tasker_client.worker import WorkerClient


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command's run."""

    orchestration_url: str
    worker_url: str
    timeout_seconds: float
    output: str

    def orchestration(self) -> OrchestrationClient:
        """A client of the orchestration API, to be closed by who asks."""
        return OrchestrationClient(self.orchestration_url, timeout_seconds=self.timeout_seconds)

    def worker(self) -> WorkerClient:
        """A client of the worker API, to be closed by who asks."""
        return WorkerClient(self.worker_url, timeout_seconds=self.timeout_seconds)

    def show(self, document: Document) -> None:
        """Print a document to stdout in the chosen format."""
        render.show(document, self.output)


cli = Cli(
    "tasker-cli",
    prefix="TASKER_",
    options=[
        Option(
            name="orchestration_url",
            help="Orchestration API (env: TASKER_ORCHESTRATION_URL)",
            metavar="URL",
            parse=checked_url,
            default="http://localhost:8080",
        ),
        Option(
            name="worker_url",
            help="Worker API (env: TASKER_WORKER_URL)",
            metavar="URL",
            parse=checked_url,
            default="http://localhost:8081",
        ),
        *usual_options("TASKER_", timeout="10", people="table"),
    ],
    session=lambda values: Session(**values),
    help="Tasks, workers and health of tasker.",
    version=__version__,
    file=".tasker/config.toml",
)
