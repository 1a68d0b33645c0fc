"""Counts of a run, as pytest's own summary has them."""

from __future__ import annotations

from collections import Counter

import pytest


class Counting:
    """Counts what is reported, in pytest's own categories."""

    def __init__(self, config: pytest.Config, counts: Counter[str]) -> None:
        self._config = config
        self._counts = counts

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        status = self._config.hook.pytest_report_teststatus(report=report, config=self._config)
        category = status[0] if status else report.outcome  # nobody answers without the terminal plugin
        if category:
            self._counts["errors" if category == "error" else category] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._counts["errors"] += 1
