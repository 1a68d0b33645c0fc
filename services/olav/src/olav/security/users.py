"""Users, in PostgreSQL."""

import re
from dataclasses import dataclass
from datetime import datetime

import psycopg
from chassis.database import Pool, Row

from olav.security.passwords import Passwords
from olav.security.roles import Role

USERNAME = re.compile(r"[a-z][a-z0-9._-]{1,31}")

_COLUMNS = "username, password_hash, role, disabled, created_at, updated_at"


class UserExistsError(Exception):
    """The username is taken."""


class LastAdminError(Exception):
    """The change would leave nobody who can manage users."""


@dataclass(frozen=True, kw_only=True)
class User:
    username: str
    password_hash: str
    role: Role
    disabled: bool
    created_at: datetime
    updated_at: datetime


class Users:
    """Every method raises one of `chassis.database.GONE` when PostgreSQL cannot be reached."""

    def __init__(self, pool: Pool, passwords: Passwords | None = None) -> None:
        self._pool = pool
        self._passwords = passwords or Passwords()

    async def find(self, username: str) -> User | None:
        # What cannot be a username is not asked for: PostgreSQL would refuse some of it.
        if not USERNAME.fullmatch(username):
            return None
        async with self._pool.connection() as connection:
            found = await connection.execute(f"SELECT {_COLUMNS} FROM users WHERE username = %s", (username,))  # noqa: S608
            row = await found.fetchone()
        return _user(row) if row else None

    async def all(self) -> list[User]:
        """By name."""
        async with self._pool.connection() as connection:
            found = await connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY username")  # noqa: S608
            return [_user(row) for row in await found.fetchall()]

    async def create(self, username: str, role: Role, password: str) -> User:
        """Raises UserExistsError."""
        password_hash = await self._passwords.hash(password)
        async with self._pool.connection() as connection:
            try:
                made = await connection.execute(
                    f"INSERT INTO users (username, role, password_hash) VALUES (%s, %s, %s) RETURNING {_COLUMNS}",  # noqa: S608
                    (username, role.value, password_hash),
                )
            except psycopg.errors.UniqueViolation:
                raise UserExistsError(username) from None
            row = await made.fetchone()
        assert row is not None  # noqa: S101  an INSERT that did not raise returns its row
        return _user(row)

    async def change(
        self, username: str, *, role: Role | None = None, disabled: bool | None = None, password: str | None = None
    ) -> User | None:
        """What is not None, at once. None: there is no such user. Raises LastAdminError."""
        password_hash = None if password is None else await self._passwords.hash(password)
        async with self._pool.connection() as connection, connection.transaction():
            # All admins, in one order: of two changes that would each leave the other's admin, one sees the other.
            found = await connection.execute(
                "SELECT username FROM users WHERE role = 'admin' AND NOT disabled ORDER BY username FOR UPDATE"
            )
            admins = {row["username"] for row in await found.fetchall()}
            changed = await connection.execute(
                f"""
                    UPDATE users SET role = coalesce(%s, role), disabled = coalesce(%s, disabled),
                    password_hash = coalesce(%s, password_hash), updated_at = clock_timestamp()
                    WHERE username = %s RETURNING {_COLUMNS}
                """,  # noqa: S608
                (role.value if role else None, disabled, password_hash, username),
            )
            row = await changed.fetchone()
            if row is None:
                return None
            user = _user(row)
            if admins == {username} and (user.disabled or user.role is not Role.ADMIN):
                raise LastAdminError(username)
            return user

    async def seed(self, username: str, role: Role | str, password: str) -> bool:
        """Make a user unless there is one of that name, who then stays as they are. Whether one was made."""
        try:
            await self.create(username, Role(role), password)
        except UserExistsError:
            return False
        return True


def _user(row: Row) -> User:
    return User(**{**row, "role": Role(row["role"])})
