"""Dependencies of routes: a valid token, and a role that suffices."""

from collections.abc import Awaitable, Callable

import structlog
from chassis.errors import ApiError
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from olav.security.roles import Role
from olav.security.sessions import BadTokenError, Session, Sessions, Tokens

_CHALLENGE = 'Bearer realm="olav"'

# For the "Authorize" button of /docs only: what it makes of a bad header says less than we want to say.
_SCHEME = Depends(HTTPBearer(auto_error=False, bearerFormat="JWT"))

Authorize = Callable[..., Awaitable[Session]]


def unauthorized(message: str, *, given: bool, code: str = "unauthorized") -> ApiError:
    """The 401. `given`: whether there was a token at all."""
    challenge = f'{_CHALLENGE}, error="invalid_token"' if given else _CHALLENGE
    return ApiError(401, code, message, headers={"WWW-Authenticate": challenge})


class Guard:
    """What lets a request in: its session is in `request.state.user` then, and what the dependency returns."""

    def __init__(self, tokens: Tokens, sessions: Sessions) -> None:
        self._tokens = tokens
        self._sessions = sessions

    def require(self, role: Role) -> Authorize:
        """A dependency for those who have `role`, or more."""

        async def authorize(request: Request, _documented: object = _SCHEME) -> Session:
            return await self._let_in(request, role)

        return authorize

    def require_by_method(self) -> Authorize:
        """A dependency for routes that viewers read (GET) and operators run (everything else)."""

        async def authorize(request: Request, _documented: object = _SCHEME) -> Session:
            return await self._let_in(request, Role.VIEWER if request.method == "GET" else Role.OPERATOR)

        return authorize

    async def _let_in(self, request: Request, needed: Role) -> Session:
        header = request.headers.get("authorization")
        if header is None:
            raise unauthorized("a token is needed: POST /auth/login gives one", given=False)
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthorized('the Authorization header must be "Bearer <token>"', given=True)
        try:
            session_id = self._tokens.session_id(token.strip())
        except BadTokenError as error:
            raise unauthorized(str(error), given=True) from None
        session = await self._sessions.find(session_id)
        if session is None:
            raise unauthorized("the session has ended", given=True)
        structlog.contextvars.bind_contextvars(user=session.username)
        if not session.role.covers(needed):
            raise ApiError(403, "forbidden", f"this needs the role {needed}; {session.username} is {session.role}")
        request.state.user = session
        return session
