"""Redis: one server with a generated password, in memory or with its data on a volume of the environment."""

from __future__ import annotations

from functools import cached_property

import pulumi

from ephemera import Container, HealthCheck, Port, RedisProbe, component
from ephemera.model import declared
from ephemera.model.images import AnyImage, EngineImage

_DATA = "/data"
_PORT = 6379
_IMAGE = EngineImage(name="redis")
_PASSWORD = "REDISCLI_AUTH"  # noqa: S105 - the name of a variable
# No command line has the password, since every user of the machine can read it. redis-cli reads this variable.
_SERVE = 'exec redis-server - <<END\nrequirepass $REDISCLI_AUTH\nsave ""\nappendonly {appendonly}\nEND\n'


@component
class Redis(Container):
    """A Redis server.

    Type token ``ephemera:index:Redis``; further arguments as of ``Container``. Makes a ``Volume`` if it is persistent.
    Publishes port 6379 as endpoint ``redis``. Ready when it answers ``PING``; health check ``redis-cli ping`` every
    5 s, timeout 3 s, 10 retries, start 10 s. The password is generated per environment, in the outputs as ``password``.
    Raises ``InputError`` for the variable that holds it, ``REDISCLI_AUTH``.
    """

    image: AnyImage = _IMAGE
    """An image with the official image's interface."""
    persistent: bool = False
    """Keep data on a volume, as an append-only file; otherwise a restart loses it."""
    memory_mb: int = 128

    def prepare(self) -> None:
        declared.expect(f"persistent of {self.name!r}", self.persistent, bool, "True or False")
        password = self.environment.credential(self.name, "password")
        self.complete(
            ready=RedisProbe(),
            ports={"redis": Port(_PORT, scheme="redis", path="/0")},
            variables={_PASSWORD: password},
            command=["sh", "-c", _SERVE.format(appendonly="yes" if self.persistent else "no")],
            healthcheck=HealthCheck(
                ["redis-cli", "ping"], interval_seconds=5, timeout_seconds=3, start_period_seconds=10
            ),
            volumes={_DATA: f"{self.name}-data"} if self.persistent else {},
            # Otherwise the image's own volume there would be made, without a name or label.
            tmpfs={} if self.persistent else {_DATA: "size=16m,mode=1777"},
            run_as="redis",
            data="ephemera.components.redis_data:DATA",
            credentials={"password": password},
        )

    @cached_property
    def url(self) -> pulumi.Output[str]:
        """Connection URL inside the network, with the password: a secret, known when the server is ready."""
        name = self.name
        return pulumi.Output.all(self.credentials["password"], self.started).apply(
            lambda known: f"redis://:{known[0]}@{name}:{_PORT}/0"
        )
