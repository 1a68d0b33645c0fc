"""Sessions, in Redis until they expire, and the tokens that name them."""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import jwt
from redis.asyncio import Redis

from olav.security.roles import Role

_ISSUER = "olav"
_ALGORITHM = "HS256"


class BadTokenError(Exception):
    """The token is malformed, expired or not signed by us; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A login. `created_at`, `expires_at`: whole seconds, UTC."""

    id: str
    username: str
    role: Role
    created_at: datetime
    expires_at: datetime


class Tokens:
    """JWTs signed with `secret`."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, session: Session) -> str:
        claims = {
            "iss": _ISSUER,
            "sub": session.username,
            "role": session.role.value,
            "jti": session.id,
            "iat": session.created_at,
            "exp": session.expires_at,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def session_id(self, token: str) -> str:
        """Raises BadTokenError."""
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={"require": ["iss", "sub", "role", "jti", "iat", "exp"]},
            )
        except jwt.ExpiredSignatureError:
            raise BadTokenError("the token has expired") from None
        except jwt.InvalidTokenError:
            raise BadTokenError("the token is not valid") from None
        return str(claims["jti"])


class Sessions:
    """`redis`: one that decodes responses. `seconds`: how long a session lasts.

    Every method raises a `redis.RedisError` when Redis cannot be reached.
    """

    def __init__(self, redis: Redis, *, seconds: int) -> None:
        self._redis = redis
        self._lifetime = timedelta(seconds=seconds)

    async def begin(self, username: str, role: Role) -> Session:
        now = datetime.now(UTC).replace(microsecond=0)
        session = Session(
            id=secrets.token_urlsafe(24),
            username=username,
            role=role,
            created_at=now,
            expires_at=now + self._lifetime,
        )
        expiry = int(session.expires_at.timestamp())
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(
                _key(session.id),
                mapping={
                    "username": username,
                    "role": role.value,
                    "created_at": now.isoformat(),
                    "expires_at": session.expires_at.isoformat(),
                },
            )
            pipeline.expireat(_key(session.id), expiry)
            pipeline.zremrangebyscore(_index(username), "-inf", int(now.timestamp()))
            pipeline.zadd(_index(username), {session.id: expiry})
            pipeline.expireat(_index(username), expiry)
            await pipeline.execute()
        return session

    async def find(self, session_id: str) -> Session | None:
        fields = cast("dict[str, str]", await self._redis.hgetall(_key(session_id)))
        if not fields:
            return None
        return Session(
            id=session_id,
            username=fields["username"],
            role=Role(fields["role"]),
            created_at=datetime.fromisoformat(fields["created_at"]),
            expires_at=datetime.fromisoformat(fields["expires_at"]),
        )

    async def end(self, session: Session) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(_key(session.id))
            pipeline.zrem(_index(session.username), session.id)
            await pipeline.execute()

    async def end_all(self, username: str) -> None:
        """Every session of the user that has begun by now."""
        ids = cast("list[str]", await self._redis.zrange(_index(username), 0, -1))
        if ids:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.delete(*(_key(session_id) for session_id in ids))
                pipeline.zrem(_index(username), *ids)
                await pipeline.execute()


def _key(session_id: str) -> str:
    return f"olav:session:{session_id}"


def _index(username: str) -> str:
    return f"olav:sessions:{username}"
