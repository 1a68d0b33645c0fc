"""``olav users``: list, create, change."""

from __future__ import annotations

from typing import Annotated

import typer
from chassis.cli import show, table
from chassis.client import InvalidInputError

from olav_client.cli.access import PasswordStdin, password
from olav_client.cli.session import Session, cli
from olav_client.models import Role, User, Users

app = cli.group("users", "Manage users (admin, with --remote).")

_Username = Annotated[str, typer.Argument(help="The user", metavar="USERNAME")]


@cli.command("list", app)
def _list(session: Session) -> None:
    """Show all users."""
    with session.remote() as remote:
        users = remote.users()
    session.show(Users(users=users), lambda: _print(users))


@cli.command("create", app)
def _create(
    session: Session,
    username: _Username,
    role: Annotated[Role, typer.Option(help="What the user may do")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Create a user; the password is asked for."""
    with session.remote() as remote:
        user = remote.create_user(username, role, password(f"Password of {username}", from_stdin=password_stdin))
    session.show(user, lambda: _print((user,)))


@cli.command("change", app)
def _change(
    session: Session,
    username: _Username,
    role: Annotated[Role | None, typer.Option(help="What the user may do from now on")] = None,
    enable: Annotated[bool, typer.Option("--enable", help="The user may log in again")] = False,
    disable: Annotated[bool, typer.Option("--disable", help="The user may no longer log in")] = False,
    new_password: Annotated[bool, typer.Option("--new-password", help="Ask for a new password")] = False,
    password_stdin: PasswordStdin = False,
) -> None:
    """Change role or password of a user, disable or enable one. Ends the user's sessions."""
    if enable and disable:
        raise InvalidInputError("--enable and --disable exclude each other; give one")
    if not (role or enable or disable or new_password):
        raise InvalidInputError("nothing to change: give --role, --enable, --disable or --new-password")
    with session.remote() as remote:
        given = password(f"New password of {username}", from_stdin=password_stdin) if new_password else None
        disabled = disable if enable or disable else None
        user = remote.change_user(username, role=role, disabled=disabled, password=given)
    session.show(user, lambda: _print((user,)))


def _print(users: tuple[User, ...]) -> None:
    rows = [
        (user.username, user.role, "yes" if user.disabled else "no", f"{user.created_at:%Y-%m-%d %H:%M:%S}")
        for user in users
    ]
    show(table(("username", "role", "disabled", "created"), rows))
