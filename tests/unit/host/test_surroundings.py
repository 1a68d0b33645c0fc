"""What this process started with, whatever the code of others changes since; and that all of ours asks for it there."""

from __future__ import annotations

import ast
import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ephemera.docker.address import DEFAULT_HOST, configured
from ephemera.home import identity
from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.model.errors import InputError, MachineError

_SOURCE = Path(surroundings.__file__).parents[1]
# Rooms whose code runs in processes of tests, catalogs and programs. The others are processes of their own, which read
# what they were started with before anything of a project runs in them.
_ROOMS = ("contract", "driver", "home", "host", "images", "plugin", "resources", "warm")
_ASKED_FOR = frozenset(
    "os.environ os.getenv os.getcwd os.getlogin os.path.expanduser Path.cwd Path.home getpass.getuser "  # noqa: SIM905
    "tempfile.gettempdir time.time time.time_ns".split()
)
_MAY = {
    "host/surroundings.py": {"os.environ", "Path.cwd"},
    "warm/server.py": {"os.environ"},  # a fork takes on those of its request
    "model/settings.py": {"os.environ"},  # a default, for programs that call it by themselves
    "home/builds.py": {"time.time"},  # builds run in processes of ours
}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Surroundings as they are now; later changes are not followed."""
    monkeypatch.setattr(surroundings, "_kept", surroundings._kept)
    surroundings.take()
    return monkeypatch


def _attributes(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def test_what_depends_on_the_surroundings_asks_for_them_here() -> None:
    found = {
        name: asked
        for path in sorted(path for room in _ROOMS for path in (_SOURCE / room).rglob("*.py"))
        if (asked := {*_attributes(path)} & _ASKED_FOR - _MAY.get(name := path.relative_to(_SOURCE).as_posix(), set()))
    }
    assert found == {}


def test_changes_of_a_test_change_nothing_of_ours(taken: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = (state_dir(), configured(), identity.owner(), surroundings.temporary(), surroundings.folder())
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME", "TMPDIR", "DOCKER_CONFIG"):
        taken.setenv(name, str(tmp_path / "elsewhere"))
    for name in ("LOGNAME", "USER"):
        taken.setenv(name, "another")
    taken.setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
    gone = tmp_path / "gone"
    gone.mkdir()
    taken.chdir(gone)
    shutil.rmtree(gone)
    assert (state_dir(), configured(), identity.owner(), surroundings.temporary(), surroundings.folder()) == before
    for name in list(os.environ):
        taken.delenv(name)
    assert (state_dir(), configured(), identity.owner(), surroundings.temporary(), surroundings.folder()) == before


def test_process_of_the_same_run_adopts_them_and_stays_the_worker_that_it_is(
    taken: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = surroundings.handed_on()
    state, folder = state_dir(), surroundings.folder()
    taken.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    taken.setenv("PYTEST_XDIST_WORKER", "gw3")
    taken.chdir(tmp_path)
    surroundings.take()
    assert state_dir() != state
    surroundings.adopt(text)
    assert (state_dir(), surroundings.folder()) == (state, folder)
    assert surroundings.variables()["PYTEST_XDIST_WORKER"] == "gw3"


def test_any_variable_is_handed_on(taken: pytest.MonkeyPatch) -> None:
    taken.setenv("EPHEMERA_ODD", os.fsdecode(b"\xff grau\xc3\x9f\n"))
    surroundings.take()
    text = surroundings.handed_on()
    assert text.isascii()
    surroundings.adopt(text)
    assert os.fsencode(surroundings.variables()["EPHEMERA_ODD"]) == b"\xff grau\xc3\x9f\n"


def test_working_directory_that_is_gone_is_an_error_of_who_needs_it(taken: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    taken.chdir(gone)
    gone.rmdir()
    surroundings.take()
    assert state_dir().is_dir()
    with pytest.raises(InputError, match="the working directory has been deleted: change to one that is there"):
        surroundings.folder()


def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the database does not know."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_user_without_an_entry_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _nobody(monkeypatch)
    assert identity.owner().startswith("uid-12345@")
    monkeypatch.setenv("USER", "ci")
    assert identity.owner().startswith("ci@")


def test_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _nobody(monkeypatch)
    with pytest.raises(MachineError) as caught:
        state_dir()
    assert str(caught.value) == (
        "HOME is not set, and user 12345 has no home in /etc/passwd: "
        "set HOME, or XDG_STATE_HOME and XDG_CACHE_HOME, to folders that you can write to"
    )
    assert configured().url == DEFAULT_HOST, "who has no home has no Docker context"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_dir() == tmp_path / "ephemera"


def test_context_that_is_named_without_a_home_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _nobody(monkeypatch)
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(MachineError, match="HOME is not set"):
        configured()


@pytest.mark.parametrize("home", ["", None])
def test_home_that_is_not_set_is_that_of_the_user_database(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
    else:
        monkeypatch.setenv("HOME", home)
    assert surroundings.home() == Path(pwd.getpwuid(os.getuid()).pw_dir)


def test_relative_home_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "here")
    with pytest.raises(MachineError, match="HOME is 'here', which is no absolute path: set HOME, or XDG_STATE_HOME"):
        state_dir()


def test_home_that_is_not_there_is_made_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_dir() == tmp_path / "home" / ".local" / "state" / "ephemera"
    assert state_dir().is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    with pytest.raises(MachineError, match=r"/file/\.local/state/ephemera .*Not a directory.*: .*XDG_STATE_HOME"):
        state_dir()


def test_state_that_cannot_be_written_to_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ephemera").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    # As on a disk that is mounted read-only, which root is told too.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(MachineError, match=r"/ephemera cannot be written to: set HOME, or XDG_STATE_HOME"):
        state_dir()


def test_temporary_folder_that_is_gone_is_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert surroundings.temporary() == str(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.delenv("TEMP", raising=False)
    monkeypatch.delenv("TMP", raising=False)
    assert surroundings.temporary() == "/tmp"  # noqa: S108 - compared


def test_launcher_can_import_it_before_anything_is_installed() -> None:
    loads = "import json, sys; import ephemera.host.surroundings; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(_SOURCE.parent)!r}); {loads}"]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert not {"pydantic", "psutil", "docker", "yaml"} & {name.partition(".")[0] for name in loaded}
