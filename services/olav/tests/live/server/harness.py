"""The server as a process, a line to a service that can be cut, and databases of a test's own."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from olav.checkpoints import create_tables
from olav.database import open_pool
from olav.init.migrate import migrate, shipped
from olav.security.users import Users
from olav.settings import Settings, load
from psycopg import sql

SOURCE = Path(__file__).parents[3] / "src"
KEY = "0123456789abcdef0123456789abcdef"
PASSWORDS = {role: f"{role}-password-{secrets.token_hex(4)}" for role in ("admin", "operator", "viewer")}


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = 30.0) -> Any:
    """The first truthy answer of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def environment(**changed: str) -> dict[str, str]:
    """What a server is started with; an empty value leaves a variable out."""
    needed = {"LLM_PROVIDER": "openai", "LLM_API_KEY": "sk-test-key", "POSTGRES_PASSWORD": "unused-password"}
    ours = ("OLAV_", "LLM_", "OPENSEARCH_", "POSTGRES_", "DATABASE_", "REDIS_", "JWT_", "PROMETHEUS_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **inherited,
        **needed,
        "PYTHONPATH": str(SOURCE),
        "JWT_SECRET_KEY": KEY,
        "OLAV_HOST": "127.0.0.1",
        **changed,
    }


class Server:
    """`python -m olav.server`. `log` is the file of its output."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)
        self.log = folder / f"server-{self.port}.log"
        with self.log.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "olav.server"],
                env=environment(OLAV_PORT=str(self.port), **environ),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def answers(self) -> bool:
        """Whether it serves by now, whatever its health."""
        assert self.popen.poll() is None, f"exited with {self.popen.returncode}: {self.log.read_text()}"
        with contextlib.suppress(httpx.HTTPError):
            return self.http.get("/openapi.json").is_success
        return False

    def login(self, username: str, password: str | None = None) -> httpx.Response:
        given = {"username": username, "password": password or PASSWORDS[username]}
        return self.http.post("/auth/login", json=given)

    def token(self, username: str, password: str | None = None) -> dict[str, str]:
        """The header of a new login."""
        answer = self.login(username, password)
        assert answer.is_success, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def workers(self) -> set[int]:
        children = Path(f"/proc/{self.popen.pid}/task/{self.popen.pid}/children").read_text(encoding="ascii")
        return set(map(int, children.split()))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status."""
        self.http.close()
        if self.popen.poll() is None:
            children = self.workers()
            self.popen.send_signal(number)
            status = self.popen.wait(20)
            if number is signal.SIGKILL:
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return status
        return self.popen.wait(0)


class Line:
    """A TCP line to `target` that can be cut and mended. `port` stays the same."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.port = free_port()
        self._listening: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.mend()

    def mend(self) -> None:
        listening = socket.create_server(("127.0.0.1", self.port))
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def cut(self) -> None:
        """New connections are refused, and those that are open end."""
        assert self._listening is not None
        # A plain close would leave the thread in accept, and the port open with it.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(self._target)
                for source, sink in ((near, far), (far, near)):
                    self._open.add(source)
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


def through(url: str, line: Line) -> str:
    """The URL by way of the line."""
    parts = urlsplit(url)
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{line.port}"))


@contextlib.contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """A database with the schema and the three seed users."""
    name = f"olav_test_{secrets.token_hex(6)}"
    url = urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            asyncio.run(_prepare(url))
            yield url
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


async def _prepare(url: str) -> None:
    settings = load(Settings, environment(DATABASE_URL=url))
    async with open_pool(settings, application="test", max_connections=1) as pool:
        async with pool.connection() as connection:
            await migrate(connection, shipped())
        await create_tables(pool)
        for role, password in PASSWORDS.items():
            assert await Users(pool).seed(role, role, password)
            assert not await Users(pool).seed(role, "admin", "another password")
