"""The application of an HTTP service: FastAPI with health, metrics, logs, one form of errors, and a database.

Whatever every service shall get (traces, another kind of store) is hooked in here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI, Response
from pydantic import BaseModel
from starlette.types import ASGIApp

from chassis import errors, metrics, openapi
from chassis.errors import ApiError, ErrorBody, Form
from chassis.health import Ask, Health, Prober
from chassis.observe import LARGEST_BODY, Observed
from chassis.settings import ServiceSettings
from chassis.waiting import unless

if TYPE_CHECKING:
    from chassis.database import Database

log = structlog.get_logger()

Work = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""What a service does besides answering, until the event is set. Its StartError ends the service with status 1."""


class Api(FastAPI):
    """The application of service `name`, which answers `/health`, `/metrics`, `/openapi.json` and `/docs` by itself.

    `prefix`: of its metrics. `database`: opened with the application, and the check `database` of its health.
    `migrations`: the package whose migrations it needs; health says `starting` until they are done, and then their
    version is `schema_version`. `work`: begins after that. `lifespan`: opened after the database.

    `checks`, `optional`, `details`: see Prober; `health`: its model; `started`: whether it serves by now.
    `before_metrics` is awaited for each `/metrics`. `form`, `refuses_with`, `error`: of errors, where they are not
    ours: their body, the status of a request that does not fit, their model. `gone`: see errors.install.
    `around`: puts the service's own ASGI middleware between ours and FastAPI's. `fastapi`: FastAPI's own arguments.
    """

    def __init__(
        self,
        name: str,
        version: str,
        settings: ServiceSettings,
        *,
        prefix: str,
        database: "Database | None" = None,
        migrations: str | None = None,
        work: Work | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[object]] | None = None,
        checks: Mapping[str, Ask] | None = None,
        optional: Collection[str] = (),
        health: type[Health] = Health,
        details: Callable[[], Mapping[str, Any]] = dict,
        started: Callable[[], bool] | None = None,
        before_metrics: Callable[[], Awaitable[None]] | None = None,
        gone: Mapping[type[Exception], ApiError] | None = None,
        form: Form = errors.body,
        refuses_with: int = 422,
        error: type[BaseModel] = ErrorBody,
        largest_body: int = LARGEST_BODY,
        around: Callable[[ASGIApp], ASGIApp] = lambda app: app,
        **fastapi: Any,
    ) -> None:
        super().__init__(version=version, lifespan=self._live, redirect_slashes=False, **{"title": name, **fastapi})
        self.schema_version: int | None = None
        self.failure: BaseException | None = None
        self.when_work_ends: Callable[[], object] = lambda: None
        self._settings = settings
        self._database = database
        self._migrations = migrations
        self._work = work
        self._inner_lifespan = lifespan
        self._started = started or (lambda: migrations is None or self.schema_version is not None)
        self._around = around
        self._observe = partial(Observed, prefix=prefix, largest_body=largest_body, form=form)
        asked = {} if database is None else {"database": database.ping}
        refusals: dict[type[Exception], ApiError] = {}
        if database is not None:
            refusals.update(dict.fromkeys(database.gone, errors.unavailable("PostgreSQL", code="unavailable")))
        refusals.update(gone or {})
        errors.install(self, form, refuses_with=refuses_with, gone=refusals)
        openapi.install(self, error, refuses_with=refuses_with, unavailable=bool(refusals))
        self._prober = Prober(
            health,
            service=name,
            version=version,
            environment=settings.environment,
            prefix=prefix,
            checks={**asked, **(checks or {})},
            optional=optional,
            details=details,
        )

        @self.get("/health", tags=["system"], response_model=health, responses={503: {"model": health}})
        async def get_health(response: Response) -> Any:
            """Every dependency, asked now; 503 when one is down."""
            found = await self.health()
            response.status_code = 200 if found.status == "healthy" else 503
            return found

        @self.get("/metrics", include_in_schema=False)
        async def get_metrics() -> Response:
            if before_metrics is not None:
                await before_metrics()
            return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)

    async def health(self) -> Health:
        """Return the document that `/health` answers with."""
        return await self._prober.health(started=self._started())

    def build_middleware_stack(self) -> ASGIApp:
        return self._observe(self._around(super().build_middleware_stack()))

    @asynccontextmanager
    async def _live(self, _app: FastAPI) -> AsyncIterator[None]:
        stop = asyncio.Event()
        async with AsyncExitStack() as opened:
            if self._database is not None:
                await opened.enter_async_context(self._database)
            if self._inner_lifespan is not None:
                await opened.enter_async_context(self._inner_lifespan())
            # The server answers meanwhile: health says `starting`.
            work = asyncio.create_task(self._run(stop))
            work.add_done_callback(lambda _: self.when_work_ends())
            try:
                yield
            finally:
                stop.set()
                await asyncio.wait({work})
                self.failure = work.exception()

    async def _run(self, stop: asyncio.Event) -> None:
        if self._database is not None and self._migrations is not None:
            from chassis.migrations import bring_up_to_date

            patience = self._settings.start_timeout_seconds
            migrated = bring_up_to_date(self._database, self._migrations, patience_seconds=patience)
            self.schema_version = await unless(stop, migrated)
        if self._work is not None:
            await self._work(stop)
        else:
            await stop.wait()
