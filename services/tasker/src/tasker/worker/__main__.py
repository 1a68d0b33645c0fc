"""`python -m tasker.worker`: a worker without handlers, the base to build on. It registers, answers, claims nothing."""

import sys

from tasker.worker.main import main

if __name__ == "__main__":
    sys.exit(main({}, worker_id="docker-worker-001"))
