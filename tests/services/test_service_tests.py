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
from ephemera.plugin.running import EnvironmentFactory

_ROOT = Path(__file__).resolve().parents[2]
_TASKER = _ROOT / "services" / "tasker"
_LLM = _ROOT / "services" / "llm"
_OLAV = _ROOT / "services" / "olav"


@pytest.mark.timeout(600)
@pytest.mark.environment("tasker")
def test_tasker_services(environment_factory: EnvironmentFactory) -> None:
    own = environment_factory(only=["postgres"])
    credentials = {
        name: value.get_secret_value() for name, value in own.outputs.service("postgres").credentials.items()
    }
    endpoint = own.endpoint("postgres")
    login = f"{credentials['user']}:{credentials['password']}"
    url = f"postgresql://{login}@{endpoint.host}:{endpoint.port}/{credentials['database']}"
    python = _interpreter(_TASKER, "requirements.txt", "requirements-test.txt")
    _passes([str(python), "-m", "pytest", "tests"], _TASKER, TASKER_TEST_DATABASE_URL=url)


@pytest.mark.timeout(120)
def test_tasker_client() -> None:
    _passes([sys.executable, "-m", "pytest"], _TASKER / "client")


@pytest.mark.timeout(300)
def test_types_of_tasker() -> None:
    python = _interpreter(_TASKER, "requirements.txt", "requirements-test.txt")
    _passes([sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable", str(python)], _TASKER)
    _passes([sys.executable, "-m", "mypy"], _TASKER / "client")


@pytest.mark.timeout(300)
def test_llm() -> None:
    python = _interpreter(_LLM, "requirements.txt", "requirements-test.txt")
    _passes([str(python), "-m", "pytest"], _LLM)


@pytest.mark.timeout(300)
def test_types_of_llm() -> None:
    python = _interpreter(_LLM, "requirements.txt", "requirements-test.txt")
    _passes([sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable", str(python)], _LLM)


@pytest.mark.timeout(900)
@pytest.mark.environment("olav")
def test_olav_services(environment_factory: EnvironmentFactory) -> None:
    own = environment_factory(only=["postgres", "redis", "opensearch"])
    postgres, redis = own.outputs.service("postgres"), own.outputs.service("redis")
    login = {name: value.get_secret_value() for name, value in postgres.credentials.items()}
    database, cache, search = (own.endpoint(name) for name in ("postgres", "redis", "opensearch"))
    python = _interpreter(_OLAV, "requirements.txt", "requirements-test.txt")
    _passes(
        [str(python), "-m", "pytest", "tests"],
        _OLAV,
        OLAV_TEST_DATABASE_URL=f"postgresql://{login['user']}:{login['password']}@{database.host}:{database.port}/"
        + login["database"],
        OLAV_TEST_REDIS_URL=f"redis://:{redis.credentials['password'].get_secret_value()}@{cache.host}:{cache.port}/9",
        OLAV_TEST_OPENSEARCH_URL=f"http://{search.host}:{search.port}",
    )


@pytest.mark.timeout(120)
def test_olav_client() -> None:
    _passes([sys.executable, "-m", "pytest"], _OLAV / "client")


@pytest.mark.timeout(300)
def test_types_of_olav() -> None:
    python = _interpreter(_OLAV, "requirements.txt", "requirements-test.txt")
    _passes([sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--python-executable", str(python)], _OLAV)
    _passes([sys.executable, "-m", "mypy"], _OLAV / "client")


def _interpreter(folder: Path, *requirements: str) -> Path:
    """An interpreter with these locked requirements, made once for each state of them."""
    files = [folder / name for name in requirements]
    content = b"".join(path.read_bytes() for path in files) + sys.version.encode()
    home = _ROOT / ".ephemera" / "services" / f"{folder.name}-{hashlib.sha256(content).hexdigest()[:16]}"
    python = home / "bin" / "python"
    with locked(home.with_suffix(".lock")):
        if not (home / "complete").is_file():
            venv.create(home, with_pip=False, clear=True, symlinks=True)
            wanted = [part for path in files for part in ("--requirement", str(path))]
            install = ["--python", str(python), "install", "--quiet", "--require-hashes", "--no-deps", *wanted]
            _passes([sys.executable, "-m", "pip", *install], folder)
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
