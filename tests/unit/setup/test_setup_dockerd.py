"""The Docker engine: one that answers is used, one that does not is explained in one line."""

from __future__ import annotations

import os
import shutil
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from ephemera.model.errors import MachineError
from ephemera.setup import dockerd
from ephemera.setup.work import Work


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def address_string(self) -> str:
        return "test"


@pytest.fixture
def engine(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = home / "docker.sock"
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield path
        server.shutdown()
        thread.join()


def run() -> None:
    dockerd.DockerEngine().run(Work("docker", lambda _: None))


@pytest.mark.usefixtures("engine")
def test_an_engine_that_answers_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: pytest.fail("nothing may be looked for"))
    assert dockerd.DockerEngine().check()
    run()


def test_a_configured_engine_that_is_silent_is_not_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/none.sock")
    assert not dockerd.DockerEngine().check()
    with pytest.raises(MachineError, match=r"no Docker engine answers at unix://.*: start it, or unset DOCKER_HOST"):
        run()


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "localhost:2375")
    with pytest.raises(MachineError, match="is no address: use unix://"):
        dockerd.request("GET", "/_ping")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local engine is not there, and the user is not root."""
    monkeypatch.setattr(dockerd, "answers", lambda: FileNotFoundError("no socket"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("silent")
def test_without_root_a_missing_docker_is_left_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(MachineError, match="Docker is not installed: install Docker Engine"):
        run()


@pytest.mark.usefixtures("silent")
def test_without_root_a_stopped_docker_is_left_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(MachineError, match="Docker is not running: start it with `sudo systemctl start docker`"):
        run()


def test_a_user_outside_the_group_is_told_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "answers", lambda: PermissionError("denied"))
    with pytest.raises(MachineError, match="may not use Docker: run `sudo usermod -aG docker"):
        run()


@pytest.fixture(autouse=True)
def _no_daemons_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "_PID_FILES", {})


@pytest.fixture
def root_without_docker(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root on Debian, where ``apt-get`` is a script of ours that says what it was asked for."""
    folder = home / "bin"
    folder.mkdir()
    (folder / "apt-get").write_text(f'#!/bin/bash\necho "$*" >> {home}/apt.log\n[[ $* != *"$FAIL"* ]]\n')
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(dockerd, "answers", lambda: FileNotFoundError("no socket"))
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "dockerd" else real(name))
    return home / "apt.log"


def test_root_on_debian_gets_docker_installed(root_without_docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "nothing fails")
    monkeypatch.setattr(dockerd, "_start", lambda _: None)
    run()
    update, install = root_without_docker.read_text().splitlines()
    assert update.endswith("update")
    assert install.endswith(
        "install --no-install-recommends docker.io iptables debootstrap debian-archive-keyring gpgv"
    )


@pytest.mark.usefixtures("root_without_docker")
def test_a_failing_apt_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "install")
    with pytest.raises(MachineError, match=r"apt-get cannot install docker\.io .*: install .* by hand \(full log: .*"):
        run()


def test_package_lists_that_are_not_complete_do_not_stop_it(
    root_without_docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "update")
    monkeypatch.setattr(dockerd, "_start", lambda _: None)
    run()
    assert "install" in root_without_docker.read_text()


def test_a_daemon_that_dies_is_reported_with_its_last_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "bin"
    folder.mkdir()
    (folder / "dockerd").write_text("#!/bin/bash\necho 'failed to start daemon: no iptables'; exit 1\n")
    (folder / "dockerd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(dockerd, "answers", lambda: FileNotFoundError("no socket"))
    monkeypatch.setattr(dockerd, "_SYSTEMD", home / "none")
    with pytest.raises(MachineError, match=r"dockerd ended with 1 \(failed to start daemon: no iptables\): see .*log"):
        run()


def test_files_of_killed_daemons_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = {"7": "dockerd", "8": "bash"}
    for pid, name in processes.items():
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "comm").write_text(f"{name}\n")
    files = {tmp_path / name: "dockerd" for name in ("alive", "anothers", "dead", "absent")}
    for (path, _), pid in zip(files.items(), ("7", "8", "9"), strict=False):
        path.write_text(pid)
    monkeypatch.setattr(dockerd, "_PROCESSES", tmp_path / "proc")
    monkeypatch.setattr(dockerd, "_PID_FILES", files)
    dockerd._remove_stale_pid_files()
    assert [path.name for path in files if path.exists()] == ["alive"]


@pytest.mark.parametrize(("problem", "spread"), [(FileNotFoundError("no socket"), True), (None, False)])
def test_only_an_engine_that_was_started_has_volumes_and_layers_apart(
    home: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception | None, spread: bool
) -> None:
    folder = home / "bin"
    folder.mkdir()
    (folder / "chattr").write_text(f'#!/bin/bash\necho "$*" >> {home}/marked\nexit 1\n')
    (folder / "chattr").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(dockerd, "answers", lambda: problem)
    monkeypatch.setattr(dockerd, "request", lambda *_: (200, {"DockerRootDir": "/docker", "Driver": "overlay2"}))
    monkeypatch.setattr(dockerd, "_start", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    run()
    assert (home / "marked").exists() == spread
    if spread:
        assert (home / "marked").read_text() == "+T /docker/volumes /docker/overlay2\n"
