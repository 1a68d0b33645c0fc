"""The application: every route, and what lives as long as a worker does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from olav import __version__, errors, metrics
from olav.database import open_pool, ping
from olav.graph.orchestrator import Orchestrator
from olav.graph.routes import add_routes
from olav.health import Health, Prober
from olav.observe import Observed
from olav.security import models, routes
from olav.security.guard import Guard
from olav.security.limits import LoginLimit
from olav.security.passwords import Passwords
from olav.security.roles import Role
from olav.security.sessions import Session, Sessions, Tokens
from olav.security.users import Users
from olav.settings import ServerSettings

log = structlog.get_logger("olav")

# Of one worker; four of them leave PostgreSQL's hundred room for others.
_CONNECTIONS = 10


class StatusDocument(Health):
    user: models.Account


def build(settings: ServerSettings) -> ASGIApp:
    """The application. Nothing is opened before its lifespan begins: it may be built before workers are forked."""
    pool = open_pool(settings, application="olav-server", max_connections=_CONNECTIONS)
    redis = Redis.from_url(
        settings.redis_url.get_secret_value(),
        decode_responses=True,
        socket_connect_timeout=2,
        socket_timeout=2,
        # A connection that Redis's restart left behind fails once; the next one is new.
        retry=Retry(ConstantBackoff(0.05), 1),
    )
    orchestrator = Orchestrator(settings, pool)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await pool.open(wait=False)
        try:
            async with orchestrator:
                yield
        finally:
            await redis.aclose()
            await pool.close()

    async def redis_answers() -> None:
        await redis.ping()

    passwords = Passwords()
    users = Users(pool, passwords)
    tokens = Tokens(settings.jwt_secret_key.get_secret_value())
    sessions = Sessions(redis, seconds=settings.token_seconds)
    limit = LoginLimit(redis, attempts=settings.login_attempts, window_seconds=settings.login_window_seconds)
    guard = Guard(tokens, sessions)
    prober = Prober(
        settings.environment, {"postgres": lambda: ping(pool), "redis": redis_answers, **orchestrator.checks}
    )

    app = FastAPI(
        title="olav",
        version=__version__,
        description="A LangServe API over a LangGraph orchestrator.",
        lifespan=lifespan,
    )
    errors.install(app)
    logins = routes.Logins(users, passwords, sessions, limit)
    app.include_router(routes.router(guard=guard, logins=logins, tokens=tokens, sessions=sessions, users=users))
    add_routes(app, orchestrator, authorize=guard.require_by_method())

    @app.get("/health", tags=["system"], response_model=Health, responses={503: {"model": Health}})
    async def health() -> Response:
        """Every dependency, asked now; 503 when one is down."""
        found = await prober.health()
        return JSONResponse(found.model_dump(), 200 if found.status == "healthy" else 503)

    @app.get("/status", tags=["system"], responses=errors.documented(401, 503))
    async def status(session: Annotated[Session, Depends(guard.require(Role.VIEWER))]) -> StatusDocument:
        """The health document, whatever it says, and who asks."""
        found = await prober.health()
        return StatusDocument(**found.model_dump(), user=models.Account(username=session.username, role=session.role))

    @app.get("/metrics", include_in_schema=False)
    def exposition() -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Observed(app)
