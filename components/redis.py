"""Redis: one server with a generated password, in memory or with its data on a volume of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from ephemera.contract import declared
from ephemera.contract.images import AnyImage, EngineImage
from ephemera.resources import (
    Container,
    ContainerArgs,
    Environment,
    Gate,
    HealthCheck,
    Port,
    RedisProbe,
    Volume,
    VolumeArgs,
)
from ephemera.resources.arguments import check_args, check_variables, refuse_reserved

_DATA = "/data"
_PORT = 6379
_IMAGE = EngineImage(name="redis")
_PASSWORD = "REDISCLI_AUTH"  # noqa: S105 - the name of a variable
# The password is in no command line, which everybody on the machine may read. redis-cli takes it from this variable.
_SERVE = 'exec redis-server - <<END\nrequirepass $REDISCLI_AUTH\nsave ""\nappendonly {appendonly}\nEND\n'


@dataclass(frozen=True, kw_only=True)
class RedisArgs:
    """``image``: one with the official image's interface. ``persistent``: data on a volume, as an append-only file;
    without, a restart loses it. ``variables``: further ones of the server's environment. ``memory_mb``: MiB."""

    environment: Environment
    image: AnyImage = _IMAGE
    persistent: bool = False
    variables: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    memory_mb: int = 128


class Redis(pulumi.ComponentResource):
    """A Redis server.

    Type token ``ephemera:index:Redis``. Makes a ``Container``, gated by the answer to ``PING``, and a ``Volume`` when
    it is persistent; health check ``redis-cli ping`` every 5 s, time-out 3 s, 10 retries, start 10 s. The password is
    generated per environment. Refuses (``InputError``) the variable that holds it, ``REDISCLI_AUTH``.
    """

    url: pulumi.Output[str]
    """Connection URL from inside the network, with the password; a secret; known when the server is ready."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(name, args)
        super().__init__("ephemera:index:Redis", name, None, opts)
        environment = args.environment
        password = environment.credential(name, "password")
        child = pulumi.ResourceOptions(parent=self)
        volumes = {_DATA: Volume(f"{name}-data", VolumeArgs(environment=environment), child)} if args.persistent else {}
        tmpfs = {"/tmp": "size=16m"}  # noqa: S108 - in the container
        if not args.persistent:
            # The image declares a volume there, which nobody would name or label.
            tmpfs[_DATA] = "size=16m,mode=1777"
        self.container = Container(
            name,
            ContainerArgs(
                environment=environment,
                image=args.image,
                gate=Gate(probe=RedisProbe()),
                ports={"redis": Port(number=_PORT, scheme="redis", path="/0")},
                variables={**args.variables, _PASSWORD: password},
                command=["sh", "-c", _SERVE.format(appendonly="yes" if args.persistent else "no")],
                healthcheck=HealthCheck(
                    command=["redis-cli", "ping"],
                    interval_seconds=5,
                    timeout_seconds=3,
                    retries=10,
                    start_period_seconds=10,
                ),
                volumes=volumes,
                tmpfs=tmpfs,
                memory_mb=args.memory_mb,
                user="redis",
                data="components.redis_data:DATA",
                credentials={"password": password},
            ),
            child,
        )
        self.url = pulumi.Output.all(password, self.container.ready).apply(
            lambda known: f"redis://:{known[0]}@{name}:{_PORT}/0"
        )
        self.register_outputs({"url": self.url})


def check(name: str, args: RedisArgs) -> None:
    """Raise for values that cannot work or would not arrive. Pure, no I/O."""
    check_args(repr(name), args, RedisArgs)
    declared.expect(f"persistent of {name!r}", args.persistent, bool, "True or False")
    check_variables(repr(name), args.variables)
    refuse_reserved(repr(name), args.variables, (_PASSWORD,))
