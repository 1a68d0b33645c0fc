"""``--in-network``: the suite in a container of its own, its results, and whatever may happen to it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ephemera.docker.connection import connected
from ephemera.model import labels
from tests.driver_command import PROJECT, command_in, until

from .conftest import Ephemera

_INSIDE = """
import os
import subprocess
import sys
from pathlib import Path

import greeting


def test_inside(environment):
    assert os.environ["EPHEMERA_INSIDE"] == "1"
    assert environment.endpoint("web").url == "http://web:8000"
    assert environment.http("web").get("/").status_code == 200
    assert greeting.greet("you") == "hello, you"


def test_child():
    assert subprocess.run([sys.executable, "-c", "import greeting; greeting.greet('')"]).returncode == 0


def test_engine(environment):
    environment.service("web").kill()


def test_leaves_files(environment):
    results = Path(os.environ["EPHEMERA_RESULTS"])
    (results / "deep").mkdir()
    (results / "deep" / "note.txt").write_text("kept")
    (results / "link").symlink_to("/etc/passwd")
"""
_FAILS = "def test_fails(environment):\n    print('said inside')\n    assert environment is None\n"
_WAITS = """
import time

import pytest


@pytest.fixture
def held():
    yield
    print("fixture ended", flush=True)


def test_waits(held, environment):
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ephemera]:
    """An environment of ``web`` that is up, for tests that do nothing to it; its project's suite has more tests."""
    with command_in(PROJECT, tmp_path_factory.mktemp("in-network")) as command:
        for name, text in (("inside", _INSIDE), ("fails", _FAILS), ("waits", _WAITS)):
            (command.project / "tests" / f"test_{name}.py").write_text(text)
        done = command("up", "web")
        assert done.code == 0, done.err
        yield command
        assert command("down", "web").code == 0
        assert command.left() == []


def _runners(command: Ephemera) -> list[dict[str, Any]]:
    """What there is of suites in the network: containers and volumes."""
    filters = {"label": [labels.RUNNER, f"{labels.BACKEND}={command.backend}"]}
    with connected() as client:
        volumes: list[dict[str, Any]] = client.api.volumes(filters=filters)["Volumes"] or []
        return [*client.api.containers(all=True, filters=filters), *volumes]


def _begun(command: Ephemera, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """A suite that waits in the network, and the engine's description of its container."""
    process = command.start("test", "web", "--in-network", *arguments, "--", "-s", "-k", "test_waits")
    assert process.stdout is not None
    for line in process.stdout:
        if "begun" in line:
            break
    (container, _volume) = _runners(command)
    with connected() as client:
        return process, client.api.inspect_container(container["Id"])


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_results_come_out_and_the_container_goes(web: Ephemera) -> None:
    done = web("test", "web", "--in-network", "--output", "json", "--", "-k", "test_inside.py")
    assert done.code == 0, done.err
    assert done.json["tests"]["passed"] == 3
    assert done.json["tests"]["skipped"] == 1
    assert done.json["evidence"] is None
    paths = [Path(path) for path in done.json["artifacts"]]
    (folder,) = {path.parent for path in paths if path.name == "junit.xml"}
    assert folder.is_relative_to(web.project / ".ephemera" / "artifacts")
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    assert names == [".coverage", "coverage.xml", "deep/note.txt", "junit.xml"]
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(paths)
    cases = ElementTree.parse(folder / "junit.xml").iter("testcase")  # noqa: S314 - of our own making
    assert sorted(case.attrib["name"] for case in cases) == [
        "test_child",
        "test_engine",
        "test_inside",
        "test_leaves_files",
    ]
    (measured,) = ElementTree.parse(folder / "coverage.xml").iter("class")  # noqa: S314 - likewise
    assert measured.attrib["filename"].endswith("greeting.py")
    assert measured.attrib["line-rate"] == "1", "one branch in pytest's process, the other one in a child of it"
    assert "link is no regular file" in done.err
    assert "test_inside.py ..s." in done.err, "where standard output is a document's"
    assert _runners(web) == []
    assert "unchanged" in web("up", "web").err


def test_a_failing_test_leaves_evidence_with_what_the_runner_said(web: Ephemera) -> None:
    done = web("test", "web", "--in-network", "--", "-k", "test_fails")
    assert done.code == 1, done.err
    assert "said inside" in done.out
    (log,) = (web.project / ".ephemera" / "artifacts").glob("*/web-tests.log")
    assert "said inside" in log.read_text()
    assert (log.parent / "index.html").is_file()
    assert (log.parent / "results" / "junit.xml").is_file()
    test = json.loads((log.parent / "tests.json").read_text())[-1]
    assert (test["nodeid"].partition("::")[2], test["outcome"]) == ("test_fails", "failed")
    assert "assert environment is None" in test["text"]
    assert "test_fails" in (log.parent / "index.html").read_text()
    assert str(log.parent) in done.out
    assert _runners(web) == []


def test_the_container_is_hardened_and_an_up_beside_it_leaves_it_alone(web: Ephemera) -> None:
    process, found = _begun(web)
    host, config = found["HostConfig"], found["Config"]
    assert config["User"] == "65534:65534"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host["Privileged"]
    assert host["Init"]
    assert host["Memory"] == host["MemorySwap"] == 192 * 1024 * 1024
    assert host["NanoCpus"] == 2 * 10**9
    assert host["PidsLimit"] == 256
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert not host["PortBindings"]
    assert [mount["Type"] for mount in found["Mounts"]] == ["volume"]
    assert list(found["NetworkSettings"]["Networks"]) == [web.stack("web")]
    assert config["Labels"][labels.SERVICE] == "web-tests"
    assert "unchanged" in web("up", "web").err
    assert web("up", "web", "--force").code == 0
    assert [each["Id"] for each in _runners(web) if "Id" in each] == [found["Id"]]
    process.send_signal(signal.SIGTERM)
    code, out = _ended(process)
    assert code == 130, out
    assert "fixture ended" in out
    assert _runners(web) == []


def test_a_killed_command_takes_its_container_along(web: Ephemera) -> None:
    process, _ = _begun(web)
    process.kill()
    until(lambda: _runners(web) == [], 20)
    process.communicate(timeout=10)


def test_a_killed_container_is_one_error_with_its_last_lines(web: Ephemera) -> None:
    process, found = _begun(web, "--output", "json")
    with connected() as client:
        client.api.kill(found["Id"])
    code, out = _ended(process)
    assert code == 3
    document, _ = json.JSONDecoder().raw_decode(out[out.index('{\n  "error"') :])
    error = document["error"]
    assert error["kind"] == "service_failed"
    assert error["service"] == "web-tests"
    assert error["cause"] == "ended before its suite had (exit code 137)"
    assert any("begun" in line for line in error["log_tail"])
    assert _runners(web) == []


def test_a_suite_that_uses_up_its_memory_is_told_so(web: Ephemera) -> None:
    (web.project / "tests" / "test_large.py").write_text("def test_large():\n    assert b'x' * (400 * 2**20)\n")
    done = web("test", "web", "--in-network", "--", "-k", "test_large")
    assert done.code == 3
    assert "service 'web-tests' ran out of memory (192 MiB)" in done.err


def test_credentials_are_handed_in_and_shown_nowhere(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_data.py").write_text(
        "import os, pathlib, time\n"
        "def test_waits(environment):\n"
        "    password = environment.outputs.service('postgres').credentials['password'].get_secret_value()\n"
        "    pathlib.Path(os.environ['EPHEMERA_RESULTS'], 'password').write_text(password)\n"
        "    assert oct(os.stat(os.environ['EPHEMERA_OUTPUTS']).st_mode & 0o777) == '0o600'\n"
        "    print('begun', flush=True)\n"
        "    assert password == ''\n"
    )
    assert ephemera("up", "data").code == 0
    shown = ephemera("outputs", "data", "--show-secrets", "--output", "json").json
    password = shown["services"]["postgres"]["credentials"]["password"]
    process = ephemera.start("test", "data", "--in-network", "--", "-s", "-k", "test_waits")
    assert process.stdout is not None
    inspected, commands = "", ""
    for line in process.stdout:
        if "begun" in line:
            with connected() as client:
                for each in _runners(ephemera):
                    inspected += json.dumps(client.api.inspect_container(each["Id"]) if "Id" in each else each)
            commands = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            break
    code, _ = _ended(process)
    assert code == 1
    assert "data-tests" in inspected
    assert "python3 -u -c" in commands
    assert password not in inspected
    assert password not in commands
    kept = [path for path in (ephemera.project / ".ephemera").rglob("*") if path.is_file()]
    assert [path.read_text() for path in kept if path.name == "password"] == ["***"]
    assert [str(path) for path in kept if password.encode() in path.read_bytes()] == []
    assert ephemera("down", "data").code == 0
    assert ephemera.left() == []


def test_an_interrupted_run_leaves_nothing(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_waits.py").write_text(_WAITS)
    process = ephemera.start("run", "web", "--in-network", "--", "-s", "-k", "test_waits")
    assert process.stdout is not None
    assert any("begun" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    code, out = _ended(process)
    assert code == 130, out
    assert "fixture ended" in out
    assert ephemera.left() == []


def test_an_environment_that_is_taken_down_takes_it_along_and_nothing_is_left_over(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_waits.py").write_text(_WAITS)
    assert ephemera("up", "web").code == 0
    process, _ = _begun(ephemera)
    down = ephemera("down", "web", "--output", "json")
    assert down.code == 0, down.out
    assert down.json["leftovers"] == []
    assert _ended(process)[0] == 3
    assert _runners(ephemera) == []
    assert ephemera.left() == []


def test_a_whole_run_needs_nothing_published(ephemera: Ephemera) -> None:
    (ephemera.project / "tests" / "test_store.py").write_text(
        "import socket\n"
        "def test_store(environment):\n"
        "    endpoint = environment.endpoint('postgres')\n"
        "    assert (endpoint.host, endpoint.port) == ('postgres', 5432)\n"
        "    socket.create_connection((endpoint.host, endpoint.port), timeout=5).close()\n"
    )
    done = ephemera("run", "data", "--in-network", "--expose", "none", "--output", "json", "--", "-k", "test_store")
    assert done.code == 0, done.err
    assert done.json["tests"]["passed"] == 1
    assert done.json["leftovers"] == []
    assert any(path.endswith("junit.xml") for path in done.json["artifacts"])
    assert ephemera.left() == []


def test_its_profile_has_the_image_made_and_starts_nothing(ephemera: Ephemera) -> None:
    done = ephemera("up", "web", "--profile", "testing")
    assert done.code == 0, done.err
    assert "web-tests runs the suite when asked to: `ephemera test --in-network`" in done.err
    assert _runners(ephemera) == []
    assert [each["service"] for each in ephemera("status", "--output", "json").json["services"]] == ["web"]
    assert ephemera("down", "web").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "chain", "--in-network"), "system 'chain' has no service that runs its suite in the network"),
        (("up", "web", "--only", "web-tests"), "service 'web-tests' runs the suite, and is no part of an environment"),
        (("test", "web", "--in-network"), "no environment"),
    ],
    ids=["no runner", "only the runner", "nothing up"],
)
def test_bad_input_is_one_error_and_nothing_is_made(
    ephemera: Ephemera, arguments: tuple[str, ...], message: str
) -> None:
    done = ephemera(*arguments)
    assert done.code == 2
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert ephemera.left() == []


def test_an_image_without_what_it_needs_is_one_error(ephemera: Ephemera) -> None:
    catalog = ephemera.project / "shop.py"
    text = catalog.read_text()
    bare = text.replace('name="web-tests", image=TESTS', 'name="web-tests", image=BARE')
    assert bare != text
    (ephemera.project / "services" / "bare").mkdir()
    (ephemera.project / "services" / "bare" / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nUSER 65534:65534\n")
    declared = 'BARE = Build("services/bare", name="shop-bare", bases=_BASES)\n'
    catalog.write_text(bare.replace("MISSING =", f'_BASES = {{"BASE": PYTHON}}\n{declared}MISSING =', 1))
    assert ephemera("up", "web").code == 0
    done = ephemera("test", "web", "--in-network")
    assert done.code == 2
    assert "runner 'web-tests' cannot run a suite: its image has no pytest" in done.err
    dockerfile = ephemera.project / "services" / "bare" / "Dockerfile"
    dockerfile.write_text("ARG BASE\nFROM ${BASE}\nUSER root\n")
    root = ephemera("test", "web", "--in-network")
    assert root.code == 2
    assert "runner 'web-tests' is to run as root" in root.err
    assert _runners(ephemera) == []
    assert ephemera("down", "web").code == 0
    assert list((ephemera.project / ".ephemera").glob("artifacts/*")) == []
