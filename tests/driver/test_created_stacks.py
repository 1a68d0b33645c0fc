"""A stack whose first state the driver wrote by itself is to plain Pulumi what one of ``pulumi stack init`` is."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import yaml

from .conftest import Ephemera

_CREATE = "import sys; from ephemera.pulumi.workspace import Workspace; Workspace.find().create(sys.argv[1])"


def _created(ephemera: Ephemera, system: str) -> str:
    stack = ephemera.stack(system)
    subprocess.run(
        [sys.executable, "-c", _CREATE, stack], cwd=ephemera.project, env=ephemera.variables, check=True, timeout=60
    )
    return stack


def _ran(ephemera: Ephemera, *arguments: str) -> str:
    done = ephemera.pulumi(*arguments)
    assert done.code == 0, done.out + done.err
    return done.out


def _salt(ephemera: Ephemera, stack: str) -> Any:
    return yaml.safe_load((ephemera.project / f"Pulumi.{stack}.yaml").read_text())["encryptionsalt"]


def test_plain_pulumi_knows_it_as_one_of_its_own(ephemera: Ephemera) -> None:
    made, own = _created(ephemera, "web"), ephemera.stack("data")
    _ran(ephemera, "stack", "init", own)
    assert sorted(stack["name"] for stack in json.loads(_ran(ephemera, "stack", "ls", "--json"))) == sorted([made, own])
    exported = [json.loads(_ran(ephemera, "stack", "export", "--stack", stack)) for stack in (made, own)]
    assert exported[0]["version"] == exported[1]["version"]
    assert [(document["deployment"] or {}).get("resources", []) for document in exported] == [[], []]
    assert json.loads(_ran(ephemera, "stack", "output", "--json", "--stack", made)) == {}
    for stack in (made, own):
        _ran(ephemera, "stack", "rm", "--yes", "--stack", stack)
    assert json.loads(_ran(ephemera, "stack", "ls", "--json")) == []


def test_whole_life_of_it_by_hand(ephemera: Ephemera) -> None:
    stack = _created(ephemera, "web")
    named = ("--stack", stack)
    _ran(ephemera, "config", "set", "--secret", "shop:token", "hush", *named)
    assert "hush" not in (ephemera.project / f"Pulumi.{stack}.yaml").read_text()
    assert _ran(ephemera, "config", "get", "shop:token", *named).strip() == "hush"
    _ran(ephemera, "preview", *named)
    _ran(ephemera, "up", "--yes", "--skip-preview", *named)
    _ran(ephemera, "preview", "--expect-no-changes", *named)
    _ran(ephemera, "destroy", "--yes", "--skip-preview", *named)
    _ran(ephemera, "stack", "rm", "--yes", *named)
    assert ephemera("down", stack).code == 0  # its address is ours alone to forget
    assert ephemera.left() == []


def test_secrets_of_an_environment_that_shares_its_salt_are_plain_pulumis_too(ephemera: Ephemera) -> None:
    first, second = ephemera.stack("data"), ephemera.stack("web")
    assert ephemera("up", "data").code == 0
    assert ephemera("up", "web").code == 0
    assert _salt(ephemera, first) == _salt(ephemera, second)
    for stack in (first, second):
        _ran(ephemera, "config", "set", "--secret", "shop:token", f"hush {stack}", "--stack", stack)
        assert _ran(ephemera, "config", "get", "shop:token", "--stack", stack).strip() == f"hush {stack}"
        _ran(ephemera, "stack", "output", "--show-secrets", "--stack", stack)
    _ran(ephemera, "preview", "--expect-no-changes", "--stack", first)
    for stack in (first, second):
        _ran(ephemera, "destroy", "--yes", "--skip-preview", "--remove", "--stack", stack)
        assert ephemera("down", stack).code == 0
    assert ephemera.left() == []


def test_first_two_at_once(ephemera: Ephemera) -> None:
    started = [ephemera.start("up", system) for system in ("web", "data")]
    for process in started:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    for system in ("web", "data"):
        assert ephemera("down", ephemera.stack(system)).code == 0
    assert ephemera.left() == []


def test_passphrase_that_was_replaced_breaks_no_new_environment(ephemera: Ephemera) -> None:
    stack = ephemera.stack("data")
    assert ephemera("up", "data").code == 0
    before = _salt(ephemera, stack)
    assert ephemera("down").code == 0
    (ephemera.state / "ephemera" / "passphrase").write_text("another one, which is long enough")
    again = ephemera("up", "data")
    assert again.code == 0, again.err
    assert _salt(ephemera, stack) != before
    _ran(ephemera, "preview", "--expect-no-changes", "--stack", stack)
    assert ephemera("down").code == 0
    assert ephemera.left() == []
