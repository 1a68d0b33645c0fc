"""The machine that a result is of."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.tools import Tool

if TYPE_CHECKING:
    from docker import DockerClient


def described(client: DockerClient, tools: Sequence[Tool]) -> dict[str, Any]:
    """Processor, memory, kernel, engine, and versions of what is measured; no name of the machine or its user."""
    engine = client.info()
    processor = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": processor[1] if processor else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "docker": engine["ServerVersion"],
        "storage_driver": engine["Driver"],
        "tools": {tool.name: version for tool in tools if (version := tool.version())},
    }
