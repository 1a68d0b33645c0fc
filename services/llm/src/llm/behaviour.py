"""How the double misbehaves: per request by headers, for requests to come by the admin endpoint."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import Headers

from llm.errors import refused
from llm.requests import WHOLE

Endpoint = Literal["chat", "embeddings"]

_HEADERS = {
    "delay_ms": "x-double-delay-ms",
    "chunk_delay_ms": "x-double-chunk-delay-ms",
    "fail_status": "x-double-fail",
    "cut_after": "x-double-cut-after",
}


class Faults(BaseModel):
    """What one request meets. `delay_ms`: before the answer. `chunk_delay_ms`: before each chunk of a stream.
    `cut_after`: chunks of a stream, then its connection is closed."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    delay_ms: Annotated[int, Field(ge=0, le=600_000), WHOLE] = 0
    chunk_delay_ms: Annotated[int, Field(ge=0, le=60_000), WHOLE] = 0
    fail_status: Literal[401, 429, 500, 503] | None = None
    retry_after_ms: Annotated[int, Field(ge=0, le=60_000), WHOLE] = 100
    cut_after: Annotated[int, Field(ge=0), WHOLE] | None = None


class Behaviour(Faults):
    """The faults of requests to come: of the next `times` (None: of all), to one `endpoint` (None: to both)."""

    times: Annotated[int, Field(ge=1), WHOLE] | None = None
    endpoint: Endpoint | None = None


NORMAL = Behaviour()


class Behaving:
    """The behaviour of this process."""

    def __init__(self) -> None:
        self.now = NORMAL

    def take(self, endpoint: Endpoint, headers: Headers) -> Faults:
        """The faults of one request, which is counted. Raises ApiError for a header that makes no sense."""
        asked = _asked(headers)
        given: dict[str, Any] = {}
        if self.now.endpoint in (None, endpoint):
            given = self.now.model_dump(exclude={"times", "endpoint"})
            if self.now.times is not None:
                left = self.now.times - 1
                self.now = self.now.model_copy(update={"times": left}) if left else NORMAL
        return Faults(**given | asked)


def _asked(headers: Headers) -> dict[str, Any]:
    asked = {field: headers[name] for field, name in _HEADERS.items() if name in headers}
    try:
        whole = {field: int(value) if re.fullmatch(r"[0-9]{1,9}", value) else value for field, value in asked.items()}
        return Faults.model_validate(whole).model_dump(include=set(whole))
    except ValidationError as error:
        first = error.errors()[0]
        name = _HEADERS[str(first["loc"][0])]
        raise refused(f"header {name}: {first['msg']}", param=name) from None
