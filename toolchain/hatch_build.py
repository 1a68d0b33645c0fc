"""Puts the user's toolchain into the wheel ``ephemera-toolchain``; it is built first where it is missing."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ToolchainHook(BuildHookInterface[Any]):
    """The build hook, by the name that hatchling looks for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  (hatchling's interface)
        """Name the programs, and the platform: static programs run with any C library."""
        sys.path.insert(0, str(Path(self.root).parent / "src"))
        from ephemera.setup import toolchain
        from ephemera.setup.steps import BuiltToolchain
        from ephemera.setup.work import Work

        BuiltToolchain().run(Work("toolchain", self.app.display_info))
        toolchain.located()
        folder, machine = toolchain.toolchain_dir(), os.uname().machine
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_2_17_{machine}.musllinux_1_1_{machine}"
        build_data["force_include"] = {
            str(folder / program): f"ephemera_toolchain/{folder.name}/{program}" for program in toolchain.PROGRAMS
        }
