"""``olav login``, ``logout``, ``me``, ``health``, ``status``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from chassis.cli import show, table
from chassis.client import InvalidInputError, ResponseError
from pydantic import BaseModel, SecretStr

from olav_client.cli.session import Session, cli
from olav_client.keys import Keyring
from olav_client.local import Local
from olav_client.models import Account, Health

PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input")]


class _Done(BaseModel):
    """What a command that only does something says."""

    remote: str
    user: Account | None


def password(prompt: str, *, from_stdin: bool) -> SecretStr:
    """From standard input, OLAV_PASSWORD or the terminal; never from the command line, where others can read it."""
    given = sys.stdin.readline().rstrip("\r\n") if from_stdin else os.environ.get("OLAV_PASSWORD", "")
    if not given and not from_stdin and sys.stdin.isatty():
        given = str(typer.prompt(prompt, hide_input=True, err=True))
    if not given:
        raise InvalidInputError("no password: give it with --password-stdin, in OLAV_PASSWORD, or at a terminal")
    return SecretStr(given)


@cli.command("login")
def _login(
    session: Session,
    username: Annotated[str, typer.Argument(help="admin, operator, viewer, or another user", metavar="USERNAME")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Log in; the token is kept, readable by you alone, until it expires or you log out."""
    with session.remote(needs_token=False) as remote:
        login = remote.login(username, password("Password", from_stdin=password_stdin))
        keyring = Keyring()
        keyring.keep(remote.base_url, login.access_token)
        session.show(
            _Done(remote=remote.base_url, user=login.user),
            lambda: print(
                f"logged in at {remote.base_url} as {login.user.username} ({login.user.role})"
                f" for {login.expires_in // 60} minutes"
            ),
        )


@cli.command("logout")
def _logout(session: Session) -> None:
    """End the session, and forget its token."""
    with session.remote() as remote:
        try:
            remote.logout()
        except ResponseError as error:
            # 401: it has ended already, which is what was wanted.
            if error.status_code != 401:
                raise
        Keyring().forget(remote.base_url)
        session.show(_Done(remote=remote.base_url, user=None), lambda: print(f"logged out at {remote.base_url}"))


@cli.command("me")
def _me(session: Session) -> None:
    """Show who is logged in."""
    with session.remote() as remote:
        me = remote.me()
    session.show(me, lambda: print(f"{me.username} ({me.role}), until {me.session.expires_at:%Y-%m-%d %H:%M:%S} UTC"))


@cli.command("health")
def _health(session: Session) -> int:
    """Show the health of every dependency; exit code 1 when unhealthy. Needs no login."""
    if session.url is None:
        return _shown(session, Local().health())
    with session.remote(needs_token=False) as remote:
        return _shown(session, remote.health())


@cli.command("status")
def _status(session: Session) -> int:
    """Show the health of every dependency, and who is logged in; exit code 1 when unhealthy."""
    if session.url is None:
        return _shown(session, Local().health())
    with session.remote() as remote:
        status = remote.status()
    return _shown(session, status, user=status.user)


def _shown(session: Session, health: Health, *, user: Account | None = None) -> int:
    def text() -> None:
        print(f"{health.service} {health.version} ({health.environment}): {health.status}")
        rows = [
            (
                name,
                (found.error and f"{found.status}: {found.error}") or found.status,
                None if found.latency_ms is None else f"{found.latency_ms:.1f} ms",
                "yes" if found.required else "no",
            )
            for name, found in health.dependencies.items()
        ]
        show(table(("component", "status", "latency", "required"), rows))
        if user is not None:
            print(f"logged in as {user.username} ({user.role})")

    session.show(health, text)
    if health.status != "unhealthy":
        return 0
    down = [name for name, found in health.dependencies.items() if found.required and found.status == "down"]
    return cli.failed(f"unhealthy: {', '.join(down)} down")
