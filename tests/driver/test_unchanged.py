"""An `up` that changes nothing runs no engine, and everything that may have changed is looked at by the engine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from ephemera.home.paths import cache_dir
from ephemera.setup.toolchain import located
from tests.driver_command import PROJECT, Done, Ephemera, command_in

_PROGRAM = """
from pathlib import Path as _Path
_HERE = _Path(__file__).parent
(_HERE / "size.txt").read_text()
(_HERE.parent / "beside.txt").read_text()
"""


class Environment:
    """The environment that all tests of this module change, in a checkout of their own."""

    def __init__(self, ephemera: Ephemera) -> None:
        self.ephemera = ephemera
        self.client = docker.from_env()
        program = ephemera.project / "shop.py"
        program.write_text(program.read_text() + _PROGRAM)
        (ephemera.project / "size.txt").write_text("1")
        (ephemera.project.parent / "beside.txt").write_text("1")

    @property
    def stack(self) -> str:
        return self.ephemera.stack("data")

    def runs(self) -> list[str]:
        """Every run of an engine that there was, by the history that it keeps."""
        history = self.ephemera.state / "ephemera" / "pulumi" / ".pulumi" / "history"
        return sorted(path.name for path in history.rglob("*.history.json"))

    def up(self, *arguments: str, **variables: str) -> tuple[bool, Done]:
        """Whether an engine ran."""
        before = self.runs()
        done = self.ephemera("up", "data", "--output", "json", *arguments, cwd=None, **variables)
        return self.runs() != before, done

    def settled(self) -> None:
        """Ready, and known to be."""
        for _ in range(2):
            ran, done = self.up()
            assert done.code == 0, done.err
            if not ran:
                return
        raise AssertionError("the second of two runs was not unchanged")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with command_in(PROJECT, tmp_path_factory.mktemp("unchanged")) as ephemera:
        found = Environment(ephemera)
        yield found
        ephemera("down", found.stack)
        assert ephemera.left() == []
        found.client.close()


@pytest.fixture
def settled(environment: Environment) -> Environment:
    environment.settled()
    return environment


def test_nothing_changed_is_the_same_document_without_an_engine(settled: Environment) -> None:
    ran, full = settled.up("--force", "--show-secrets")
    assert ran
    ran, same = settled.up("--show-secrets")
    assert not ran
    assert same.json == full.json
    password = same.json["services"]["postgres"]["credentials"]["password"]
    for path in (settled.ephemera.state / "ephemera" / "known").iterdir():
        assert password not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600


def test_process_of_the_engine_is_not_even_started(settled: Environment, tmp_path: Path) -> None:
    log = tmp_path / "engine"
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "def heard(event, arguments):\n"
        f"    if event == 'subprocess.Popen':\n        open({str(log)!r}, 'a').write(f'{{arguments[1]}}\\n')\n"
        "sys.addaudithook(heard)\n"
    )
    variables = {"PYTHONPATH": str(folder), "EPHEMERA_WARM": "off"}
    settled.up(**variables)  # PYTHONPATH is part of the definition
    log.unlink()
    ran, done = settled.up(**variables)
    assert not ran
    assert done.code == 0
    started = log.read_text() if log.exists() else ""
    assert "ephemera.pulumi.child" not in started
    assert "pulumi" not in started


def _file(name: str, text: str) -> Callable[[Environment], Any]:
    return lambda environment: (environment.ephemera.project / name).write_text(text)


def _appended(name: str) -> Callable[[Environment], Any]:
    def append(environment: Environment) -> None:
        path = environment.ephemera.project / name
        path.write_text(path.read_text() + "\n# changed\n")

    return append


def _container(action: str, **arguments: Any) -> Callable[[Environment], Any]:
    return lambda environment: getattr(environment.client.containers.get(f"{environment.stack}-postgres"), action)(
        **arguments
    )


def _pulumi(*arguments: str) -> Callable[[Environment], Any]:
    def run(environment: Environment) -> None:
        done = environment.ephemera.pulumi(*arguments, "--stack", environment.stack)
        assert done.code == 0, done.out + done.err

    return run


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_appended("shop.py"), id="source"),
        pytest.param(_file("size.txt", "2"), id="data file"),
        pytest.param(_file("../beside.txt", "2"), id="data file beside the project"),
        pytest.param(_file("antigravity.py", ""), id="new module"),
        pytest.param(_appended("Pulumi.yaml"), id="project file"),
        pytest.param(_container("restart"), id="container restarted"),
        pytest.param(_container("stop"), id="container stopped"),
        pytest.param(_pulumi("up", "--yes"), id="plain up"),
        pytest.param(_pulumi("refresh", "--yes"), id="refresh"),
        pytest.param(_pulumi("config", "set", "other:key", "value"), id="config"),
    ],
)
def test_whatever_changed_is_looked_at_by_the_engine_once(
    settled: Environment, change: Callable[[Environment], Any]
) -> None:
    change(settled)
    ran, done = settled.up()
    assert ran
    assert done.code == 0, done.err
    assert not settled.up()[0], "and it is known again"


def test_what_carries_its_labels_and_is_not_its_own_is_looked_at(settled: Environment) -> None:
    marks = {"ephemera.stack": settled.stack, "ephemera.backend": settled.ephemera.backend}
    extra = settled.client.volumes.create(f"{settled.stack}-extra", labels=marks)
    try:
        assert settled.up()[0]
    finally:
        extra.remove()
    assert settled.up()[0]


def test_settings_variables_and_images_are_looked_at(settled: Environment) -> None:
    for variables in ({"SHOP_SIZE": "2"}, {"DOCKER_CONFIG": "/nowhere"}):
        ran, done = settled.up(**variables)
        assert ran
        assert done.code == 0, done.err
        settled.settled()
    known = settled.ephemera.state / "ephemera" / "known" / f"{settled.stack}.json"
    document = json.loads(known.read_text())
    (reference,) = document["known"]["objects"]["images"]
    document["known"]["objects"]["images"][reference] = "sha256:of-before"
    known.write_text(json.dumps(document))
    assert settled.up()[0], "the image was made anew"


@pytest.mark.parametrize("what", ["container", "volume"])
def test_what_was_removed_by_hand_is_never_taken_for_there(environment: Environment, what: str) -> None:
    environment.settled()
    environment.client.containers.get(f"{environment.stack}-postgres").remove(force=True, v=False)
    if what == "volume":
        environment.client.volumes.get(f"{environment.stack}-data").remove()
    ran, done = environment.up()
    assert ran or done.code != 0
    assert environment.ephemera("down", environment.stack).code == 0


def test_outputs_are_answered_without_an_engine(settled: Environment, tmp_path: Path) -> None:
    expected = settled.ephemera("outputs", settled.stack).json
    home = located().pulumi_home
    shutil.copytree(home, tmp_path / "cache" / "ephemera" / home.relative_to(cache_dir()))
    # No engine is to be found there: whoever needs one fails.
    done = settled.ephemera("outputs", settled.stack, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.code == 0, done.err
    assert done.json == expected
