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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from ephemera.contract import labels
from ephemera.contract.errors import EphemeraError, MachineError
from ephemera.home.paths import cache_dir, state_dir
from ephemera.host.engine import DEFAULT_HOST, docker_host, is_local
from ephemera.machine import apt, dockerd, go
from ephemera.machine.scheduler import Step
from ephemera.machine.venv import VirtualEnvironment, pip_command

NEEDED_DISK_BYTES = 6 * 10**9
OLDEST_DOCKER_API = (1, 41)
ARCHITECTURES = ("x86_64", "amd64", "aarch64", "arm64")
_MADE = "run any ephemera command, which makes it"
_INDEX_SECONDS = 20
_CONTAINER_SECONDS = 20.0
_LOOPBACK_ADDRESS = "127.83.255.253"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement. ``missing``: ephemera makes it when it is needed; ``failed``: somebody has to do something."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str
    remedy: str = ""


def main(project: Path, steps: Callable[[], dict[str, Step]], argv: Sequence[str]) -> int:
    """Print the report; 0 when everything is there, else 5. ``steps``: the launcher's, by name."""
    parser = argparse.ArgumentParser(prog="ephemera doctor", description="What this machine needs, has and lacks.")
    default = "json" if os.environ.get("EPHEMERA_OUTPUT") == "json" else "table"
    parser.add_argument("--output", choices=("table", "json"), default=default)
    output = parser.parse_args(argv).output
    checks = examine(project, steps)
    ok = all(check.state == "ok" for check in checks)
    if output == "json":
        print(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
    else:
        _print_table(checks)
    return 0 if ok else MachineError.exit_code


def examine(project: Path, steps: Callable[[], dict[str, Step]]) -> list[Check]:
    """Every check, in the order in which a person would put things right."""
    found = [_python(), _architecture(), _access(), _docker(), _disk(), _package_index()]
    try:
        made = steps()
    except EphemeraError as error:
        return [*found, Check(name="toolchain", state="failed", detail=error.message, remedy=error.remedy)]
    parts = [_made(made[name]) for name in ("engine", "language host", "docker plugin")]
    return [*found, _go(parts), *parts, _made(VirtualEnvironment(project)), _base_images(), _loopback()]


def _python() -> Check:
    # An older one does not get here: the launcher says so.
    return Check(name="python", state="ok", detail=f"{sys.version.split()[0]} at {sys.executable}")


def _architecture() -> Check:
    machine = os.uname().machine
    state: Literal["ok", "failed"] = "ok" if machine in ARCHITECTURES else "failed"
    return Check(name="architecture", state=state, detail=machine, remedy="" if state == "ok" else "use amd64 or arm64")


def _access() -> Check:
    if os.geteuid() == 0:
        return Check(name="access", state="ok", detail="root")
    problem = dockerd.answers()
    if problem is None:
        return Check(name="access", state="ok", detail=f"may use Docker at {docker_host()}")
    return Check(
        name="access",
        state="failed",
        detail=f"neither root nor allowed to use Docker ({problem})",
        remedy="run `sudo usermod -aG docker $USER` and log in again",
    )


def _docker() -> Check:
    try:
        status, version = dockerd.request("GET", "/version")
    except (OSError, http.client.HTTPException, MachineError) as error:
        can_be_made = (
            os.geteuid() == 0 and (shutil.which("dockerd") or apt.available()) and docker_host() == DEFAULT_HOST
        )
        return Check(
            name="docker",
            state="missing" if can_be_made else "failed",
            detail=f"no engine answers ({error})",
            remedy=_MADE if can_be_made else "install and start Docker Engine, or set DOCKER_HOST",
        )
    if status != http.client.OK or not version:
        return Check(name="docker", state="ok", detail=f"{docker_host()}, asked by Docker's own client")
    api = tuple(int(part) for part in version["ApiVersion"].split("."))
    detail = f"{version['Version']} (API {version['ApiVersion']}) at {docker_host()}"
    if api < OLDEST_DOCKER_API:
        return Check(name="docker", state="failed", detail=detail, remedy="upgrade to Docker 20.10 or newer")
    return Check(name="docker", state="ok", detail=detail)


def _disk() -> Check:
    free = shutil.disk_usage(cache_dir()).free
    enough = free >= NEEDED_DISK_BYTES
    needed = f"{NEEDED_DISK_BYTES / 1e9:.0f} GB"
    return Check(
        name="disk",
        state="ok" if enough else "failed",
        detail=f"{free / 1e9:.1f} GB free at {cache_dir()}, {needed} are needed once",
        remedy="" if enough else f"free disk space there, or set XDG_CACHE_HOME to a disk with {needed}",
    )


def _package_index() -> Check:
    try:
        command, env = pip_command()
        asked = [
            *command,
            "index",
            "versions",
            "pip",
            "--disable-pip-version-check",
            "--timeout",
            "5",
            "--retries",
            "0",
        ]
        result = subprocess.run(asked, env=env, capture_output=True, text=True, timeout=_INDEX_SECONDS)
    except MachineError as error:
        return Check(name="package index", state="failed", detail=error.message, remedy=error.remedy)
    except subprocess.TimeoutExpired:
        result = None
    if result is not None and result.returncode == 0:
        return Check(name="package index", state="ok", detail="answers")
    said = "no answer" if result is None else (result.stderr.strip().splitlines() or ["no answer"])[-1]
    return Check(
        name="package index",
        state="failed",
        detail=said[:200],
        remedy="check the network, the proxy settings and `pip config list`",
    )


def _go(parts: Sequence[Check]) -> Check:
    if found := go.executable():
        return Check(name="go", state="ok", detail=str(found))
    if all(part.state == "ok" for part in parts):
        return Check(name="go", state="ok", detail="not there, and nothing has to be built")
    return Check(name="go", state="missing", detail="needed to build engine and plugin", remedy=_MADE)


def _made(step: Step) -> Check:
    if step.check():
        return Check(name=step.name, state="ok", detail="there")
    return Check(name=step.name, state="missing", detail="not made yet", remedy=_MADE)


def _base_images() -> Check:
    name = "base images"
    try:
        known = json.loads((state_dir() / "machine.json").read_text()).get("images")
    except (OSError, ValueError):
        known = None
    mode = os.environ.get("EPHEMERA_IMAGES") or known
    if mode == "registry":
        return Check(name=name, state="ok", detail="official images are pulled from their registries")
    if _base_image():
        return Check(name=name, state="ok", detail="the local base image is there")
    detail = "not made yet" if mode == "local" else "whether a registry answers has not been found out yet"
    return Check(name=name, state="missing", detail=detail, remedy=_MADE)


def _base_image() -> str | None:
    """Id of a base image of ours that the engine has."""
    filters = quote(json.dumps({"label": [f"{labels.IMAGE}=base"]}))
    try:
        _, images = dockerd.request("GET", f"/images/json?filters={filters}")
    except (OSError, http.client.HTTPException, MachineError):
        return None
    return str(images[0]["Id"]) if images else None


def _loopback() -> Check:
    """Publish a port once on an address like those that environments get."""
    name = "loopback publish"
    image = _base_image() if is_local() else None
    if image is None:
        return Check(name=name, state="ok", detail="not tried: it needs a local engine and the local base image")
    try:
        port = _publish_once(image)
    except (OSError, http.client.HTTPException, MachineError) as error:
        remedy = "set EPHEMERA_EXPOSE=dynamic, which publishes on 127.0.0.1"
        return Check(name=name, state="failed", detail=f"{_LOOPBACK_ADDRESS}: {error}", remedy=remedy)
    return Check(name=name, state="ok", detail=f"{_LOOPBACK_ADDRESS}:{port} was reached")


def _publish_once(image: str) -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK_ADDRESS, 0))
        port = int(probe.getsockname()[1])
    asked = {
        "Image": image,
        "Cmd": ["sleep", str(_CONTAINER_SECONDS)],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {
            "AutoRemove": True,
            "Init": True,
            "PortBindings": {"80/tcp": [{"HostIp": _LOOPBACK_ADDRESS, "HostPort": str(port)}]},
        },
    }
    container = _call("POST", "/containers/create", asked)["Id"]
    try:
        _call("POST", f"/containers/{container}/start")
        socket.create_connection((_LOOPBACK_ADDRESS, port), timeout=2).close()
    finally:
        dockerd.request("DELETE", f"/containers/{container}?force=true", timeout_seconds=_CONTAINER_SECONDS)
    return port


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
