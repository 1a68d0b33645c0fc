"""A Docker engine of a test's own, which can be killed, filled up or put on another machine without harm to anybody.

It shares nothing with the machine's engine but the kernel: data, sockets, processes and address pools are its own.
Needs root. ``python`` and ``postgres`` get there by :meth:`PrivateEngine.load`, from the machine's engine.
"""

from __future__ import annotations

import ipaddress
import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker
import psutil
from docker.errors import APIError

from ephemera.docker.connection import connected
from ephemera.docker.tunnel import accepts

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05


class PrivateEngine:
    """One ``dockerd``, not started yet.

    ``folder``: short, since sockets are in it; its own and gone at the end. ``disk_mb``: size of the file system that
    its data is on, None for the disk that ``folder`` is on. ``namespace``: name of a network namespace that it runs
    in, like another machine. ``options``: further ones of dockerd. ``pool``: value for ``EPHEMERA_SUBNET_POOL``, so
    that its networks do not collide with the machine's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        disk_mb: int | None = None,
        namespace: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        # The machine's own networks are in 10.213.0.0/16 and Docker's pools, 172.17.0.0/12 and 192.168.0.0/16.
        self.pool = f"10.{random.randint(214, 250)}.{random.randint(0, 15) * 16}.0/20"  # noqa: S311
        self.data = folder / "data"
        self.log = folder / "dockerd.log"
        self._disk_mb = disk_mb
        self._namespace = namespace
        self._options = tuple(options)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._bridge = ""

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that make ``ephemera`` use it."""
        return {"DOCKER_HOST": self.host, "EPHEMERA_SUBNET_POOL": self.pool}

    @property
    def pid(self) -> int:
        """Process id of dockerd."""
        assert self._daemon is not None
        return self._daemon.pid

    def start(self) -> None:
        """Start it, also again after :meth:`kill`, and return when it answers."""
        self.folder.chmod(0o711)  # whether a user may use the socket is for the socket to say
        self._mount()
        inside = ("nsenter", f"--net=/run/netns/{self._namespace}") if self._namespace else ()
        # In the machine's network its rules would take the place of those of the machine's engine. And with
        # --bridge=none it would delete docker0, which is the machine's: so it gets a bridge of its own to stand on.
        alone = () if self._namespace else ("--iptables=false", "--ip-masq=false", f"--bridge={self._own_bridge()}")
        command = [
            *inside,
            "dockerd",
            f"--host={self.host}",
            f"--data-root={self.data}",
            f"--exec-root={self.folder}/run",
            f"--pidfile={self.folder}/dockerd.pid",
            f"--config-file={self.folder}/daemon.json",
            *alone,
            *self._options,
        ]
        (self.folder / "daemon.json").write_text("{}")
        with self.log.open("ab") as output:
            self._daemon = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True
            )
        self._bridged("-I")
        _until(self._answers, _START_SECONDS, lambda: f"dockerd does not answer:\n{self.log.read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL dockerd, as the kernel does when memory is short: its containerd goes with it, containers live on."""
        assert self._daemon is not None
        self._daemon.kill()
        self._daemon.wait(_STOP_SECONDS)

    def restart(self) -> None:
        """Start it again after :meth:`kill`."""
        # Who is not reaped counts as alive for dockerd, and is waited for.
        for pid_file in (self.folder / "dockerd.pid", self.folder / "run" / "containerd" / "containerd.pid"):
            pid_file.unlink(missing_ok=True)
        self.start()

    def load(self, *references: str) -> None:
        """Give it images of the machine's engine."""
        with connected() as machine, self.client() as client:
            for reference in references:
                said = list(client.api.load_image(machine.api.get_image(reference)))
                assert not [each for each in said if "error" in each], said

    @contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        """A client of it."""
        client = docker.DockerClient(base_url=self.host, timeout=60)
        try:
            yield client
        finally:
            client.close()

    def close(self) -> None:
        """End it and remove all of it: containers, bridges, processes, mounts, files."""
        if self._daemon is not None:
            if self._daemon.poll() is not None:
                self.restart()  # only itself knows which bridges are its own
            self._empty()
            self._daemon.terminate()
            try:
                self._daemon.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
            self._bridged("-D")
            if self._bridge:
                _run("ip", "link", "del", self._bridge)
        self._end_processes()
        for mount in reversed([each.mountpoint for each in psutil.disk_partitions(all=True)]):
            if Path(mount).is_relative_to(self.folder):
                _run("umount", "--lazy", mount)
        shutil.rmtree(self.folder)

    def _mount(self) -> None:
        self.data.mkdir(exist_ok=True)
        if self._disk_mb is None or self.data.is_mount():
            return
        disk = self.folder / "disk.img"
        with disk.open("wb") as file:
            file.truncate(self._disk_mb * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-m", "0", str(disk))
        _run("mount", "-o", "loop", str(disk), str(self.data))

    def _own_bridge(self) -> str:
        if not self._bridge:
            # The last of its networks' addresses, which an environment comes to last.
            last = ipaddress.IPv4Network(self.pool).broadcast_address
            self._bridge = f"eng{secrets.token_hex(4)}"
            _run("ip", "link", "add", "name", self._bridge, "type", "bridge")
            _run("ip", "addr", "add", f"{last - 1}/28", "dev", self._bridge)
            _run("ip", "link", "set", self._bridge, "up")
        return self._bridge

    def _bridged(self, action: str) -> None:
        """Let its containers reach each other: the machine's engine has the kernel drop what it does not know."""
        if self._namespace is None and shutil.which("iptables"):
            rule = ("-s", self.pool, "-d", self.pool, "-j", "ACCEPT")
            known = subprocess.run(["iptables", "-C", "FORWARD", *rule], capture_output=True, check=False)
            if (known.returncode == 0) == (action == "-D"):
                _run("iptables", action, "FORWARD", *rule)

    def _answers(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, f"dockerd ended:\n{self.log.read_text()[-2000:]}"
        # Not asked before it listens: docker-py leaves the socket of a failed connection to the collector.
        if not accepts(self.folder / "docker.sock"):
            return False
        with self.client() as client:
            return bool(client.ping())

    def _empty(self) -> None:
        with self.client() as client:
            for container in client.api.containers(all=True):
                client.api.remove_container(container["Id"], v=True, force=True)
            for network in client.api.networks():
                if network["Name"] not in ("bridge", "host", "none"):
                    try:
                        client.api.remove_network(network["Id"])
                    except APIError as error:
                        raise AssertionError(f"network {network['Name']}: {error}") from error

    def _end_processes(self) -> None:
        """containerd and its shims, which outlive a dockerd that was killed; their command lines name our folder."""
        mine = [process for process in psutil.process_iter(["cmdline"]) if self._is_mine(process)]
        for process in mine:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(mine, timeout=_STOP_SECONDS)

    def _is_mine(self, process: psutil.Process) -> bool:
        line = process.info["cmdline"] or [""]
        name = Path(line[0]).name
        return name in ("containerd", "containerd-shim-runc-v2", "docker-proxy") and any(
            str(self.folder) in argument for argument in line
        )


@contextmanager
def private_engine(
    *images: str, disk_mb: int | None = None, namespace: str | None = None, options: Sequence[str] = ()
) -> Iterator[PrivateEngine]:
    """A started engine that has ``images``; everything of it is gone afterwards."""
    assert os.geteuid() == 0, "an engine of one's own needs root: run these tests as root"
    # Not pytest's folder: the path of a socket must be short.
    engine = PrivateEngine(
        Path(tempfile.mkdtemp(prefix="engine-")), disk_mb=disk_mb, namespace=namespace, options=options
    )
    before = _bridge_of_the_machine()
    try:
        engine.start()
        engine.load(*images)
        yield engine
    finally:
        engine.close()
        assert _bridge_of_the_machine() == before, "the machine's engine has lost its bridge docker0"


def _bridge_of_the_machine() -> str:
    index = Path("/sys/class/net/docker0/ifindex")
    return index.read_text() if index.exists() else ""


def _until(true: Callable[[], bool], seconds: float, message: Callable[[], str]) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, message()
        time.sleep(_POLL_SECONDS)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
