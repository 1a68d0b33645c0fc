"""Several environments beside each other, and all that this machine showed while they came up."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from docker import DockerClient

from ephemera.model.outputs import EnvironmentOutputs
from tests.driver_command import Done, Ephemera

_CHECKOUT = Path(__file__).resolve().parents[2]
_PARTS = ("Pulumi.yaml", "__main__.py", "pyproject.toml", "components", "stacks", "services")
_LITTER = shutil.ignore_patterns(".ephemera", "__pycache__", "Pulumi.*.yaml", ".pytest_cache", "tests")
_MAIN = "from vault import vault\n\nfrom ephemera import run\n\nrun(vault)\n"
_LOOK_INTERVAL_SECONDS = 0.1


@dataclass(frozen=True)
class Socket:
    """Something that listens in the machine's own network: ``process``, its command line."""

    address: str
    port: int
    kind: str
    process: str


@dataclass
class Watch:
    """Looks at every process and every listening socket of the machine, again and again, in a thread of its own."""

    ours: Callable[[psutil.Process], bool]
    commands: set[bytes] = field(default_factory=set)
    environments: dict[tuple[int, bytes], bool] = field(default_factory=dict)
    """By process and content of its environment: whether it runs in a container."""
    sockets: set[Socket] = field(default_factory=set)
    """Of our processes and of Docker's proxies, beyond loopback."""
    looks: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._before = {(each.laddr, each.type) for each in listening()}
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_LOOK_INTERVAL_SECONDS):
            self.looks += 1
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self.commands.add((folder / "cmdline").read_bytes())
                    variables = (folder / "environ").read_bytes()
                    if (int(folder.name), variables) not in self.environments:
                        contained = b"docker" in (folder / "cgroup").read_bytes()
                        self.environments[int(folder.name), variables] = contained
            for each in listening():
                if (each.laddr, each.type) not in self._before and not is_loopback(each.laddr.ip):
                    with suppress(psutil.Error):
                        self._note(each)

    def _note(self, each: Any) -> None:
        # One that has no process by now was seen with it a look earlier, or lived for less than a look.
        process = psutil.Process(each.pid) if each.pid else None
        if process is not None and (process.name() == "docker-proxy" or self.ours(process)):
            self.sockets.add(Socket(each.laddr.ip, each.laddr.port, each.type.name, " ".join(process.cmdline())))


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it, as IPv6 writes IPv4 too."""
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def listening() -> list[Any]:
    """Every socket of the machine's network namespace that takes what comes: TCP listeners, unconnected UDP."""
    found = psutil.net_connections(kind="inet")
    return [
        each
        for each in found
        if each.status == psutil.CONN_LISTEN or (each.type.name == "SOCK_DGRAM" and not each.raddr)
    ]


@dataclass
class World:
    """``tasker`` (which has olav too), ``shop``, ``vault``: commands in checkouts of one user. ``watch``: what was seen
    as they came up.
    ``said``: everything that commands printed. ``searched``: by place, number and bytes of what was searched."""

    tasker: Ephemera
    shop: Ephemera
    vault: Ephemera
    watch: Watch
    said: list[tuple[str, Done]]
    client: DockerClient
    searched: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The user's state."""
        return self.tasker.state / "ephemera"

    def command(self, ephemera: Ephemera, *arguments: str) -> Done:
        """Run it, and remember what it said."""
        done = ephemera(*arguments)
        self.said.append((" ".join(arguments), done))
        return done

    @property
    def environments(self) -> tuple[tuple[Ephemera, str], ...]:
        """Every environment that stays, as the command of its checkout, and its system."""
        return (self.tasker, "tasker"), (self.tasker, "olav"), (self.shop, "data"), (self.vault, "vault")

    def up(self, ephemera: Ephemera, system: str, *arguments: str) -> Done:
        """Bring an environment up; it has to become ready."""
        done = self.command(ephemera, "up", system, "--output", "json", *arguments)
        assert done.code == 0, done.err + done.out
        return done

    def outputs(self, ephemera: Ephemera, system: str) -> EnvironmentOutputs:
        """Outputs with credentials; not remembered."""
        return EnvironmentOutputs.parse(ephemera("outputs", ephemera.stack(system), "--show-secrets").json)

    def containers(self, *systems: str) -> dict[str, dict[str, Any]]:
        """What the engine says of the containers of those systems, by name; of all of this user's without any."""
        labels = [f"ephemera.backend={self.tasker.backend}"]
        listed = self.client.api.containers(all=True, filters={"label": labels})
        return {
            item["Names"][0].lstrip("/"): self.client.api.inspect_container(item["Id"])
            for item in listed
            if not systems or item["Labels"]["ephemera.system"] in systems
        }

    def execute(self, container: str, command: Sequence[str], data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command in a container, as the container's own user."""
        return subprocess.run(
            ["docker", "exec", "-i", container, *command], input=data, capture_output=True, timeout=120, check=False
        )


def bring_up(folder: Path, ephemera: Ephemera, client: DockerClient) -> World:
    """tasker with all its profiles, olav, the small project's database, a service with a secret, watched all along."""
    tasker = _other(ephemera, _copied(folder / "tasker"))
    vault = _other(ephemera, _vault(folder / "vault"))
    own = os.environ | dict(ephemera.variables)

    def ours(process: psutil.Process) -> bool:
        return process.environ().get("XDG_STATE_HOME") == own["XDG_STATE_HOME"]

    with Watch(ours) as watch:
        world = World(tasker, ephemera, vault, watch, [], client)
        world.up(tasker, "tasker", "--profile", "scale")
        world.up(tasker, "olav")
        world.up(ephemera, "data")
        world.up(vault, "vault")
    return world


def _other(ephemera: Ephemera, project: Path) -> Ephemera:
    return Ephemera(project, ephemera.state, ephemera.variables, ephemera.started)


def _copied(folder: Path) -> Path:
    """A checkout of this project of its own, without tests."""
    for part in _PARTS:
        source, target = _CHECKOUT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_LITTER)
        else:
            shutil.copy(source, target)
    return folder


def _vault(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("vault.py"), folder)
    (folder / "__main__.py").write_text(_MAIN)
    (folder / "Pulumi.yaml").write_text("name: vault\nruntime: python\n")
    (folder / "pyproject.toml").write_text('[tool.ephemera]\ncatalog = "vault:vault"\n')
    (folder / "pytest.ini").write_text("")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_vault.py").write_text(_FAILING_TEST)
    return folder


_FAILING_TEST = """
def test_that_fails(environment):
    outputs = environment.outputs
    service = outputs.service("vault")
    print(environment, outputs, service.credentials, outputs.document(), dict(outputs.variables()))
    assert service == outputs, f"{service!r} is not {outputs}"
"""


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below, by name."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()


def printed(said: Iterable[tuple[str, Done]]) -> Iterator[tuple[str, bytes]]:
    """What commands printed."""
    for name, done in said:
        yield f"{name} (standard output)", done.out.encode()
        yield f"{name} (standard error)", done.err.encode()


def as_json(document: Any) -> bytes:
    """As bytes to search."""
    return json.dumps(document).encode()
