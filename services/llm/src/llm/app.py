"""The API: OpenAI's routes, the admin's, health."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp

from llm import __version__, errors
from llm.behaviour import NORMAL, Behaving, Behaviour
from llm.completions import Completion
from llm.errors import ApiError, Json
from llm.gate import Gate
from llm.record import Record
from llm.requests import ChatRequest, EmbeddingsRequest
from llm.schemas import UnfillableError
from llm.settings import Settings
from llm.text import tokens
from llm.vectors import base64_of, embed

_DIMENSIONS = 64
_UNCACHED = {"cache-control": "no-cache"}


def create_app(settings: Settings) -> ASGIApp:
    """The double, behaving normally, with nothing seen."""
    app = FastAPI(title="llm", version=__version__, redirect_slashes=False)
    behaving, record = Behaving(), Record()
    started = time.monotonic()
    created = int(time.time())
    errors.install(app)

    def known(model: str) -> str:
        if model not in settings.models:
            names = ", ".join(settings.models)
            raise ApiError(
                404, f"The model {model!r} does not exist, only {names}", code="model_not_found", param="model"
            )
        return model

    # Not async, these two: they compute, and the loop answers others meanwhile.
    @app.post("/v1/chat/completions", response_model=None)
    def chat(body: ChatRequest) -> Response:
        known(body.model)
        try:
            completion = Completion(body)
        except UnfillableError as error:
            param = "response_format.json_schema.schema" if not body.tools else "tools"
            raise ApiError(400, f"{param}: {error}", param=param) from None
        if body.stream:
            return StreamingResponse(_events(completion), media_type="text/event-stream", headers=_UNCACHED)
        return Json(completion.document())

    @app.post("/v1/embeddings", response_model=None)
    def embeddings(body: EmbeddingsRequest) -> Response:
        known(body.model)
        vectors = [embed(text, body.dimensions or _DIMENSIONS) for text in body.input]
        asked = sum(len(tokens(text)) for text in body.input)
        return Json(
            {
                "object": "list",
                "data": [
                    {
                        "object": "embedding",
                        "index": index,
                        "embedding": base64_of(vector) if body.encoding_format == "base64" else vector,
                    }
                    for index, vector in enumerate(vectors)
                ],
                "model": body.model,
                "usage": {"prompt_tokens": asked, "total_tokens": asked},
            }
        )

    def model_document(model: str) -> dict[str, Any]:
        return {"id": model, "object": "model", "created": created, "owned_by": "double"}

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [model_document(model) for model in settings.models]}

    @app.get("/v1/models/{model:path}")
    async def get_model(model: str) -> dict[str, Any]:
        return model_document(known(model))

    @app.get("/health")
    async def get_health() -> dict[str, Any]:
        uptime = round(time.monotonic() - started, 3)
        return {"status": "healthy", "service": "llm", "version": __version__, "uptime_seconds": uptime}

    @app.get("/admin/behaviour")
    async def get_behaviour() -> Behaviour:
        return behaving.now

    @app.put("/admin/behaviour")
    async def put_behaviour(body: Behaviour) -> Behaviour:
        behaving.now = body
        return behaving.now

    @app.delete("/admin/behaviour")
    async def delete_behaviour() -> Behaviour:
        behaving.now = NORMAL
        return behaving.now

    @app.get("/admin/requests", response_model=None)
    async def get_requests(after: Annotated[int, Query(ge=0)] = 0) -> Response:
        return Json({"seen": record.count, "requests": record.after(after)})

    @app.delete("/admin/requests", status_code=204)
    async def delete_requests() -> None:
        record.forget()

    # Around all of it, so that it sees what FastAPI makes of a defect too.
    return Gate(app, settings.key, behaving, record)


async def _events(completion: Completion) -> AsyncIterator[str]:
    """Server-sent events; each is one chunk of the response's body."""
    for chunk in completion.chunks():
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"
