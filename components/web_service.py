"""A service that answers HTTP in a Python image of ours: the same readiness, health check and end for all of them."""

from __future__ import annotations

from functools import cached_property

import pulumi

from ephemera import Container, HealthCheck, Http, Port, component
from ephemera.contract import declared
from ephemera.contract.errors import InputError


@component
class WebService(Container):
    """A container that is ready when it answers ``GET /health`` with 200.

    Type token ``ephemera:index:WebService``; further arguments as of ``Container``. Refuses (``InputError``) what
    is not the name of a package.
    """

    port: int
    """In the container: endpoint ``http``."""
    health: str = "/health"
    """Path that is answered with 200 when the service is ready."""
    package: str = ""
    """A Python package in the image with a program ``probe``, which is given the port and ends with 0 when ``/health``
    is answered with 200: Docker's own health check, every 10 s, time-out 5 s, 10 retries. Without one there is none,
    unless it is given as for any container."""
    start_period_seconds: float = 15
    """For which a failing health check counts for nothing."""
    stop_grace_seconds: int = 2

    def prepare(self) -> None:
        self.complete(ready=Http(self.health), ports={"http": Port(self.port)})
        if self.package == "":
            return
        if not isinstance(self.package, str) or not all(part.isidentifier() for part in self.package.split(".")):
            raise InputError(
                f"package of {self.name!r} is {declared.shown(self.package)}",
                remedy="it must be a Python package, by its name",
            )
        probe = ["python", "-m", f"{self.package}.probe", str(self.port)]
        self.complete(healthcheck=HealthCheck(probe, start_period_seconds=self.start_period_seconds))

    @cached_property
    def url(self) -> pulumi.Output[str]:
        """URL from inside the network, ``http://<name>:<port>``; known when the service is ready."""
        url = f"http://{self.name}:{self.port}"
        return self.started.apply(lambda _: url)
