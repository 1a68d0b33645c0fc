"""Makes an application's OpenAPI document say what FastAPI leaves out or gets wrong about errors."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

_FASTAPIS = ("HTTPValidationError", "ValidationError")
_METHODS = frozenset({"get", "put", "post", "delete", "patch"})


def install(app: FastAPI, model: type[BaseModel], *, refuses_with: int, unavailable: bool) -> None:
    """Document the errors that any route of its kind has: a wrong body, a missing token, a service that is away.

    `model`: of every error's body. `refuses_with`: the status of a request that does not fit. `unavailable`: whether
    routes can answer 503.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(
                get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes),
                model,
                refuses_with,
                unavailable,
            )
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _described(
    document: dict[str, Any], model: type[BaseModel], refuses_with: int, unavailable: bool
) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    own = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**own.pop("$defs", {}), model.__name__: own}
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method not in _METHODS:
                continue
            responses = operation["responses"]
            checked = responses.pop("422", None) is not None
            has_body = "requestBody" in operation
            for sent in operation.get("requestBody", {}).get("content", {}).values():
                # In full: schemathesis looks for a sign-up in bodies, and ends at a reference with an error of its own.
                sent["schema"] = schemas.get(sent["schema"].get("$ref", "").rpartition("/")[2], sent["schema"])
            for status, applies in (
                (refuses_with, checked),
                (400, has_body),
                (413, has_body),
                (401, "security" in operation),
                (503, unavailable and path != "/health"),
            ):
                if applies:
                    responses.setdefault(str(status), {"description": _DESCRIPTIONS[status], "content": content})
    for name in _FASTAPIS:
        schemas.pop(name, None)
    return document


_DESCRIPTIONS = {
    400: "The request is malformed",
    401: "No token, or one that is not valid",
    413: "The body is too large",
    422: "A field is wrong, missing or unknown",
    503: "A service that this one needs cannot be reached",
}
