from __future__ import annotations

from typing import Any

import pulumi
import pytest

from ephemera.components import Postgres
from ephemera.components.postgres_data import DATA
from ephemera.home.credentials import credential
from ephemera.host.probes import PostgresProbe
from ephemera.model.data import load_data
from ephemera.model.outputs import EnvironmentOutputs
from tests.unit import programs
from tests.unit.doubles import IDENTITY
from tests.unit.programs import OpenGates, Registered


def _postgres(registered: Registered | None = None, *, name: str = "db", **given: Any) -> Registered:
    def program() -> None:
        environment = programs.environment()
        args = {"database": "shop", "user": "app", **given}
        pulumi.export("url", Postgres(name, **args).url)
        pulumi.export("environment", environment.document())

    return programs.run(program, registered=registered)


def test_server_has_a_volume_a_user_and_a_generated_password(gates: OpenGates) -> None:
    registered = _postgres()
    container = registered.container("db")
    password = credential(IDENTITY.stack, "db", "password")
    assert container["envs"] == [
        "PGDATA=/var/lib/postgresql/data",
        "POSTGRES_DB=shop",
        f"POSTGRES_PASSWORD={password}",
        "POSTGRES_USER=app",
    ]
    assert ("db", "envs") in registered.secrets
    assert registered.inputs("volume:Volume", "db-data")["name"] == "shop-main-db-data"
    assert container["volumes"] == [{"containerPath": "/var/lib/postgresql/data", "volumeName": "shop-main-db-data"}]
    assert container["healthcheck"]["tests"] == ["CMD", "pg_isready", "-U", "app", "-d", "shop"]
    assert container["command"] == ["postgres", "-c", "fsync=off"]


def test_gate_speaks_the_servers_protocol(gates: OpenGates) -> None:
    _postgres()
    assert gates.asked[0][2] == PostgresProbe(user="app", database="shop")


def test_url_is_for_inside_the_network_and_a_secret(gates: OpenGates) -> None:
    secret: list[bool] = []

    async def look(url: pulumi.Output[str]) -> None:
        secret.append(await url.is_secret())

    def program() -> Any:
        programs.environment()
        return look(Postgres("db", database="shop", user="app").url)

    programs.run(program)
    assert secret == [True]
    password = credential(IDENTITY.stack, "db", "password")
    assert _postgres().exports["url"] == f"postgresql://app:{password}@db:5432/shop"


def test_outputs_tell_all_that_a_client_needs(gates: OpenGates) -> None:
    db = EnvironmentOutputs.parse(_postgres().exports["environment"]).service("db")
    assert (db.endpoint().scheme, db.endpoint().port) == ("postgresql", 5432)
    assert load_data(db.data) is DATA
    assert (db.endpoint().url or "").endswith(":5432/shop")
    shown = {key: secret.get_secret_value() for key, secret in db.credentials.items()}
    assert shown == {"user": "app", "password": credential(IDENTITY.stack, "db", "password"), "database": "shop"}


def test_parameters_become_the_servers_command(gates: OpenGates) -> None:
    container = _postgres(parameters=["max_connections=50", "fsync=on"], memory_mb=128).container("db")
    assert container["command"] == ["postgres", "-c", "fsync=off", "-c", "max_connections=50", "-c", "fsync=on"]
    assert container["memory"] == 128


@pytest.mark.parametrize("value", ["a", "_x", "shop_2", "a" * 63])
def test_plain_identifier_is_accepted(gates: OpenGates, value: str) -> None:
    assert f"POSTGRES_DB={value}" in _postgres(database=value).container("db")["envs"]
