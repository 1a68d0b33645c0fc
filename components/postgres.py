"""PostgreSQL: one server with one database and one user, data on a volume of the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import pulumi

from ephemera import Container, HealthCheck, Port, PostgresProbe, component
from ephemera.model import declared
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage, EngineImage

_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*=.*", re.DOTALL)
_USER, _DATABASE = "POSTGRES_USER", "POSTGRES_DB"
_DATA = "/var/lib/postgresql/data"
_PORT = 5432
_IMAGE = EngineImage(name="postgres")
# A killed server loses nothing, since the kernel has its writes; a crash of the machine ends the environment anyway.
# Waiting for the disk would take most of the time of a first start, each commit and each new database.
_PARAMETERS = ("fsync=off",)
# Where databases for tests are created. The server must own the folder; the local image's server has this user. With
# another image they are created on the volume.
_DATABASES = "/databases"
_OWNED = "mode=0700,uid=999,gid=999"


@component
class Postgres(Container):
    """A PostgreSQL server.

    Type token ``ephemera:index:Postgres``; further arguments as of ``Container``. Makes a ``Volume`` for the data.
    Publishes port 5432 as endpoint ``postgres``. Ready when it answers a start-up message; health check ``pg_isready``
    every 5 s, timeout 3 s, 10 retries, start 10 s. The password is generated per environment; the outputs have
    ``user``, ``password`` and ``database``. Raises ``InputError`` for names that are not plain SQL identifiers, and for
    other names than existing data was created with, which the server would ignore.
    """

    image: AnyImage = _IMAGE
    """An image with the official image's interface."""
    database: str = "app"
    """A lower-case SQL identifier; the server creates it at its first start."""
    user: str = "app"
    """A lower-case SQL identifier: a superuser, who owns the database."""
    parameters: Sequence[str] = ()
    """Server settings such as ``max_connections=50``, added to ``fsync=off``."""
    memory_mb: int = 512

    def prepare(self) -> None:
        self._check_server()
        _refuse_renamed(self, self.environment.host.existing_variables(self.name))
        password = self.environment.credential(self.name, "password")
        parameters = [part for parameter in (*_PARAMETERS, *self.parameters) for part in ("-c", parameter)]
        self.complete(
            ready=PostgresProbe(user=self.user, database=self.database),
            ports={"postgres": Port(_PORT, scheme="postgresql", path=f"/{self.database}")},
            variables={_USER: self.user, "POSTGRES_PASSWORD": password, _DATABASE: self.database, "PGDATA": _DATA},
            command=["postgres", *parameters],
            healthcheck=HealthCheck(
                ["pg_isready", "-U", self.user, "-d", self.database],
                interval_seconds=5,
                timeout_seconds=3,
                start_period_seconds=10,
            ),
            volumes={_DATA: f"{self.name}-data"},
            tmpfs={
                "/var/run/postgresql": "size=1m,mode=1777",
                # It counts as the container's memory.
                _DATABASES: f"size={max(1, self.memory_mb // 4)}m,{_OWNED}",
            },
            run_as="postgres",
            data="ephemera.components.postgres_data:DATA",
            credentials={"user": self.user, "password": password, "database": self.database},
        )

    @cached_property
    def url(self) -> pulumi.Output[str]:
        """Connection URL inside the network, with user and password: a secret, known when the server is ready."""
        name, user, database, password = self.name, self.user, self.database, self.credentials["password"]
        return pulumi.Output.all(password, self.started).apply(
            lambda known: f"postgresql://{user}:{known[0]}@{name}:{_PORT}/{database}"
        )

    def _check_server(self) -> None:
        """Raise for names that need quoting or are the server's own, and for invalid parameters."""
        owner = repr(self.name)
        for what, value in (("database", self.database), ("user", self.user)):
            if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
                raise InputError(
                    f"{what} {declared.shown(value)} of {owner} is not valid",
                    remedy="use lower-case letters, digits and _, at most 63 characters",
                )
        if self.user.startswith("pg_"):
            raise InputError(f"user {self.user!r} of {owner} is not valid", remedy="pg_ begins the server's own")
        declared.check_sequence(f"parameters of {owner}", self.parameters, 'a list: ["max_connections=50"]')
        for parameter in self.parameters:
            if not isinstance(parameter, str) or not _PARAMETER.fullmatch(parameter):
                raise InputError(
                    f"parameters of {owner} has {declared.shown(parameter)}",
                    remedy="it must be as in max_connections=50",
                )
        declared.check_whole(f"memory_mb of {owner}", self.memory_mb, 1)


def _refuse_renamed(server: Postgres, now: Mapping[str, str]) -> None:
    # The image creates user and database only if it finds no data.
    for what, variable, value in (("database", _DATABASE, server.database), ("user", _USER, server.user)):
        if now.get(variable, value) != value:
            raise InputError(
                f"{what} of {server.name!r} is {value!r}, and its data was created with {now[variable]!r}",
                remedy="take the environment down first, with `ephemera down`: its data goes with it",
            )
