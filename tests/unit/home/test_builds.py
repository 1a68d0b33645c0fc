from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from ephemera.home import builds, identity
from ephemera.home.paths import cache_dir
from ephemera.model.errors import ImageError

_ENGINE = "unix:///engine.sock"
_BUILDER = f"""
from ephemera.home import builds
with builds.exclusive("ephemera/api:1") as begins:
    begins("api", "{_ENGINE}")
    print("begun", flush=True)
    input()
"""


def _records() -> list[Path]:
    return list((cache_dir() / "locks").glob("*"))


def _abandon(reference: str, image: str, engine: str = _ENGINE) -> None:
    with suppress(KeyboardInterrupt), builds.exclusive(reference) as begins:
        begins(image, engine)
        raise KeyboardInterrupt


def test_finished_build_leaves_nothing() -> None:
    with builds.exclusive("ephemera/api:1") as begins:
        begins("api", _ENGINE)
        assert builds.abandoned(_ENGINE) == []
    assert _records() == []


def test_what_a_failed_build_came_to_stays_for_the_next_try() -> None:
    with suppress(ImageError), builds.exclusive("ephemera/api:1") as begins:
        begins("api", _ENGINE)
        raise ImageError("step 3 failed")
    assert _records() == []


def test_one_that_did_not_begin_leaves_nothing() -> None:
    with pytest.raises(KeyboardInterrupt), builds.exclusive("ephemera/api:1"):
        raise KeyboardInterrupt
    assert _records() == []


def test_interrupted_build_is_found_until_it_is_forgotten() -> None:
    _abandon("ephemera/api:1", "api")
    (found,) = builds.abandoned(_ENGINE)
    assert found.image == "api"
    assert found.since <= found.record.stat().st_mtime < found.since + 2
    builds.forget(found)
    assert _records() == []


def test_killed_builder_is_found_as_soon_as_it_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", _BUILDER], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert builds.abandoned(_ENGINE) == []
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert [build.image for build in builds.abandoned(_ENGINE)] == ["api"]


def test_build_of_another_engine_is_none_of_this_ones() -> None:
    _abandon("ephemera/api:1", "api", "ssh://elsewhere")
    assert builds.abandoned(_ENGINE) == []
    assert len(builds.abandoned("ssh://elsewhere")) == 1


def test_image_that_is_being_built_under_another_tag_is_waited_for() -> None:
    _abandon("ephemera/api:1", "api")
    _abandon("ephemera/worker:1", "worker")
    with builds.exclusive("ephemera/api:2"):
        assert [build.image for build in builds.abandoned(_ENGINE)] == ["worker"]
    assert len(builds.abandoned(_ENGINE)) == 2


def test_next_try_takes_it_over() -> None:
    _abandon("ephemera/api:1", "api")
    (first,) = builds.abandoned(_ENGINE)
    with builds.exclusive("ephemera/api:1"):
        builds.forget(first)
        assert _records() == [first.record], "it is held"
    assert _records() == []


def test_build_that_is_abandoned_twice_is_as_old_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 100.9)
    _abandon("ephemera/api:1", "api")
    monkeypatch.setattr(time, "time", lambda: 200.0)
    _abandon("ephemera/api:1", "api")
    assert [build.since for build in builds.abandoned(_ENGINE)] == [100]


def test_build_of_another_backend_is_as_old_as_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(time, "time", lambda: 100.9)
    _abandon("ephemera/api:1", "api")
    monkeypatch.setattr(time, "time", lambda: 200.0)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    _abandon("ephemera/api:1", "api")
    (found,) = builds.abandoned(_ENGINE)
    assert (found.since, found.backend) == (200, identity.backend_id())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"image": "api"}', '{"image": "a", "engine": "e", "since": 1}'])
def test_record_of_a_builder_that_was_killed_before_it_began_goes(text: str) -> None:
    path = cache_dir() / "locks" / "image-ephemera_api:1.lock"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert builds.abandoned(_ENGINE) == []
    assert not path.exists()
