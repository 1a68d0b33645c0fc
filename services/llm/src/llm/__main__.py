"""`python -m llm`: serve until SIGTERM or SIGINT. One process: behaviour and record are its own."""

import sys

from chassis.process import run

from llm.app import create_app
from llm.settings import Settings

if __name__ == "__main__":
    sys.exit(run("llm", Settings, create_app))
