"""argon2id hashes: they take 20 ms of a core and 19 MB each, so few are made at a time, and off the loop."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

# The second of OWASP's recommended settings: the one whose memory four workers under a container's limit can afford.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID)

# The hash of nothing that anybody knows: a login of an unknown user takes as long as a real one.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$oZNkarK6gVt2KBWoJFZqdA$ZvEbS2A6mtv/AdTOpMsLQ2umEUC2xZ+eNbS95UtgQjU"


class Passwords:
    """`at_once`: how many hashes are computed side by side in this process."""

    def __init__(self, *, at_once: int = 2) -> None:
        self._slots = asyncio.Semaphore(at_once)

    async def hash(self, password: str) -> str:
        async with self._slots:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def match(self, password_hash: str | None, password: str) -> bool:
        """Whether the hash is the password's. None, an unknown user's: False, after the same time."""
        async with self._slots:
            matches = await asyncio.to_thread(_verify, password_hash or _NOBODY, password)
        return matches and password_hash is not None


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
