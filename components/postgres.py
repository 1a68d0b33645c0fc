"""PostgreSQL: one server with one database and one user, data on a volume of the environment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage, EngineImage
from ephemera.resources import (
    Container,
    ContainerArgs,
    Environment,
    Gate,
    HealthCheck,
    Port,
    PostgresProbe,
    Volume,
    VolumeArgs,
)

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_DATA = "/var/lib/postgresql/data"
_PORT = 5432
_IMAGE = EngineImage(name="postgres")
# What a killed server has written is safe with the kernel; only a machine that crashes could lose it, with the whole
# environment. To wait for the disk costs a first start, each commit and each new database most of their time.
_PARAMETERS = ("fsync=off",)
# Where databases for tests are made. It has to be the server's own folder, and the local image's server has this user;
# in another image the folder is nobody's, and they are made on the volume.
_DATABASES = "/databases"
_OWNED = "mode=0700,uid=999,gid=999"


@dataclass(frozen=True, kw_only=True)
class PostgresArgs:
    """``database``, ``user``: lower-case SQL identifiers. ``image``: one with the official image's interface.
    ``parameters``: server settings, ``max_connections=50``, over ``fsync=off``. ``memory_mb``: MiB."""

    environment: Environment
    database: str
    user: str
    image: AnyImage = _IMAGE
    parameters: Sequence[str] = ()
    memory_mb: int = 512


class Postgres(pulumi.ComponentResource):
    """A PostgreSQL server.

    Type token ``ephemera:index:Postgres``. Makes a ``Volume`` for the data and a ``Container``, gated by a start-up
    message that the server answers; health check ``pg_isready`` every 5 s, time-out 3 s, 10 retries, start 10 s.
    The password is generated per environment. Refuses (``InputError``) names that are no plain SQL identifiers.
    """

    url: pulumi.Output[str]
    """Connection URL from inside the network, with user and password; a secret; known when the server is ready."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(name, args)
        super().__init__("ephemera:index:Postgres", name, None, opts)
        environment = args.environment
        password = environment.credential(name, "password")
        child = pulumi.ResourceOptions(parent=self)
        data = Volume(f"{name}-data", VolumeArgs(environment=environment), child)
        parameters = [part for parameter in (*_PARAMETERS, *args.parameters) for part in ("-c", parameter)]
        self.container = Container(
            name,
            ContainerArgs(
                environment=environment,
                image=args.image,
                gate=Gate(probe=PostgresProbe(user=args.user, database=args.database)),
                ports={"postgres": Port(number=_PORT, scheme="postgresql", path=f"/{args.database}")},
                variables={
                    "POSTGRES_USER": args.user,
                    "POSTGRES_PASSWORD": password,
                    "POSTGRES_DB": args.database,
                    "PGDATA": _DATA,
                },
                command=["postgres", *parameters],
                healthcheck=HealthCheck(
                    command=["pg_isready", "-U", args.user, "-d", args.database],
                    interval_seconds=5,
                    timeout_seconds=3,
                    retries=10,
                    start_period_seconds=10,
                ),
                volumes={_DATA: data},
                tmpfs={
                    "/tmp": "size=64m",  # noqa: S108 - in the container
                    "/var/run/postgresql": "size=1m,mode=1777",
                    # It counts as the container's memory.
                    _DATABASES: f"size={max(1, args.memory_mb // 4)}m,{_OWNED}",
                },
                memory_mb=args.memory_mb,
                user="postgres",
                data="components.postgres_data:DATA",
                credentials={"user": args.user, "password": password, "database": args.database},
            ),
            child,
        )
        self.url = pulumi.Output.all(password, self.container.ready).apply(
            lambda known: f"postgresql://{args.user}:{known[0]}@{name}:{_PORT}/{args.database}"
        )
        self.register_outputs({"url": self.url})


def check(name: str, args: PostgresArgs) -> None:
    """Refuse names that would need quoting: pure, no I/O."""
    for what, value in (("database", args.database), ("user", args.user)):
        if not _IDENTIFIER.fullmatch(value):
            raise InputError(
                f"{what} {value!r} of {name!r} is not valid",
                remedy="lower-case letters, digits and _, at most 63 characters",
            )
