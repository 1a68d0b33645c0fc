"""A model behind real HTTP, for tests: says what it is told to, and fails as it is told to."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.responses import Response


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Instead of one answer. `status`: an error of this status; `cut_after`: a stream that ends after so many pieces,
    `politely` or by closing the connection; `silent_seconds`: no word for so long."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    politely: bool = False
    silent_seconds: float = 0.0


class ModelServer:
    """`label` answers what asks for one of several, `pieces` everything else. `faults` are for the next requests, in
    order; `failing` is for all of them. `asked`: the bodies, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.label = "search"
        self.pieces = ["The", " heap", " is", " too", " large."]
        self.faults: list[Fault | None] = []
        self.failing: Fault | None = None
        self.asked: list[dict[str, Any]] = []
        self.gate: threading.Event | None = None
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self._chat)
        self.app.post("/v1/embeddings")(self._embed)
        self.app.get("/v1/models")(self._models)

    def chats(self) -> list[dict[str, Any]]:
        return [body for body in self.asked if "messages" in body]

    async def _models(self) -> dict[str, Any]:
        return {"object": "list", "data": []}

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        if (failure := await self._fail()) is not None:
            return failure
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": number, "embedding": [1.0, 0.0]} for number, _ in enumerate(texts)]
        return JSONResponse({"object": "list", "data": data, "model": body["model"], "usage": _USAGE})

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        fault = self._next()
        if (failure := await self._fail(fault)) is not None:
            return failure
        if self.gate is not None:
            await asyncio.to_thread(self.gate.wait, 10)
        asks_for_label = "Answer with one of" in str(body["messages"][0]["content"])
        pieces = [self.label] if asks_for_label else self.pieces
        if body.get("stream"):
            return StreamingResponse(_events(body["model"], pieces, fault), media_type="text/event-stream")
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(pieces)},
            "finish_reason": "stop",
        }
        return JSONResponse(_completion(body["model"], "chat.completion", choice) | {"usage": _USAGE})

    def _next(self) -> Fault | None:
        return self.faults.pop(0) if self.faults else self.failing

    async def _fail(self, fault: Fault | None = None) -> Response | None:
        fault = fault or self.failing
        if fault is None:
            return None
        await asyncio.sleep(fault.silent_seconds)
        if fault.status is None:
            return None
        error = {"message": "secret details", "type": "server_error", "param": None, "code": None}
        return JSONResponse({"error": error}, fault.status, fault.headers)


_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _completion(model: str, kind: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c-1", "object": kind, "created": 1, "model": model, "choices": [choice]}


async def _events(model: str, pieces: list[str], fault: Fault | None) -> AsyncIterator[str]:
    def event(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return f"data: {json.dumps(_completion(model, 'chat.completion.chunk', choice))}\n\n"

    yield event({"role": "assistant", "content": ""})
    for number, piece in enumerate(pieces):
        if fault is not None and fault.cut_after == number:
            if fault.politely:
                return
            raise ConnectionAbortedError("cut, as asked")
        yield event({"content": piece})
    yield event({}, "stop")
    yield "data: [DONE]\n\n"


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """`app` on a free port of loopback, in a thread; gives its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    started = threading.Event()
    startup = server.startup

    async def tell(*arguments: Any, **named: Any) -> None:
        await startup(*arguments, **named)
        started.set()

    server.startup = tell  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert started.wait(10), "the server has not started within 10 s"
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def model_server() -> Iterator[ModelServer]:
    server = ModelServer()
    with serving(server.app) as url:
        server.url = f"{url}/v1"
        yield server
