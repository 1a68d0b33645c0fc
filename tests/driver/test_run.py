"""``ephemera run``: up, tests, down, proof, and the summary."""

from __future__ import annotations

import docker

from .conftest import Ephemera


def test_run_brings_up_tests_and_takes_down(ephemera: Ephemera) -> None:
    done = ephemera("run", "web", "--output", "json")
    assert done.code == 0, done.err
    summary = done.json
    kinds = ("failed", "skipped", "errors", "xfailed", "xpassed", "exit_code")
    assert summary["tests"] == {"passed": 2, **dict.fromkeys(kinds, 0)}
    assert summary["system"] == "web"
    assert summary["stack"].startswith(f"{ephemera.stack('web')}-")
    assert summary["leftovers"] == []
    assert all(summary["seconds"][key] > 0 for key in ("up", "tests", "down"))
    assert summary["evidence"] is None
    assert ephemera.left() == []


def test_a_failing_test(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_bad.py").write_text(
        "def test_bad(environment):\n    assert environment is None\n"
    )
    done = ephemera("run", "web", "--output", "json", "--", "-k", "bad")
    assert done.code == 1, done.err
    assert done.json["tests"]["failed"] == 1
    assert done.json["tests"]["exit_code"] == 1
    assert f"{done.json['evidence']}/web.log"
    assert "evidence" in done.err
    assert ephemera.left() == []


def test_kept_and_tested_again(ephemera: Ephemera) -> None:
    done = ephemera("run", "web", "--keep", "--output", "json", "--", "-k", "answers")
    assert done.code == 0, done.err
    stack = done.json["stack"]
    again = ephemera("test", stack, "--output", "json", "--", "-k", "answers")
    assert again.code == 0, again.err
    assert again.json["tests"]["passed"] == 1
    assert ephemera("down", stack).code == 0
    assert ephemera.left() == []


def test_what_destroy_misses_is_removed_and_reported(ephemera: Ephemera) -> None:
    assert ephemera("up", "web").code == 0
    client = docker.from_env()
    marks = client.containers.get(f"{ephemera.stack('web')}-web").labels
    volume = client.volumes.create(
        f"stray-of-{ephemera.stack('web')}", labels={key: marks[key] for key in marks if "." in key}
    )
    done = ephemera("down", "--output", "json")
    assert done.code == 4
    assert volume.name in str(done.out)
    assert client.volumes.list(filters={"name": f"stray-of-{ephemera.stack('web')}"}) == []
    client.close()
    assert ephemera.left() == []
