"""`python -m tasker.orchestration`: the orchestration service."""

import os
import sys

from fastapi import FastAPI

from tasker.api import service
from tasker.orchestration.app import create_app
from tasker.orchestration.program import Program
from tasker.settings import OrchestrationSettings


def main() -> int:
    settings = service.read_settings(OrchestrationSettings, os.environ)

    def build() -> tuple[FastAPI, service.Background]:
        program = Program(settings)
        return create_app(settings, program), program.run

    return service.run("orchestration", settings, settings.port, build)


if __name__ == "__main__":
    sys.exit(main())
