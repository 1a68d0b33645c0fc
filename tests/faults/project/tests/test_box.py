"""Tests that tell when they run, and stay for as long as they are asked to."""

import os
import threading
from pathlib import Path


def test_it_answers(environment):
    assert environment.http("front").get("/").status_code == 200


def test_it_takes_its_time(environment):
    Path(os.environ.get("BOX_TESTING", "testing")).write_text(str(os.getpid()))
    threading.Event().wait(float(os.environ.get("BOX_TEST_SECONDS", "0.5")))
