"""The worker's process, for any set of handlers."""

import os
from collections.abc import Mapping

from chassis.app import Api
from chassis.process import run

from tasker.settings import WorkerSettings
from tasker.worker.app import create_app
from tasker.workflows.handler import Handler


def main(handlers: Mapping[str, Handler], *, worker_id: str) -> int:
    """Run a worker with `handlers`, named `worker_id` unless TASKER_WORKER_ID says otherwise. The exit status."""

    def build(settings: WorkerSettings) -> Api:
        return create_app(settings, handlers)

    environ = {**os.environ, "TASKER_WORKER_ID": os.environ.get("TASKER_WORKER_ID") or worker_id}
    return run("worker", WorkerSettings, build, environ)
