from __future__ import annotations

from ephemera.host.limits import ignored


def test_engine_without_cgroups_ignores_all() -> None:
    told = {"MemoryLimit": False, "SwapLimit": False, "CpuCfsQuota": False, "PidsLimit": False}
    assert ignored(told) == ("memory", "swap", "CPU", "processes")


def test_engine_that_holds_them_or_says_nothing() -> None:
    assert ignored({"MemoryLimit": True, "PidsLimit": True}) == ()
    assert ignored({}) == ()
