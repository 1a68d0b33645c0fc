"""PostgreSQL: one server with one database and one user, data on a volume of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from ephemera.contract import declared
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
from ephemera.resources.arguments import check_args

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=.*", re.DOTALL)
_USER, _DATABASE = "POSTGRES_USER", "POSTGRES_DB"
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
    """``database``, ``user``: lower-case SQL identifiers, which the server makes with its data at the first start.
    ``image``: one with the official image's interface. ``parameters``: server settings, ``max_connections=50``, over
    ``fsync=off``. ``memory_mb``: MiB."""

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
    The password is generated per environment. Refuses (``InputError``) names that are not plain SQL identifiers, and
    other ones than those that existing data was made with: the server would not make them.
    """

    url: pulumi.Output[str]
    """Connection URL from inside the network, with user and password; a secret; known when the server is ready."""

    def __init__(self, name: str, args: PostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(name, args)
        environment = args.environment
        _refuse_renamed(name, args, environment.variables_now(name))
        super().__init__("ephemera:index:Postgres", name, None, opts)
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
                    _USER: args.user,
                    "POSTGRES_PASSWORD": password,
                    _DATABASE: args.database,
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
    """Raise for names that would need quoting or are the server's own, and for what is no parameter. Pure, no I/O."""
    check_args(repr(name), args, PostgresArgs)
    for what, value in (("database", args.database), ("user", args.user)):
        if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
            raise InputError(
                f"{what} {declared.shown(value)} of {name!r} is not valid",
                remedy="lower-case letters, digits and _, at most 63 characters",
            )
    if args.user.startswith("pg_"):
        raise InputError(f"user {args.user!r} of {name!r} is not valid", remedy="pg_ begins the server's own")
    declared.check_sequence(f"parameters of {name!r}", args.parameters, 'a list: ["max_connections=50"]')
    for parameter in args.parameters:
        if not isinstance(parameter, str) or not _PARAMETER.fullmatch(parameter):
            raise InputError(
                f"parameters of {name!r} has {declared.shown(parameter)}", remedy="it must be as in max_connections=50"
            )
    declared.check_whole(f"memory_mb of {name!r}", args.memory_mb, 1)


def _refuse_renamed(name: str, args: PostgresArgs, now: Mapping[str, str]) -> None:
    # The image makes user and database when it finds no data, and never again.
    for what, variable, value in (("database", _DATABASE, args.database), ("user", _USER, args.user)):
        if now.get(variable, value) != value:
            raise InputError(
                f"{what} of {name!r} is {value!r}, and its data was made with {now[variable]!r}",
                remedy="take the environment down first, with `ephemera down`: its data goes with it",
            )
