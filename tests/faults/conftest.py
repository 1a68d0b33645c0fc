"""What is killed, when, and the count of what is left afterwards, which the run prints."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.driver_command import command_in
from tests.faults.box import NOBODY, Box, Outcome, remove_images

collect_ignore = ["project"]

_PROJECT = Path(__file__).parent / "project"
_OUTCOME = "outcome"


@pytest.fixture
def box(tmp_path: Path, record_property: Any) -> Iterator[Box]:
    """The system that is killed, under a user of the test's own; its image is built anew in every test."""
    with command_in(_PROJECT, tmp_path) as command:
        image = f"box-{secrets.token_hex(4)}"
        command.variables["BOX_IMAGE"] = image
        (command.project / "service" / "salt").write_text(secrets.token_hex(8))
        yield Box(command, image, lambda outcome: record_property(_OUTCOME, str(outcome)))
        remove_images(image)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    outcomes = [Outcome.parse(value) for report in reports for key, value in report.user_properties if key == _OUTCOME]
    if outcomes:
        kills = sum(outcome.victim != NOBODY for outcome in outcomes)
        unclean = sum(bool(outcome.left) for outcome in outcomes)
        slowest = max(outcome.seconds for outcome in outcomes)
        terminalreporter.write_line(
            f"faults: {kills} kills and {len(outcomes) - kills} that came too late, "
            f"{unclean} of them left something behind; "
            f"the slowest clean-up took {slowest:.1f} s"
        )
