"""The bodies of the orchestrator's routes, checked as a whole before LangServe takes them apart."""

from typing import Annotated, Any

from chassis.errors import ApiError
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from olav.graph.state import THREAD_ID, Input

_LARGEST_BATCH = 64


class Configurable(BaseModel):
    thread_id: Annotated[str | None, Field(pattern=THREAD_ID)] = None


class Config(BaseModel):
    """LangChain's clients send more along than is heeded here."""

    configurable: Configurable = Configurable()
    tags: list[str] = []
    metadata: dict[str, Any] = {}


class NoArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InvokeBody(BaseModel):
    input: Input
    config: Config = Config()
    arguments: Annotated[NoArguments, Field(alias="kwargs")] = NoArguments()


class BatchBody(BaseModel):
    inputs: Annotated[list[Input], Field(max_length=_LARGEST_BATCH)]
    config: Config | list[Config] = Config()
    arguments: Annotated[NoArguments, Field(alias="kwargs")] = NoArguments()


class StreamLogBody(InvokeBody):
    """Which of the runs beneath are told of."""

    include_names: list[str] | None = None
    include_types: list[str] | None = None
    include_tags: list[str] | None = None
    exclude_names: list[str] | None = None
    exclude_types: list[str] | None = None
    exclude_tags: list[str] | None = None
    diff: StrictBool = True


_BODIES: dict[str, type[BaseModel]] = {
    "invoke": InvokeBody,
    "stream": InvokeBody,
    "batch": BatchBody,
    "stream_log": StreamLogBody,
}


async def checked(request: Request) -> None:
    """A dependency, after the one for roles. Raises ApiError 422 that blames a field.

    LangServe checks too, but does not say where in the body, and takes some of what is wrong for a defect.
    """
    model = _BODIES.get(request.url.path.rsplit("/", 1)[-1])
    if model is None or request.method != "POST":
        return
    try:
        body = model.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "body"
        raise ApiError(422, "invalid_request", f"{field}: {first['msg']}", field=field) from None
    if isinstance(body, BatchBody) and isinstance(body.config, list) and len(body.config) != len(body.inputs):
        # No schema can say so, and a 422 is for what one can.
        message = f"config: {len(body.config)} configs for {len(body.inputs)} inputs"
        raise ApiError(409, "config_mismatch", message, field="config")


_REFUSALS = {"403": "The role may not do this", "409": "The thread is busy", "502": "The model failed"}


def document(openapi: dict[str, Any], prefix: str) -> None:
    """Make an OpenAPI document say of the routes beneath `prefix` what is checked here, and which of them stream."""
    schemas = openapi["components"]["schemas"]
    for name, model in _BODIES.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
        operation = openapi["paths"][f"{prefix}/{name}"]["post"]
        body = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
        refusal = operation["responses"]["422"]["content"]
        for status, description in _REFUSALS.items():
            operation["responses"][status] = {"description": description, "content": refusal}
        if name.startswith("stream"):
            operation["responses"]["200"]["content"] = {"text/event-stream": {}}
