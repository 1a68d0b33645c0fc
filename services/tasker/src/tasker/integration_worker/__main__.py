"""`python -m tasker.integration_worker`: the worker that runs all five workflows."""

import sys

from tasker.worker.main import main
from tasker.workflows.handlers import HANDLERS

if __name__ == "__main__":
    sys.exit(main(HANDLERS, worker_id="integration-worker"))
