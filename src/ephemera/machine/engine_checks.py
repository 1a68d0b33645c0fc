"""What doctor asks the Docker engine about itself: the disk that it fills, and the limits that it ignores."""

from __future__ import annotations

import http.client
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ephemera.contract.errors import MachineError
from ephemera.host import limits
from ephemera.host.configured import configured
from ephemera.machine import dockerd

NEEDED_ENGINE_BYTES = 3 * 10**9
"""The largest system's images, with what their builds need on top."""

Row = tuple[bool, str, str]
"""Whether it is as it should be, the detail, and the remedy."""


def disk() -> Row:
    """Check the free space where the engine keeps images, containers and volumes."""
    try:
        folder = Path(_info()["DockerRootDir"])
        if configured().reach != "here":
            return True, f"not known: {folder} is on the engine's machine", ""
        free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    except (OSError, KeyError, http.client.HTTPException, MachineError) as error:
        return True, f"not known ({error})", ""
    detail = f"{free / 1e9:.1f} GB free at {folder}"
    if free >= NEEDED_ENGINE_BYTES:
        return True, detail, ""
    wanted = f"{NEEDED_ENGINE_BYTES / 1e9:.0f} GB"
    return False, f"{detail}, {wanted} are needed", "drop what is not used: `ephemera images prune`, `docker system df`"


def confinement() -> Row:
    """Check which limits of containers the engine takes and ignores."""
    try:
        info = _info()
    except (OSError, http.client.HTTPException, MachineError) as error:
        return True, f"not known ({error})", ""
    without = limits.ignored(info)
    if not without:
        return True, "memory, CPU and processes are limited", ""
    rootless = any("name=rootless" in option for option in info.get("SecurityOptions") or ())
    kind = "this rootless engine" if rootless else "this engine"
    remedy = "boot with cgroup v2 and delegate its controllers to the user" if rootless else "see `docker info`"
    return True, f"{kind} ignores limits of {', '.join(without)}", remedy


def _info() -> Mapping[str, Any]:
    if configured().reach == "ssh":
        raise MachineError("the engine is behind SSH")
    status, answer = dockerd.request("GET", "/info")
    if status != http.client.OK or not isinstance(answer, dict) or not answer:
        raise MachineError(f"the engine's answer was {status}")
    return answer
