"""Development mode of the systems that this project ships: a source edit of each is live within seconds."""

from __future__ import annotations

import re
import secrets

import pytest

from tests.dev_command import LIVE_SECONDS, READY, Dev, save

from .conftest import Ephemera

# Others at work on the machine slow down one save or the other; where they slow down all of them, a service that is
# restarted by the engine alone says by how much.
_SAVES = 8
_OF_A_RESTART = 2.0


@pytest.mark.parametrize(
    ("system", "service", "file"),
    [
        ("tasker", "orchestration", "services/tasker/src/tasker/orchestration/app.py"),
        ("tasker", "worker", "services/tasker/src/tasker/worker/app.py"),
        ("olav", "olav-server", "services/olav/src/olav/app.py"),
    ],
)
def test_edit_is_live_within_three_seconds(checkout: Ephemera, system: str, service: str, file: str) -> None:
    dev = Dev(checkout, system, "--only", service, "--down")
    dev.line(READY)
    path, url = checkout.project / file, f"{dev.url(service)}/openapi.json"
    seconds: list[float] = []
    while len(seconds) < _SAVES and min(seconds, default=LIVE_SECONDS) >= LIVE_SECONDS:
        mark = f"edited-{secrets.token_hex(4)}"
        text, count = re.subn(r'title="[^"]*"', f'title="{mark}"', path.read_text())
        assert count == 1, f"{file} has no title to edit"
        seconds.append(save(path, text, url, mark))
        dev.line(f"{service}: {file.partition('/src/')[2]} changed, live after")
    print(f"{service}: seconds from the write to the first answer of the new code: {seconds}")
    limit = LIVE_SECONDS
    if min(seconds) >= limit:
        restarts = [dev.restarted(service) for _ in range(_SAVES)]
        print(f"{service}: seconds from a restart to its first answer: {restarts}")
        limit = max(limit, _OF_A_RESTART * min(restarts))
    assert min(seconds) < limit, seconds
    assert dev.end() == 0
    assert checkout.left() == []
