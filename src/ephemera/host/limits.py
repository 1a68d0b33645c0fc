"""Limits that an engine takes and ignores: one without cgroups, such as a rootless engine on cgroup v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "CpuCfsQuota": "CPU",
    "PidsLimit": "processes",
}


def ignored(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Limits of ours that mean nothing on the engine that says that of itself; ``info``: its ``/info``."""
    return tuple(name for key, name in _LIMITS.items() if info.get(key) is False)
