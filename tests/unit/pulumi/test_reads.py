"""What is noted of a program's process. Each in a process of its own: a listener like that is never taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

_RUN = """
import json, os, runpy, sys
from ephemera.pulumi.reads import Reads
reads = Reads(sys.argv[1])
os.chdir(sys.argv[1])
sys.path.insert(0, sys.argv[1])
runpy.run_path(os.path.join(sys.argv[1], "__main__.py"), {"reads": reads})
print(json.dumps(reads.document()))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def _reads(project: Path, program: str) -> dict[str, Any]:
    (project / "__main__.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(project)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def test_project_and_folders_that_modules_may_come_from(project: Path) -> None:
    import ephemera

    found = _reads(project, "import sys\nsys.path.insert(0, '../lib')\nopen('data.txt', 'w').close()\nopen('data.txt')")
    assert str(project) in found["paths"]
    assert str(project.parent / "lib") in found["paths"]
    assert str(Path(ephemera.__file__).parents[1]) in found["paths"], "an editable install"
    assert [path for path in found["paths"] if path.startswith(f"{project}/")] == [], "the project counts as a whole"
    assert found["doubts"] == []


def test_module_from_a_place_of_no_path_counts_by_its_folder(project: Path) -> None:
    (project.parent / "odd").mkdir()
    (project.parent / "odd" / "mine.py").write_text("")
    library = Path(sysconfig.get_paths()["stdlib"])
    program = f"""
import sys, types
from importlib.util import module_from_spec, spec_from_file_location
sys.modules["mine"] = module_from_spec(spec_from_file_location("mine", "{project.parent}/odd/mine.py"))
sys.modules["odd"] = types.SimpleNamespace(__file__="{library}/../detour/odd.py")
"""
    assert {str(project.parent / "odd"), str(library.parent / "detour")} <= set(_reads(project, program)["paths"])


@pytest.mark.parametrize(
    ("program", "read"),
    [
        ("open('../data.txt').read()", "../data.txt"),
        ("import os\nos.open('../data.txt', os.O_RDONLY)", "../data.txt"),
        ("import pathlib\nlist(pathlib.Path('../conf.d').iterdir())", "../conf.d/"),
        ("import os\nlist(os.scandir('../conf.d'))", "../conf.d/"),
        ("import os\nos.listdir()", "./"),
        ("import glob\nglob.glob('*.md')", "./"),
        ("open('tests/data.txt').read()", "tests/data.txt"),
        ("try:\n    open('../none.toml')\nexcept FileNotFoundError:\n    pass", "../none.toml"),
        ("import tests.one", "tests"),
        ("import reading", "../data.txt"),
    ],
)
def test_what_is_read_besides_the_projects_files(project: Path, program: str, read: str) -> None:
    for folder in (project.parent / "conf.d", project / "tests"):
        folder.mkdir()
    for path in (project.parent / "data.txt", project / "tests" / "data.txt", project / "tests" / "one.py"):
        path.write_text("")
    (project / "reading.py").write_text("open('../data.txt').read()")
    expected = os.path.normpath(project / read) + ("/" if read.endswith("/") else "")
    assert expected in _reads(project, program)["paths"]


def test_what_is_written_is_not_read(project: Path) -> None:
    found = _reads(project, "open('../new.txt', 'w').close()\nopen('../log', 'a').close()")
    assert [path for path in found["paths"] if path.endswith(("new.txt", "log"))] == []


def test_libraries_and_the_interpreter_are_none_of_the_programs(project: Path) -> None:
    found = _reads(project, "import yaml, email.mime.text\nopen('/dev/null').read()\nopen('/proc/self/stat').read()")
    foreign = ("/dev/", "/proc/", str(Path(json.__file__).parent), str(Path(pytest.__file__).parent))
    assert [path for path in found["paths"] if path.startswith(foreign)] == []


@pytest.mark.parametrize(
    ("program", "doubt"),
    [
        ("import subprocess\nsubprocess.run(['true'])", "starts a process"),
        ("import os\nos.system('true')", "starts a process"),
        ("import os\nos.fork() or os._exit(0)\nos.wait()", "starts a process"),
        ("import socket\nsocket.getaddrinfo('127.0.0.1', 80)", "asks another process"),
        (
            "import socket\nserver = socket.create_server(('127.0.0.1', 0))\n"
            "socket.create_connection(server.getsockname())",
            "asks another process",
        ),
        ("import sqlite3\nsqlite3.connect(':memory:')", "reads a database"),
        ("import ctypes\nctypes.CDLL(None)", "loads a library"),
    ],
)
def test_what_reaches_beyond_files_is_a_doubt(project: Path, program: str, doubt: str) -> None:
    assert doubt in _reads(project, program)["doubts"]


def test_what_ephemera_itself_and_an_imported_library_do_is_none(project: Path, tmp_path: Path) -> None:
    found = _reads(project, "from ephemera.docker import ports\nports.is_free('127.0.0.1', 9)\nimport uuid, webbrowser")
    assert found["doubts"] == []


def test_sources_of_images_count_by_the_references_of_the_images(project: Path) -> None:
    (project / "tests").mkdir()
    for name in ("Dockerfile", "tests/data.txt"):
        (project / name).write_text("FROM scratch\nCOPY . .\n")
    program = "from ephemera import Build, images\nimages.resolve(Build('.'), 'local')"
    found = _reads(project, program)
    assert [path for path in found["paths"] if path.startswith(f"{project}/")] == []


def test_functions_of_providers_are_a_doubt(project: Path) -> None:
    program = (
        "class Monitor:\n    def Invoke(self, request):\n        return request\n    Call = Invoke\n"
        "monitor = Monitor()\nreads.watch_monitor(monitor)\n"
    )
    assert _reads(project, program)["doubts"] == []
    assert _reads(project, program + "assert monitor.Invoke(7) == 7")["doubts"] == ["asks a provider"]


def test_credentials_are_noted_by_service_and_purpose(project: Path) -> None:
    program = "from ephemera.home import credentials\ncredentials.credential('shop-main', 'db', 'password')\n"
    assert _reads(project, program)["credentials"] == [["db", "password"]]
