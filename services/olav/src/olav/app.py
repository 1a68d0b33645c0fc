"""The application: every route, and what lives as long as a worker does."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated

from chassis.app import Api
from fastapi import Depends
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from olav import __version__
from olav.database import database, ping
from olav.errors import UNAVAILABLE
from olav.graph.orchestrator import Orchestrator
from olav.graph.routes import add_routes
from olav.health import OPTIONAL, OlavHealth
from olav.security import models, routes
from olav.security.guard import Guard
from olav.security.limits import LoginLimit
from olav.security.passwords import Passwords
from olav.security.roles import Role
from olav.security.sessions import Session, Sessions, Tokens
from olav.security.users import Users
from olav.settings import ServerSettings

# Of one worker; four of them leave PostgreSQL's hundred room for others.
_CONNECTIONS = 10


class StatusDocument(OlavHealth):
    user: models.Account


def build(settings: ServerSettings) -> Api:
    """The application. Nothing is opened before its lifespan begins: it may be built before workers are forked."""
    postgres = database(settings, application="olav-server", max_connections=_CONNECTIONS)
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        socket_connect_timeout=2,
        socket_timeout=2,
        # A connection that Redis's restart left behind fails once; the next one is new.
        retry=Retry(ConstantBackoff(0.05), 1),
    )
    orchestrator = Orchestrator(settings, postgres.pool)

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        async with aclosing(redis), postgres, orchestrator:
            yield

    async def redis_answers() -> None:
        await redis.ping()

    passwords = Passwords()
    users = Users(postgres.pool, passwords)
    tokens = Tokens(settings.jwt_secret_key.get_secret_value())
    sessions = Sessions(redis, seconds=settings.token_seconds)
    limit = LoginLimit(redis, attempts=settings.login_attempts, window_seconds=settings.login_window_seconds)
    guard = Guard(tokens, sessions)
    app = Api(
        "olav-server",
        __version__,
        settings,
        prefix="olav",
        title="olav",
        description="A LangServe API over a LangGraph orchestrator.",
        lifespan=opened,
        checks={"postgres": lambda: ping(postgres), "redis": redis_answers, **orchestrator.checks},
        optional=OPTIONAL,
        health=OlavHealth,
        gone=UNAVAILABLE,
    )
    logins = routes.Logins(users, passwords, sessions, limit)
    app.include_router(routes.router(guard=guard, logins=logins, tokens=tokens, sessions=sessions, users=users))
    add_routes(app, orchestrator, authorize=guard.require_by_method())

    @app.get("/status", tags=["system"])
    async def status(session: Annotated[Session, Depends(guard.require(Role.VIEWER))]) -> StatusDocument:
        """The health document, whatever it says, and who asks."""
        found = await app.health()
        return StatusDocument(**found.model_dump(), user=models.Account(username=session.username, role=session.role))

    return app
