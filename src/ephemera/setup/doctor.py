"""``ephemera doctor``: every requirement, its state and its remedy, on a machine where nothing needs to be ready."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ephemera.docker.address import configured
from ephemera.docker.connection import DEFAULT_HOST, docker_host, is_local
from ephemera.home.paths import cache_dir, state_dir
from ephemera.host import limits
from ephemera.model.errors import EphemeraError, MachineError
from ephemera.setup import apt, dockerd, go
from ephemera.setup.scheduler import Step
from ephemera.setup.steps import BaseImage, BuiltToolchain, base_image, known_mode
from ephemera.setup.toolchain import ARCHITECTURES
from ephemera.setup.venv import pip_command

NEEDED_DISK_BYTES = 6 * 10**9
NEEDED_ENGINE_BYTES = 3 * 10**9
"""The largest system's images, with what their builds need on top."""
OLDEST_DOCKER_API = (1, 41)
_MADE = "run `ephemera setup`, which makes it"
_INDEX_SECONDS = 20
_CONTAINER_SECONDS = 20.0
_ADDRESS = "127.83.255.254"
_REFUSED = (OSError, http.client.HTTPException, EphemeraError)
"""Errors of asking the Docker engine."""


@dataclass(frozen=True)
class Check:
    """One requirement. ``missing``: ephemera makes it when it is needed; ``failed``: only a person can mend it."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str
    remedy: str = ""


def main(argv: Sequence[str], *further: Step) -> int:
    """Print the report; return 0 if `up` can use this machine, else 5. ``further``: steps to check besides."""
    parser = argparse.ArgumentParser(prog="ephemera doctor", description="What this machine needs, has and lacks.")
    default = "json" if os.environ.get("EPHEMERA_OUTPUT") == "json" else "table"
    parser.add_argument("--output", choices=("table", "json"), default=default)
    output = parser.parse_args(argv).output
    checks = examine(further)
    ok = all(check.state != "failed" for check in checks)
    if output == "json":
        print(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
    else:
        _print_table(checks)
    return 0 if ok else MachineError.exit_code


def examine(further: Sequence[Step] = ()) -> list[Check]:
    """Return every check, in the order in which a person would put things right."""
    # The launcher has refused an older Python.
    found = [Check("python", "ok", f"{sys.version.split()[0]} at {sys.executable}"), _architecture()]
    try:
        state_dir(), cache_dir()
    except EphemeraError as error:
        return [*found, _failed("folders", error)]  # everything else looks into them
    made = [_made(step) for step in (BuiltToolchain(), *further)]
    found += [_access(), _docker(), _disk(made), *_engine(), _package_index(made), _go(made[0])]
    return [*found, *made, _base_images(), _loopback()]


def _failed(name: str, error: EphemeraError) -> Check:
    return Check(name, "failed", error.message, error.remedy)


def _architecture() -> Check:
    machine = os.uname().machine
    if machine in ARCHITECTURES:
        return Check("architecture", "ok", machine)
    return Check("architecture", "failed", machine, "use amd64 or arm64")


def _access() -> Check:
    if os.geteuid() == 0:
        return Check("access", "ok", "root")
    if (problem := dockerd.answers()) is None:
        return Check("access", "ok", f"may use Docker at {docker_host()}")
    return Check("access", "failed", f"neither root nor allowed to use Docker ({problem})", dockerd.MAY_NOT_USE)


def _docker() -> Check:
    try:
        status, version = dockerd.request("GET", "/version")
    except _REFUSED as error:
        detail = f"no engine answers ({error})"
        if os.geteuid() == 0 and (shutil.which("dockerd") or apt.available()) and docker_host() == DEFAULT_HOST:
            return Check("docker", "missing", detail, _MADE)
        return Check("docker", "failed", detail, "install and start Docker Engine, or set DOCKER_HOST")
    if status != http.client.OK or not version:
        return Check("docker", "ok", f"{docker_host()}, asked by Docker's own client")
    detail = f"{version['Version']} (API {version['ApiVersion']}) at {docker_host()}"
    if tuple(int(part) for part in version["ApiVersion"].split(".")) < OLDEST_DOCKER_API:
        return Check("docker", "failed", detail, "upgrade to Docker 20.10 or newer")
    return Check("docker", "ok", detail)


def _disk(made: Sequence[Check]) -> Check:
    if all(part.state == "ok" for part in made):
        return Check("disk", "ok", f"nothing has to be made in {cache_dir()}")
    remedy = "free disk space there, or set XDG_CACHE_HOME to a bigger disk"
    return _room("disk", cache_dir(), NEEDED_DISK_BYTES, remedy)


def _room(name: str, folder: Path, needed_bytes: int, remedy: str) -> Check:
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    detail = f"{free / 1e9:.1f} GB free at {folder}, {needed_bytes / 1e9:.0f} GB are needed"
    return Check(name, "ok", detail) if free >= needed_bytes else Check(name, "failed", detail, remedy)


def _engine() -> list[Check]:
    """Check the disk that the engine fills, and which limits of containers it accepts and ignores."""
    try:
        if configured().reach == "ssh":
            raise MachineError("the engine is behind SSH")
        status, info = dockerd.request("GET", "/info")
        if status != http.client.OK or not isinstance(info, dict) or not info:
            raise MachineError(f"the engine's answer was {status}")
        return [_engine_disk(Path(info["DockerRootDir"])), _limits(info)]
    except (*_REFUSED, KeyError) as error:
        return [Check(name, "ok", f"not known ({error})") for name in ("engine disk", "limits")]


def _engine_disk(folder: Path) -> Check:
    if configured().reach != "here":
        return Check("engine disk", "ok", f"not known: {folder} is on the engine's machine")
    remedy = "drop what is not used: `ephemera images prune`, `docker system df`"
    return _room("engine disk", folder, NEEDED_ENGINE_BYTES, remedy)


def _limits(info: Mapping[str, Any]) -> Check:
    if not (without := limits.ignored(info)):
        return Check("limits", "ok", "memory, CPU and processes are limited")
    rootless = any("name=rootless" in option for option in info.get("SecurityOptions") or ())
    kind = "this rootless engine" if rootless else "this engine"
    remedy = "boot with cgroup v2 and delegate its controllers to the user" if rootless else "see `docker info`"
    return Check("limits", "ok", f"{kind} ignores limits of {', '.join(without)}", remedy)


def _package_index(made: Sequence[Check]) -> Check:
    name, said = "package index", "no answer"
    try:
        command, env = pip_command()
        options = ("--disable-pip-version-check", "--timeout", "5", "--retries", "0")
        asked = subprocess.run(
            [*command, "index", "versions", "pip", *options],
            env=env, capture_output=True, text=True, timeout=_INDEX_SECONDS,
        )  # fmt: skip
        if asked.returncode == 0:
            return Check(name, "ok", "answers")
        said = (asked.stderr.strip().splitlines() or [said])[-1][:200]
    except MachineError as error:
        return _failed(name, error)
    except subprocess.TimeoutExpired:
        pass
    if all(part.state == "ok" for part in made):
        return Check(name, "ok", f"nothing has to be downloaded ({said})")
    return Check(name, "failed", said, "check the network, the proxy settings and `pip config list`")


def _go(toolchain: Check) -> Check:
    if found := go.executable():
        return Check("go", "ok", str(found))
    if toolchain.state == "ok":
        return Check("go", "ok", "not there, and nothing has to be built")
    return Check("go", "missing", "needed to build the toolchain", _MADE)


def _made(step: Step) -> Check:
    try:
        return Check(step.name, "ok", "there") if step.check() else Check(step.name, "missing", "not made yet", _MADE)
    except EphemeraError as error:
        return _failed(step.name, error)


def _base_images() -> Check:
    step, local = BaseImage(), known_mode() == "local"
    unchecked = f"; {apt.UNCHECKED}" if local and not apt.checks_signatures() else ""
    if step.check():
        detail = "the local one is there" if local else "official images are pulled from their registries"
        return Check(step.name, "ok", f"{detail}{unchecked}")
    detail = "not made yet" if local else "whether a registry answers has not been found out yet"
    remedy = f"install {' and '.join(apt.DEBOOTSTRAP[1:])}; {_MADE}" if unchecked else _MADE
    return Check(step.name, "missing", f"{detail}{unchecked}", remedy)


def _loopback() -> Check:
    """Publish a port once as environments do, on a loopback address of its own."""
    name = "loopback publish"
    if not is_local() or (image := base_image()) is None:
        return Check(name, "ok", "not tried: it needs a local engine and the local base image")
    try:
        return Check(name, "ok", f"{_publish_once(image)} was reached")
    except _REFUSED as error:
        return Check(name, "failed", str(error), "set EPHEMERA_EXPOSE=dynamic, which publishes on 127.0.0.1")


def _publish_once(image: str) -> str:
    with socket.socket() as probe:
        probe.bind((_ADDRESS, 0))
        port = int(probe.getsockname()[1])
    host = {
        "AutoRemove": True,
        "Init": True,
        "PortBindings": {"80/tcp": [{"HostIp": _ADDRESS, "HostPort": str(port)}]},
    }
    command = ["sleep", str(_CONTAINER_SECONDS)]  # one that is left behind ends by itself
    document = {"Image": image, "Cmd": command, "ExposedPorts": {"80/tcp": {}}, "HostConfig": host}
    container = f"/containers/{_call('POST', '/containers/create', document)['Id']}"
    try:
        _call("POST", f"{container}/start")
        socket.create_connection((_ADDRESS, port), timeout=2).close()
    finally:
        dockerd.request("DELETE", f"{container}?force=true", timeout_seconds=_CONTAINER_SECONDS)
    return f"{_ADDRESS}:{port}"


def _call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    status, answer = dockerd.request(method, path, body, timeout_seconds=_CONTAINER_SECONDS)
    if status >= http.client.BAD_REQUEST:
        raise MachineError((answer or {}).get("message", f"the engine answered with {status}"))
    return answer


def _print_table(checks: Sequence[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{check.name:<{width}}  {check.state:<7}  {check.detail}")
        if check.remedy:
            print(f"{'':<{width}}  {'':<7}  → {check.remedy}")
