"""The API: OpenAI's routes, the admin's, health."""

import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from chassis.app import Api
from chassis.errors import ApiError, JsonResponse, documented
from fastapi import APIRouter, Depends, Query, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.responses import StreamingResponse

from llm import __version__, errors
from llm.behaviour import NORMAL, Behaving, Behaviour
from llm.completions import Completion
from llm.errors import refused
from llm.gate import LARGEST_BODY, Gate
from llm.record import Record
from llm.requests import ChatRequest, EmbeddingsRequest
from llm.schemas import UnfillableError
from llm.settings import Settings
from llm.text import tokens
from llm.vectors import base64_of, embed

_DIMENSIONS = 64
_ANSWERS = {"description": "The answer", "content": {"application/json": {}, "text/event-stream": {}}}
_UNCACHED = {"cache-control": "no-cache"}


def create_app(settings: Settings) -> Api:
    """The double, behaving normally, with nothing seen."""
    behaving, record = Behaving(), Record()
    created = int(time.time())
    app = Api(
        "llm",
        __version__,
        settings,
        prefix="llm",
        form=errors.form,
        error=errors.ErrorBody,
        refuses_with=400,
        largest_body=LARGEST_BODY,
        around=lambda app: Gate(app, settings.key, behaving, record),
    )

    # For the document alone: what checks the key is the gate.
    keys = [Depends(HTTPBearer(auto_error=False)), Depends(APIKeyHeader(name="api-key", auto_error=False))]
    routes = APIRouter(dependencies=keys if settings.key else [])
    no_model = documented(404, model=errors.ErrorBody)
    faulty = documented(404, 429, 500, 503, model=errors.ErrorBody)

    def known(model: str) -> str:
        if model not in settings.models:
            names = ", ".join(settings.models)
            message = f"The model {model!r} does not exist, only {names}"
            raise ApiError(404, errors.MODEL_NOT_FOUND, message, field="model")
        return model

    # Not async, these two: they compute, and the loop answers others meanwhile.
    @routes.post("/v1/chat/completions", response_model=None, responses={**faulty, 200: _ANSWERS})
    def chat(body: ChatRequest) -> Response:
        known(body.model)
        body.check_choice()
        try:
            completion = Completion(body)
        except UnfillableError as error:
            param = "response_format.json_schema.schema" if not body.tools else "tools"
            raise refused(f"{param}: {error}", param=param) from None
        if body.stream:
            return StreamingResponse(_events(completion), media_type="text/event-stream", headers=_UNCACHED)
        return JsonResponse(completion.document())

    @routes.post("/v1/embeddings", response_model=None, responses=faulty)
    def embeddings(body: EmbeddingsRequest) -> Response:
        known(body.model)
        vectors = [embed(text, body.dimensions or _DIMENSIONS) for text in body.input]
        asked = sum(len(tokens(text)) for text in body.input)
        return JsonResponse(
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

    @routes.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [model_document(model) for model in settings.models]}

    @routes.get("/v1/models/{model:path}", responses=no_model)
    async def get_model(model: str) -> dict[str, Any]:
        return model_document(known(model))

    @routes.get("/admin/behaviour")
    async def get_behaviour() -> Behaviour:
        return behaving.now

    @routes.put("/admin/behaviour")
    async def put_behaviour(body: Behaviour) -> Behaviour:
        behaving.now = body
        return behaving.now

    @routes.delete("/admin/behaviour")
    async def delete_behaviour() -> Behaviour:
        behaving.now = NORMAL
        return behaving.now

    @routes.get("/admin/requests", response_model=None)
    async def get_requests(after: Annotated[int, Query(ge=0)] = 0) -> Response:
        return JsonResponse({"seen": record.count, "requests": record.after(after)})

    @routes.delete("/admin/requests", status_code=204)
    async def delete_requests() -> None:
        record.forget()

    app.include_router(routes)
    return app


async def _events(completion: Completion) -> AsyncIterator[str]:
    """Server-sent events; each is one chunk of the response's body."""
    for chunk in completion.chunks():
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"
