"""A service that answers HTTP: the same readiness, health check and grace period for all of them."""

from __future__ import annotations

from functools import cached_property

import pulumi

from ephemera import Container, HealthCheck, Http, Port, component
from ephemera.model import declared


@component
class WebService(Container):
    """A container that is ready when it answers ``GET /health`` with 200.

    Type token ``ephemera:index:WebService``; further arguments as of ``Container``. Raises ``InputError`` for a
    ``package`` that is not the name of one.
    """

    port: int
    """In the container, published as endpoint ``http``."""
    health: str = "/health"
    """Path that answers 200 when the service is ready."""
    package: str = ""
    """A Python package in the image with a program ``probe``, which takes the port and exits with 0 if ``/health``
    answers 200: Docker's own health check, every 10 s, timeout 5 s, 10 retries. Without a package, the container has
    the ``healthcheck`` that it is given."""
    start_period_seconds: float = 15
    """Seconds for which failing health checks do not count."""
    stop_grace_seconds: int = 2

    def prepare(self) -> None:
        self.complete(ready=Http(self.health), ports={"http": Port(self.port)})
        if self.package == "":
            return
        fits = isinstance(self.package, str) and all(part.isidentifier() for part in self.package.split("."))
        declared.require(fits, f"package of {self.name!r}", self.package, "a Python package, by its name")
        probe = ["python", "-m", f"{self.package}.probe", str(self.port)]
        self.complete(healthcheck=HealthCheck(probe, start_period_seconds=self.start_period_seconds))

    @cached_property
    def url(self) -> pulumi.Output[str]:
        """URL from inside the network, ``http://<name>:<port>``; known when the service is ready."""
        url = f"http://{self.name}:{self.port}"
        return self.started.apply(lambda _: url)
