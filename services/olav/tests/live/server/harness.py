"""The server as a process, a line to a service that can be cut, and databases of a test's own."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
from chassis import testing
from chassis.migrations import migrate, shipped
from chassis.settings import load
from chassis.testing import Process, free_port, python_path
from olav.checkpoints import create_tables
from olav.database import database
from olav.security.users import Users
from olav.settings import Settings

SOURCE = Path(__file__).parents[3] / "src"
KEY = "0123456789abcdef0123456789abcdef"
PASSWORDS = {role: f"{role}-password-{secrets.token_hex(4)}" for role in ("admin", "operator", "viewer")}
GIVEN = {
    "LLM_PROVIDER": "openai",
    "LLM_API_KEY": "sk-test-key",
    "LLM_BASE_URL": "",
    "OPENSEARCH_URL": "",
    "POSTGRES_PASSWORD": "unused-password",
    "JWT_SECRET_KEY": KEY,
}


def environment(**changed: str) -> dict[str, str]:
    """What a program of olav is started with; an empty value leaves a variable out."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OLAV_")}
    return {**inherited, **GIVEN, "PYTHONPATH": python_path(), "OLAV_HOST": "127.0.0.1", **changed}


class Server(Process):
    """`python -m olav.server`."""

    # Not what tests count.
    asked = "/openapi.json"

    def __init__(self, folder: Path, **environ: str) -> None:
        super().__init__("olav.server", folder, prefix="OLAV_", **{**GIVEN, **environ})
        self.http.timeout = httpx.Timeout(20)

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

    def stop(self) -> None:
        children = self.workers() if self.popen.poll() is None else set()
        super().stop()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


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
    with testing.new_database(server_url) as url:
        asyncio.run(_prepare(url))
        yield url


async def _prepare(url: str) -> None:
    settings = load(Settings, environment(DATABASE_URL=url))
    async with database(settings, application="test", max_connections=1) as opened:
        async with opened.pool.connection() as connection:
            await migrate(connection, shipped("olav"))
        await create_tables(opened.pool)
        for role, password in PASSWORDS.items():
            assert await Users(opened.pool).seed(role, role, password)
            assert not await Users(opened.pool).seed(role, "admin", "another password")
