"""A warm process of the tests' own, in a cache folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ephemera.warm import client, socket_address
from tests.surroundings import follow
from tests.unit.warm import asking

_LIGHT = """
import sys
from ephemera.warm import server
server._MODULES = ()
for name, value in zip(sys.argv[2::2], sys.argv[3::2]):
    setattr(server, name, float(value))
sys.exit(server.main([sys.argv[1]]))
"""

Light = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def _buffered_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the module's warm process is; it ends with the module."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    with pytest.MonkeyPatch.context() as patch:
        follow(patch)
        patch.delenv("PYTHONUNBUFFERED", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(folder))
        if (pid := asking.server_pid()) is not None:
            asking.kill(pid)


@pytest.fixture
def warm(warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """The warm process, as the first command starts it, with all that it imports; its pid."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(warm_cache))
    client.begin()
    connection = client._connected()
    assert connection is not None
    connection.close()
    pid = asking.server_pid()
    assert pid is not None
    return pid


@pytest.fixture
def light() -> Iterator[Light]:
    """Starts warm processes that import nothing beforehand, with other constants if need be."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**constants: float) -> subprocess.Popen[bytes]:
        reading, told = os.pipe()
        given = [str(part) for pair in constants.items() for part in pair]
        process = subprocess.Popen(
            [sys.executable, "-c", _LIGHT, str(told), *given],
            pass_fds=[told],
            env=socket_address.environment(),
            cwd=os.sep,
            start_new_session=True,
        )
        started.append(process)
        os.close(told)
        assert os.read(reading, 1) == b"", "it answers now, or has ended"
        os.close(reading)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
