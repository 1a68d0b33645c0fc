from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi

from ephemera.components import Redis
from ephemera.components.redis_data import DATA
from ephemera.home.credentials import credential
from ephemera.host.probes import RedisProbe
from ephemera.model.data import load_data
from ephemera.model.images import PublicImage
from ephemera.model.outputs import EnvironmentOutputs
from tests.unit import programs
from tests.unit.doubles import IDENTITY
from tests.unit.programs import OpenGates, Registered

# The small system of the tests lists no Redis: any image will do.
_IMAGE = PublicImage(reference="docker.io/library/nats:2")


def _redis(**given: Any) -> Registered:
    def program() -> None:
        environment = programs.environment()
        pulumi.export("url", Redis("cache", image=_IMAGE, **given).url)
        pulumi.export("environment", environment.document())

    return programs.run(program)


def test_password_is_generated_and_in_no_command_line(gates: OpenGates) -> None:
    registered = _redis()
    container, password = registered.container("cache"), credential(IDENTITY.stack, "cache", "password")
    assert container["envs"] == [f"REDISCLI_AUTH={password}"]
    assert ("cache", "envs") in registered.secrets
    assert password not in str(container["command"])
    assert "requirepass $REDISCLI_AUTH" in container["command"][-1]
    assert registered.exports["url"] == f"redis://:{password}@cache:6379/0"


def test_in_memory_it_has_no_volume_not_even_one_without_a_name(gates: OpenGates) -> None:
    registered = _redis()
    assert registered.names("volume:Volume") == []
    assert "/data" in registered.container("cache")["tmpfs"]
    assert "appendonly no" in registered.container("cache")["command"][-1]


def test_persistent_it_has_its_data_on_a_volume(gates: OpenGates) -> None:
    registered = _redis(persistent=True)
    container = registered.container("cache")
    assert container["volumes"] == [{"containerPath": "/data", "volumeName": "shop-main-cache-data"}]
    assert "/data" not in container["tmpfs"]
    assert "appendonly yes" in container["command"][-1]


def test_variables_are_added(gates: OpenGates) -> None:
    assert "TZ=UTC" in _redis(variables={"TZ": "UTC"}).container("cache")["envs"]


def test_gate_speaks_the_servers_protocol_and_outputs_tell_all_that_a_client_needs(gates: OpenGates) -> None:
    found = EnvironmentOutputs.parse(_redis().exports["environment"]).service("cache")
    assert gates.asked[0][2] == RedisProbe()
    assert (found.endpoint().scheme, found.endpoint().port) == ("redis", 6379)
    assert load_data(found.data) is DATA
    assert found.credentials["password"].get_secret_value() == credential(IDENTITY.stack, "cache", "password")


def test_what_brings_data_back_is_used_without_pulumi() -> None:
    script = (
        "import sys; from ephemera.model.data import load_data\n"
        "load_data('ephemera.components.postgres_data:DATA'); load_data('ephemera.components.redis_data:DATA')\n"
        "assert not {'pulumi', 'psycopg', 'redis', 'docker'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).resolve().parents[3])
