"""The environment of a suite that runs in its network, under the names that suites import from elsewhere outside."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from ephemera.contract.errors import UnknownNameError
from ephemera.contract.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.inside.reaching import ReachableEnvironment


class RunningEnvironment(ReachableEnvironment):
    """What :class:`ephemera.plugin.running.RunningEnvironment` is outside; what needs the Docker engine there skips."""

    def __init__(self, outputs: EnvironmentOutputs, declared: tuple[str, ...]) -> None:
        super().__init__(outputs)
        self._declared = declared

    def service(self, name: str) -> Service:
        """A service: its outputs, and nothing that only the Docker engine can do."""
        return Service(name, self.outputs.service(name))

    def require(self, name: str) -> Service:
        """The service, if this environment has it; else the test is skipped."""
        if name in self.outputs.services:
            return self.service(name)
        if name not in self._declared:
            raise UnknownNameError(f"service of system {self.system!r}", name, self._declared)
        pytest.skip(f"no service: {self.stack} has no {name!r}")

    def database(self, *_: Any, **__: Any) -> NoReturn:
        """Outside only."""
        __tracebackhide__ = True
        skip("environment.database()")

    def reset(self, *_: str) -> NoReturn:
        """Outside only."""
        __tracebackhide__ = True
        skip("environment.reset()")

    def remember(self) -> NoReturn:
        """Outside only."""
        __tracebackhide__ = True
        skip("environment.remember()")

    def evidence(self, *_: Any) -> NoReturn:
        """Outside only; it is taken there when the run has failed."""
        __tracebackhide__ = True
        skip("environment.evidence()")


class Service:
    """What can be known of a service inside. Any other attribute of a handle skips the test."""

    def __init__(self, name: str, outputs: ServiceOutputs) -> None:
        self.name = name
        self.outputs = outputs

    def __getattr__(self, name: str) -> NoReturn:
        __tracebackhide__ = True
        if name.startswith("_"):  # asked for by Python itself, or by a debugger
            raise AttributeError(name)
        skip(f"{name} of service {self.name!r}")


class EnvironmentFactory:
    """Named in annotations; the fixture that gives one skips the test."""


def skip(what: str) -> NoReturn:
    """Skip the running test, where it asks for that."""
    __tracebackhide__ = True
    pytest.skip(f"in the network: {what} needs the Docker engine, which is not reached from inside")
