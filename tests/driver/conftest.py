"""The command under test, for every test of this folder."""

from __future__ import annotations

from tests.driver_command import Ephemera, checkout, ephemera

__all__ = ["Ephemera", "checkout", "ephemera"]

collect_ignore = ["project"]
