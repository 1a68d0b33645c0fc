"""How many wrong passwords are borne, counted in Redis for all workers."""

from redis.asyncio import Redis

from olav.security.users import USERNAME

# Wrong passwords from one address over all usernames: this many times what one username may have.
_ADDRESS_FACTOR = 10


class LoginLimit:
    """`attempts` wrong passwords for one username from one address within `window_seconds` of the first.

    Methods raise a `redis.RedisError` when Redis cannot be reached.
    """

    def __init__(self, redis: Redis, *, attempts: int, window_seconds: int) -> None:
        self._redis = redis
        self._attempts = attempts
        self._window = window_seconds

    async def wait_seconds(self, address: str, username: str) -> int | None:
        """How long until another try is heard; None: now."""
        keys = _keys(address, username)
        counts = await self._redis.mget(keys)
        for key, count, limit in zip(keys, counts, self._limits(), strict=True):
            if count is not None and int(count) >= limit:
                return max(1, await self._redis.ttl(key))
        return None

    async def failed(self, address: str, username: str) -> int | None:
        """Count a wrong password. Seconds to wait, when it was one too many."""
        keys = _keys(address, username)
        async with self._redis.pipeline(transaction=True) as pipeline:
            for key in keys:
                pipeline.incr(key)
                pipeline.expire(key, self._window, nx=True)
            counts = (await pipeline.execute())[::2]
        for key, count, limit in zip(keys, counts, self._limits(), strict=True):
            if count > limit:
                return max(1, await self._redis.ttl(key))
        return None

    async def forget(self, address: str, username: str) -> None:
        """The right password was given: that username's count starts anew."""
        await self._redis.delete(_keys(address, username)[0])

    def _limits(self) -> tuple[int, int]:
        return self._attempts, self._attempts * _ADDRESS_FACTOR


def _keys(address: str, username: str) -> tuple[str, str]:
    # Names that cannot exist share one count: they would fill Redis otherwise.
    named = username if USERNAME.fullmatch(username) else "-"
    return f"olav:logins:{address}:{named}", f"olav:logins:{address}"
