"""The command ``tasker-cli``.

Exit codes: 0 done; 1 refused by the server, or unhealthy; 2 bad input, nothing was sent; 3 no answer; 130 interrupted.
Every failure is one line on stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from tasker_client.cli import system, task, worker
from tasker_client.cli.session import OrchestrationUrl, OutputFormat, Timeout, WorkerUrl, failed
from tasker_client.errors import InvalidInputError, TaskerError, UnreachableError

if TYPE_CHECKING:

    class _UsageError(Exception):
        def format_message(self) -> str: ...
else:
    # Newer releases of typer carry a click of their own, older ones use the published one: the class of either.
    _UsageError = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Tasks, workers and health of tasker.",
    epilog="Exit codes: 0 done; 1 refused by the server, or unhealthy; 2 bad input; 3 no answer; 130 interrupted.",
    add_completion=False,
)
app.add_typer(task.app, name="task", help="Create tasks, look at them, cancel them.")
app.add_typer(worker.app, name="worker", help="What the workers are doing.")
app.add_typer(system.app, name="system", help="The system as a whole.")


@app.callback()
def _shared(
    ctx: typer.Context,
    orchestration_url: OrchestrationUrl = None,
    worker_url: WorkerUrl = None,
    timeout_seconds: Timeout = None,
    output: OutputFormat = None,
) -> None:
    ctx.obj = {
        "orchestration_url": orchestration_url,
        "worker_url": worker_url,
        "timeout_seconds": timeout_seconds,
        "output": output,
    }


def main() -> None:
    """Entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    try:
        code = app(list(arguments), prog_name="tasker-cli", standalone_mode=False)
    except _UsageError as error:
        return failed(f"{error.format_message().rstrip('.')} (see tasker-cli --help)", 2)
    except InvalidInputError as error:
        return failed(str(error), 2)
    except UnreachableError as error:
        return failed(str(error), 3)
    except TaskerError as error:
        return failed(str(error), 1)
    return int(code or 0)
