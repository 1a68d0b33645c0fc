"""`python -m tasker.orchestration`: the orchestration service."""

import sys

from chassis.process import run

from tasker.orchestration.app import create_app
from tasker.settings import OrchestrationSettings

if __name__ == "__main__":
    sys.exit(run("orchestration", OrchestrationSettings, create_app))
