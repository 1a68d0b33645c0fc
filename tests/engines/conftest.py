"""Other engines than the machine's own: one in a network of its own behind SSH, which is another machine's to us."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ephemera import images
from ephemera.model.images import EngineImage
from tests.driver_command import Ephemera, ephemera, until
from tests.engine_daemon import PrivateEngine, private_engine

from .person import Person, person

__all__ = ["Ephemera", "ephemera"]

# In one of documentation's networks, which nobody routes; each worker of a run has a machine of its own.
_BLOCK = 4 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_HERE, THERE = f"198.51.100.{_BLOCK + 1}", f"198.51.100.{_BLOCK + 2}"
TLS_PORT = 2376
_NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
_NAME = "build-box"


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A machine that is reached as ``build-box`` over SSH, with an engine. ``folder``: of its SSH server and of ours:
    ``bin`` holds an ``ssh`` that takes its configuration from there instead of the user's home."""

    folder: Path
    engine: PrivateEngine
    namespace: str

    @property
    def url(self) -> str:
        """Address of its engine."""
        return f"ssh://{_NAME}{self.engine.host.removeprefix('unix://')}"

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that make ``ephemera`` use it."""
        return {**self.engine.variables, **self.ssh, "DOCKER_HOST": self.url}

    @property
    def ssh(self) -> dict[str, str]:
        """Environment variables that make programs use our ``ssh``."""
        return {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "XDG_RUNTIME_DIR": str(self.folder),
            "SSH_AUTH_SOCK": "",
        }

    def configure(self, *, user: str = "root", identity: str = "id", known: str = "known") -> None:
        """Write the user's SSH configuration."""
        lines = [
            f"Host {_NAME}",
            f"HostName {THERE}",
            f"User {user}",
            f"IdentityFile {self.folder / identity}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {self.folder / known}",
        ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")

    def connections(self) -> list[psutil.Process]:
        """Processes of ``ssh`` that hold a connection of ours: the sockets in their command lines are in our folder."""
        found = [process for process in psutil.process_iter(["name", "cmdline"]) if process.info["name"] == "ssh"]
        ours = f"{self.folder}/ephemera/"
        return [process for process in found if any(ours in argument for argument in process.info["cmdline"] or ())]

    def inside(self, *command: str) -> list[str]:
        """A command line in its network."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]


@pytest.fixture(scope="session")
def python_image() -> str:
    """Reference of the image that the small project's web system runs on, on the machine's engine."""
    return _reference("python")


@pytest.fixture(scope="session")
def postgres_image() -> str:
    """Reference of the image that its data system runs on."""
    return _reference("postgres")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for sockets, whose paths must be short."""
    with tempfile.TemporaryDirectory(prefix="e-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def user() -> Iterator[Person]:
    """An ordinary user of this machine, made for the run."""
    with person() as made:
        yield made


@pytest.fixture(scope="session")
def machine(python_image: str) -> Iterator[Remote]:
    """Another machine, for all tests of a run."""
    for program, package in (("sshd", "openssh-server"), ("ssh", "openssh-client"), ("ip", "iproute2")):
        assert shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin"), f"install {package} for these tests"
    namespace = f"eng-{secrets.token_hex(3)}"
    folder = Path(tempfile.mkdtemp(prefix="ssh-"))
    try:
        secured = (f"--host=tcp://{THERE}:{TLS_PORT}", *certificates(folder))
        with _network(namespace), private_engine(python_image, namespace=namespace, options=secured) as engine:
            remote = Remote(folder=folder, engine=engine, namespace=namespace)
            with _ssh_server(remote):
                yield remote
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def remote(machine: Remote) -> Iterator[Remote]:
    """That machine, logged in to as it should be; connections of the test are ended."""
    machine.configure()
    yield machine
    for process in machine.connections():
        process.kill()
    shutil.rmtree(machine.folder / "ephemera", ignore_errors=True)


@pytest.fixture
def away(ephemera: Ephemera, remote: Remote) -> Ephemera:
    """The command, with the other machine's engine."""
    ephemera.variables.update(remote.variables)
    return ephemera


def certificates(folder: Path) -> tuple[str, ...]:
    """Make an authority, a certificate of the engine and one of a client in ``folder``/tls, and another authority's in
    ``folder``/other; options of dockerd that ask for them."""
    for name in ("tls", "other"):
        place = folder / name
        place.mkdir()
        _openssl(
            place,
            f"req -x509 {_NEW_KEY} -subj /CN=ca -keyout ca.key -out ca.pem",
        )
        for who, extension in (("server", f"subjectAltName=IP:{THERE}"), ("client", "extendedKeyUsage=clientAuth")):
            (place / f"{who}.ext").write_text(extension)
            key = "key" if who == "client" else "server-key"
            cert = "cert" if who == "client" else "server-cert"
            _openssl(place, f"req {_NEW_KEY} -subj /CN={who} -keyout {key}.pem -out {who}.csr")
            _openssl(
                place,
                f"x509 -req -in {who}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile {who}.ext -out {cert}.pem",
            )
    place = folder / "tls"
    return (
        "--tlsverify",
        f"--tlscacert={place}/ca.pem",
        f"--tlscert={place}/server-cert.pem",
        f"--tlskey={place}/server-key.pem",
    )


def _openssl(folder: Path, arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments.split()], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _reference(name: str) -> str:
    image = EngineImage(name=name)
    return images.ensure([image], images.mode())[image]


@contextmanager
def _network(namespace: str) -> Iterator[None]:
    """A network namespace that is one hop away, and has a loopback of its own."""
    ours, theirs = f"{namespace}-a", f"{namespace}-b"
    _run("ip", "netns", "add", namespace)
    try:
        _run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", namespace)
        _run("ip", "addr", "add", f"{_HERE}/30", "dev", ours)
        _run("ip", "link", "set", ours, "up")
        for command in (f"addr add {THERE}/30 dev {theirs}", f"link set {theirs} up", "link set lo up"):
            _run("ip", "-n", namespace, *command.split())
        yield
    finally:
        _run("ip", "netns", "del", namespace)  # and the link with it


@contextmanager
def _ssh_server(remote: Remote) -> Iterator[None]:
    folder = remote.folder
    for key in ("hostkey", "id", "stranger"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
    folder.chmod(0o711)  # sshd reads the keys as whoever logs in
    (folder / "authorized").write_text((folder / "id.pub").read_text())
    (folder / "known").write_text(f"{THERE} {(folder / 'hostkey.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress {THERE}\nHostKey {folder}/hostkey\nPidFile none\nAuthorizedKeysFile {folder}/authorized\n"
        "StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
    )
    (folder / "bin").mkdir()
    shim = folder / "bin" / "ssh"
    shim.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    shim.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, which Debian's service makes
    log = folder / "sshd.log"
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or ""
    server = subprocess.Popen(remote.inside(sshd, "-D", "-f", f"{folder}/sshd_config", "-E", str(log)))
    try:
        until(lambda: log.exists() and "Server listening" in log.read_text(), 10)
        yield
    finally:
        server.terminate()
        server.wait(10)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
