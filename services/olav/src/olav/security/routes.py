"""Logging in and out, who am I, and the users."""

from typing import Annotated

import structlog
from chassis.errors import ApiError, documented
from fastapi import APIRouter, Depends, Request, Response

from olav.metrics import LOGINS
from olav.security import models
from olav.security.guard import Guard, unauthorized
from olav.security.limits import LoginLimit
from olav.security.passwords import Passwords
from olav.security.roles import Role
from olav.security.sessions import Session, Sessions, Tokens
from olav.security.users import USERNAME, LastAdminError, User, UserExistsError, Users

log = structlog.get_logger("olav")


class Logins:
    """What a login takes: the limit of wrong ones, the users, and a session at its end."""

    def __init__(self, users: Users, passwords: Passwords, sessions: Sessions, limit: LoginLimit) -> None:
        self._users = users
        self._passwords = passwords
        self._sessions = sessions
        self._limit = limit

    async def login(self, address: str, username: str, password: str) -> Session:
        """Raises ApiError: 401, or 429 after too many wrong passwords."""
        if (seconds := await self._limit.wait_seconds(address, username)) is not None:
            raise self._limited(username, seconds)
        user = await self._users.find(username)
        right = await self._passwords.match(user.password_hash if user else None, password)
        if user is None or not right or user.disabled:
            if (seconds := await self._limit.failed(address, username)) is not None:
                raise self._limited(username, seconds)
            raise self._refused(username)
        # Asked again: of many guesses at once, only those within the limit may learn whether they were right.
        if (seconds := await self._limit.wait_seconds(address, username)) is not None:
            raise self._limited(username, seconds)
        session = await self._sessions.begin(user.username, user.role)
        # A change ends the sessions that it finds. It may have come between the reading of the user and this session.
        now = await self._users.find(username)
        if now is None or now.updated_at != user.updated_at:
            await self._sessions.end(session)
            raise self._refused(username)
        await self._limit.forget(address, username)
        LOGINS.labels("success").inc()
        log.info("logged in", user=session.username)
        return session

    def _refused(self, username: str) -> ApiError:
        LOGINS.labels("failure").inc()
        log.warning("login refused", login=_loggable(username))
        return unauthorized("unknown user or wrong password", given=False, code="invalid_credentials")

    def _limited(self, username: str, seconds: int) -> ApiError:
        LOGINS.labels("limited").inc()
        log.warning("login limited", login=_loggable(username), seconds=seconds)
        return ApiError(
            429,
            "too_many_logins",
            f"too many wrong passwords; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )


def router(*, guard: Guard, logins: Logins, tokens: Tokens, sessions: Sessions, users: Users) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    anyone = Annotated[Session, Depends(guard.require(Role.VIEWER))]
    admins = [Depends(guard.require(Role.ADMIN))]

    @routes.post("/auth/login", tags=["auth"], responses=documented(401, 429))
    async def login(body: models.Login, request: Request, response: Response) -> models.Token:
        """A token for a username and a password."""
        # There is no proxy whose word on the address could be taken.
        address = request.client.host if request.client else "unknown"
        session = await logins.login(address, body.username, body.password.get_secret_value())
        response.headers["Cache-Control"] = "no-store"
        return models.Token(
            access_token=tokens.issue(session),
            expires_in=int((session.expires_at - session.created_at).total_seconds()),
            user=models.Account(username=session.username, role=session.role),
        )

    @routes.post("/auth/logout", status_code=204, tags=["auth"])
    async def logout(session: anyone) -> None:
        """End the session of the token."""
        await sessions.end(session)
        log.info("logged out", user=session.username)

    @routes.get("/me", tags=["auth"])
    async def me(session: anyone) -> models.Me:
        """Who the token is for."""
        return models.Me(
            username=session.username,
            role=session.role,
            session=models.SessionTimes(created_at=session.created_at, expires_at=session.expires_at),
        )

    @routes.get("/users", tags=["users"], dependencies=admins, responses=documented(403))
    async def list_users() -> models.UserList:
        """All users, by name."""
        return models.UserList(users=[_shown(user) for user in await users.all()])

    @routes.post("/users", status_code=201, tags=["users"], dependencies=admins, responses=documented(403, 409))
    async def create_user(body: models.NewUser, response: Response) -> models.User:
        """A new user."""
        try:
            user = await users.create(body.username, body.role, body.password.get_secret_value())
        except UserExistsError:
            raise ApiError(409, "user_exists", f"there is a user {body.username}", field="username") from None
        response.headers["Location"] = f"/users/{user.username}"
        log.info("user created", username=user.username, role=user.role)
        return _shown(user)

    @routes.get("/users/{username}", tags=["users"], dependencies=admins, responses=documented(403, 404))
    async def get_user(username: str) -> models.User:
        """One user."""
        user = await users.find(username)
        if user is None:
            raise _unknown()
        return _shown(user)

    @routes.patch(
        "/users/{username}",
        tags=["users"],
        dependencies=admins,
        responses=documented(403, 404, 409),
    )
    async def change_user(username: str, body: models.UserChange) -> models.User:
        """Change role, password, or whether the user may log in. Ends all of the user's sessions."""
        if await users.find(username) is None:
            raise _unknown()
        try:
            user = await users.change(
                username,
                role=body.role,
                disabled=body.disabled,
                password=body.password.get_secret_value() if body.password else None,
            )
        except LastAdminError:
            raise ApiError(409, "last_admin", f"{username} is the last enabled admin") from None
        if user is None:
            raise _unknown()
        await sessions.end_all(username)
        log.info("user changed", username=username, role=user.role, disabled=user.disabled)
        return _shown(user)

    return routes


def _loggable(username: str) -> str:
    # What cannot be a username may be a password in the wrong field.
    return username if USERNAME.fullmatch(username) else "-"


def _unknown() -> ApiError:
    return ApiError(404, "not_found", "there is no such user", field="username")


def _shown(user: User) -> models.User:
    return models.User(
        username=user.username,
        role=user.role,
        disabled=user.disabled,
        created_at=user.created_at,
        updated_at=user.updated_at,
    )
