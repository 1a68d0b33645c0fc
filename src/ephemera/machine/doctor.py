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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote

from ephemera.contract.errors import EphemeraError, MachineError
from ephemera.home import addresses
from ephemera.home.paths import cache_dir, state_dir
from ephemera.host.engine import DEFAULT_HOST, docker_host, is_local
from ephemera.machine import apt, debian, dockerd, engine_checks, go
from ephemera.machine.prebuilt import base_image, known_mode
from ephemera.machine.scheduler import Step
from ephemera.machine.steps import BASE_IMAGE, ENGINE, LANGUAGE_HOST, PLUGIN, steps
from ephemera.machine.toolchain import ARCHITECTURES, check_programs
from ephemera.machine.venv import pip_command

NEEDED_DISK_BYTES = 6 * 10**9
OLDEST_DOCKER_API = (1, 41)
_PARTS = (ENGINE, LANGUAGE_HOST, PLUGIN)
_MADE = "run `ephemera setup`, which makes it"
_SIGNED = f"install {' and '.join(debian.PACKAGES[1:])}; {_MADE}"
_INDEX_SECONDS = 20
_CONTAINER_SECONDS = 20.0
_POOL = "10.213.0.0/16"
_LABEL = "ephemera.doctor"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One requirement. ``missing``: ephemera makes it when it is needed; ``failed``: somebody has to do something."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str
    remedy: str = ""


def main(argv: Sequence[str], *further: Step) -> int:
    """Print the report; 0 when everything is there, else 5. ``further``: what there has to be besides."""
    parser = argparse.ArgumentParser(prog="ephemera doctor", description="What this machine needs, has and lacks.")
    default = "json" if os.environ.get("EPHEMERA_OUTPUT") == "json" else "table"
    parser.add_argument("--output", choices=("table", "json"), default=default)
    output = parser.parse_args(argv).output
    checks = examine(further)
    ok = all(check.state == "ok" for check in checks)
    if output == "json":
        print(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
    else:
        _print_table(checks)
    return 0 if ok else MachineError.exit_code


def examine(further: Sequence[Step] = ()) -> list[Check]:
    """Return every check, in the order in which a person would put things right."""
    found = [_python(), _architecture()]
    try:
        state_dir(), cache_dir()
    except EphemeraError as error:
        return [*found, _failed("folders", error)]  # all else looks into them
    found += [_access(), _docker(), _disk(), *_engine()]
    try:
        known = steps()
        check_programs()
    except EphemeraError as error:
        return [*found, _package_index(()), _failed("toolchain", error)]
    made = [_made(step) for step in (*(known[name] for name in _PARTS), *further)]
    return [*found, _package_index(made), _go(made), *made, _base_images(known[BASE_IMAGE]), _loopback()]


def _failed(name: str, error: EphemeraError) -> Check:
    return Check(name=name, state="failed", detail=error.message, remedy=error.remedy)


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
    try:
        free = shutil.disk_usage(cache_dir()).free
    except MachineError as error:
        return Check(name="disk", state="failed", detail=error.message, remedy=error.remedy)
    enough = free >= NEEDED_DISK_BYTES
    needed = f"{NEEDED_DISK_BYTES / 1e9:.0f} GB"
    return Check(
        name="disk",
        state="ok" if enough else "failed",
        detail=f"{free / 1e9:.1f} GB free at {cache_dir()}, {needed} are needed once",
        remedy="" if enough else f"free disk space there, or set XDG_CACHE_HOME to a disk with {needed}",
    )


def _engine() -> list[Check]:
    rows = {"engine disk": engine_checks.disk(), "limits": engine_checks.confinement()}
    return [
        Check(name=name, state="ok" if fine else "failed", detail=detail, remedy=remedy)
        for name, (fine, detail, remedy) in rows.items()
    ]


def _package_index(parts: Sequence[Check]) -> Check:
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
    if parts and all(part.state == "ok" for part in parts):
        return Check(name="package index", state="ok", detail=f"nothing has to be downloaded ({said[:200]})")
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


def _base_images(step: Step) -> Check:
    local = known_mode() == "local"
    unchecked = local and not debian.can_check()
    if step.check():
        detail = "the local one is there" if local else "official images are pulled from their registries"
        return Check(name=step.name, state="ok", detail=f"{detail}; {debian.UNCHECKED}" if unchecked else detail)
    detail = "not made yet" if local else "whether a registry answers has not been found out yet"
    if unchecked:
        return Check(name=step.name, state="missing", detail=f"{detail}; {debian.UNCHECKED}", remedy=_SIGNED)
    return Check(name=step.name, state="missing", detail=detail, remedy=_MADE)


def _loopback() -> Check:
    """Publish a port once as environments do: on a loopback address, from a network of its own."""
    name = "loopback publish"
    image = base_image() if is_local() else None
    if image is None:
        return Check(name=name, state="ok", detail="not tried: it needs a local engine and the local base image")
    try:
        reached = _publish_once(image)
    except (OSError, http.client.HTTPException, EphemeraError) as error:
        remedy = "set EPHEMERA_EXPOSE=dynamic, which publishes on 127.0.0.1"
        return Check(name=name, state="failed", detail=str(error), remedy=remedy)
    return Check(name=name, state="ok", detail=f"{reached} was reached")


def _publish_once(image: str) -> str:
    place = _place()
    with socket.socket() as probe:
        probe.bind((place.address, 0))
        port = int(probe.getsockname()[1])
    network = _call(
        "POST",
        "/networks/create",
        {
            "Name": f"ephemera-doctor-{os.getpid()}",
            "Labels": {_LABEL: ""},
            "IPAM": {"Config": [{"Subnet": place.subnet}]},
        },
    )["Id"]
    try:
        _start_and_reach(image, network, place.address, port)
    finally:
        dockerd.request("DELETE", f"/networks/{network}", timeout_seconds=_CONTAINER_SECONDS)
    return f"{place.address}:{port}"


def _place() -> addresses.Allocation:
    """Return a subnet and an address that no environment has."""
    # One that was killed left a network behind.
    _call("POST", f"/networks/prune?filters={quote(json.dumps({'label': [_LABEL], 'until': ['1m']}))}")
    configs = [config for network in _call("GET", "/networks") for config in network["IPAM"]["Config"] or ()]
    occupied = [config["Subnet"] for config in configs if "Subnet" in config]
    pool = os.environ.get("EPHEMERA_SUBNET_POOL") or _POOL
    return addresses.allocate("ephemera-doctor", pool=pool, occupied=occupied, record=False)


def _start_and_reach(image: str, network: str, address: str, port: int) -> None:
    asked = {
        "Image": image,
        "Cmd": ["sleep", str(_CONTAINER_SECONDS)],
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {
            "AutoRemove": True,
            "Init": True,
            "NetworkMode": network,
            "PortBindings": {"80/tcp": [{"HostIp": address, "HostPort": str(port)}]},
        },
    }
    container = _call("POST", "/containers/create", asked)["Id"]
    try:
        _call("POST", f"/containers/{container}/start")
        socket.create_connection((address, port), timeout=2).close()
    finally:
        dockerd.request("DELETE", f"/containers/{container}?force=true", timeout_seconds=_CONTAINER_SECONDS)


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
