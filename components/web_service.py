"""A service that answers HTTP in a Python image of ours: the same readiness, health check and end for all of them."""

from __future__ import annotations

from ephemera import Container, HealthCheck, Http, Port, component
from ephemera.contract import declared
from ephemera.contract.errors import InputError


@component
class WebService(Container):
    """A container that is ready when it answers ``GET /health`` with 200.

    Type token ``ephemera:index:WebService``; further arguments as of ``Container``. Health check every 10 s, time-out
    5 s, 10 retries, unless another one is given. Refuses (``InputError``) what is not the name of a package.
    """

    package: str
    """The Python package of the service. It has a program ``probe`` that is given the port and ends with 0 when
    ``/health`` is answered with 200: a means that the image has, where it has no curl."""
    port: int
    """In the container: endpoint ``http``."""
    start_period_seconds: float = 15
    """For which a failing health check counts for nothing."""
    stop_grace_seconds: int = 2

    def prepare(self) -> None:
        if not isinstance(self.package, str) or not all(part.isidentifier() for part in self.package.split(".")):
            raise InputError(
                f"package of {self.name!r} is {declared.shown(self.package)}",
                remedy="it must be a Python package, by its name",
            )
        self.complete(
            ready=Http("/health"),
            ports={"http": Port(self.port)},
            healthcheck=HealthCheck(
                ["python", "-m", f"{self.package}.probe", str(self.port)],
                start_period_seconds=self.start_period_seconds,
            ),
        )
