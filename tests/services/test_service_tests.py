"""The services' own tests, with the dependencies they are locked to, against a PostgreSQL of the run's own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from ephemera.home.locks import locked
from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment

_ROOT = Path(__file__).resolve().parents[2]
_SERVICES = _ROOT / "services"
_SHARED = tuple(f"common/requirements{of}.txt" for of in ("", "-postgres", "-test"))
_LOCKS = {
    "common": _SHARED,
    "tasker": _SHARED,
    "llm": (*_SHARED, "llm/requirements-test.txt"),
    "olav": (*_SHARED, "olav/requirements.txt", "olav/requirements-test.txt"),
}
_CLIENTS = ("tasker/client", "olav/client")


@pytest.mark.timeout(600)
@pytest.mark.environment("tasker")
@pytest.mark.parametrize("service", ["common", "tasker"])
def test_services_with_a_database(environment_factory: EnvironmentFactory, service: str) -> None:
    url = _database(environment_factory(only=["postgres"]))
    _tests(service, CHASSIS_TEST_DATABASE_URL=url, TASKER_TEST_DATABASE_URL=url)


@pytest.mark.timeout(300)
def test_llm() -> None:
    _tests("llm")


@pytest.mark.timeout(900)
@pytest.mark.environment("olav")
def test_olav(environment_factory: EnvironmentFactory) -> None:
    own = environment_factory(only=["postgres", "redis", "opensearch"])
    cache, search = own.endpoint("redis"), own.endpoint("opensearch")
    password = own.outputs.service("redis").credentials["password"].get_secret_value()
    _tests(
        "olav",
        OLAV_TEST_DATABASE_URL=_database(own),
        OLAV_TEST_REDIS_URL=f"redis://:{password}@{cache.host}:{cache.port}/9",
        OLAV_TEST_OPENSEARCH_URL=f"http://{search.host}:{search.port}",
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("client", _CLIENTS)
def test_clients(client: str) -> None:
    _passes([sys.executable, "-m", "pytest"], _SERVICES / client)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", _LOCKS)
def test_types_of_services(service: str) -> None:
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini"]
    _passes([*command, "--python-executable", str(_interpreter(service))], _SERVICES / service)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", _CLIENTS)
def test_types_of_clients(client: str) -> None:
    _passes([sys.executable, "-m", "mypy"], _SERVICES / client)


def _database(own: RunningEnvironment) -> str:
    """The URL of the environment's PostgreSQL."""
    login = {name: value.get_secret_value() for name, value in own.outputs.service("postgres").credentials.items()}
    endpoint = own.endpoint("postgres")
    return f"postgresql://{login['user']}:{login['password']}@{endpoint.host}:{endpoint.port}/{login['database']}"


def _tests(service: str, **variables: str) -> None:
    _passes([str(_interpreter(service)), "-m", "pytest", "tests"], _SERVICES / service, **variables)


def _interpreter(service: str) -> Path:
    """An interpreter with a service's locked requirements, made once for each state of them."""
    files = [_SERVICES / name for name in _LOCKS[service]]
    content = b"".join(path.read_bytes() for path in files) + sys.version.encode()
    home = _ROOT / ".ephemera" / "services" / hashlib.sha256(content).hexdigest()[:16]
    python = home / "bin" / "python"
    with locked(home.with_suffix(".lock")):
        if not (home / "complete").is_file():
            venv.create(home, with_pip=False, clear=True, symlinks=True)
            wanted = [part for path in files for part in ("--requirement", str(path))]
            install = ["--python", str(python), "install", "--quiet", "--require-hashes", "--no-deps", *wanted]
            _passes([sys.executable, "-m", "pip", *install], _SERVICES)
            (home / "complete").touch()
    return python


def _passes(command: list[str], folder: Path, **variables: str) -> None:
    # Options and plugins of this run are not theirs.
    own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "EPHEMERA_"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**own, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, f"{command} failed in {folder.name}"
