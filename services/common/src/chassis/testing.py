"""What tests of services use: a service as a process, a database of a test's own, a check of its OpenAPI document."""

# ruff: noqa: S101

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 30.0) -> Any:
    """Return the first truthy answer of `condition`; fail the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def needed(variable: str, what: str) -> str:
    """Return the value of an environment variable; fail the test where it is not set."""
    value = os.environ.get(variable)
    if not value:
        pytest.fail(f"set {variable} to {what}", pytrace=False)
    return value


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def python_path(*first: Path) -> str:
    """Return the PYTHONPATH of a process that imports what this one does, but from `first` before all else."""
    return os.pathsep.join([*map(str, first), *filter(None, sys.path)])


class Process:
    """A service as a process with a port of its own. `prefix`: of its variables, of which it inherits none.

    `log` is the file of its output, `http` a client of it.
    """

    asked = "/health"

    def __init__(self, module: str, folder: Path, *, prefix: str, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=10, trust_env=False)
        self.log = folder / f"{module}-{self.port}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefix)}
        own = {"PYTHONPATH": python_path(), f"{prefix}HOST": "127.0.0.1", f"{prefix}PORT": str(self.port)}
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error::RuntimeWarning", "-m", module],
                env={**inherited, **own, **environ},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def answers(self) -> int | None:
        """Return the status of `asked`, None while there is no answer; fail if the process has ended."""
        assert self.popen.poll() is None, f"exited with {self.popen.returncode}: {self.log.read_text()}"
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get(self.asked).status_code
        return None

    def healthy(self) -> bool:
        return self.answers() == 200

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, and return its exit status."""
        self.http.close()
        self.popen.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Return the exit status, once it has one."""
        return self.popen.wait(30)

    def stop(self) -> None:
        """Kill it, unless it has ended."""
        self.http.close()
        if self.popen.poll() is None:
            self.end(signal.SIGKILL)


@contextlib.contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Give the URL of an empty database in that server; it is dropped at the end."""
    import psycopg
    from psycopg import sql

    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def keeps_its_word(url: str, *arguments: str, headers: dict[str, str] | None = None, examples: int = 20) -> None:
    """Fail if the service at `url` does anything that its OpenAPI document does not say: schemathesis, every check.

    `arguments`: more of its command line. `examples`: requests that are made up for each operation.
    """
    given = [part for name, value in (headers or {}).items() for part in ("--header", f"{name}: {value}")]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", "all"]
    fixed = ["--no-color", "--seed", "1", "--generation-deterministic", "--suppress-health-check", "all"]
    made = ["--max-examples", str(examples)]
    asked = [*command, *fixed, *made, *given, *arguments]
    # It remembers what it found in the folder that it runs in.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
