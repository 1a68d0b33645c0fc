"""The worker's process, for any set of handlers."""

import os
from collections.abc import Mapping

from fastapi import FastAPI

from tasker.api import service
from tasker.settings import WorkerSettings
from tasker.worker.app import create_app
from tasker.worker.program import Program
from tasker.workflows.handler import Handler


def main(handlers: Mapping[str, Handler], *, worker_id: str) -> int:
    """Run a worker with `handlers`, named `worker_id` unless TASKER_WORKER_ID says otherwise. The exit status."""
    environ = {**os.environ, "TASKER_WORKER_ID": os.environ.get("TASKER_WORKER_ID") or worker_id}
    settings = service.read_settings(WorkerSettings, environ)

    def build() -> tuple[FastAPI, service.Background]:
        program = Program(settings, handlers)
        return create_app(settings, program), program.run

    return service.run("worker", settings, settings.port, build)
