"""Which services can be away."""

import redis
from chassis.database import GONE
from chassis.errors import ApiError, unavailable

UNAVAILABLE: dict[type[Exception], ApiError] = {
    **dict.fromkeys(GONE, unavailable("postgres")),
    redis.RedisError: unavailable("redis"),
}
