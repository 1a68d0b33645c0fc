"""HTTP requests to an OpenSearch node: at its published endpoint, or in its container if nothing is published."""

from __future__ import annotations

import http.client
import json
from typing import Any, Self

from ephemera.contract.data import DataService

_SECONDS = 60.0
# With bash alone, which every image of OpenSearch has. An HTTP/1.0 server closes the connection after its answer.
_INSIDE = 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat >&3 && cat <&3'


class Refusal(Exception):
    """The node did not answer, or rejected a request; the message has its own words."""


class Cluster:
    """The node, over one connection until the end of a ``with`` block."""

    def __init__(self, service: DataService) -> None:
        self._service = service
        self._endpoint = service.outputs.endpoint()
        published = self._endpoint.host is not None
        self._connection = (
            http.client.HTTPConnection(str(self._endpoint.host), self._endpoint.port, timeout=_SECONDS)
            if published
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._connection is not None:
            self._connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the answer, read from JSON. Raise :class:`Refusal` if it is an error."""
        text = b"" if body is None else json.dumps(body).encode()
        try:
            status, answer = self._outside(method, path, text) if self._connection else self._inside(method, path, text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Refusal(f"{method} {path.partition('?')[0]}: {error or type(error).__name__}") from error
        # To a request for all of a kind, the node answers 404 with an empty object if there is none.
        if not 200 <= status < 300 and answer != {}:
            raise Refusal(f"{method} {path.partition('?')[0]}: {_reason(answer) or f'status {status}'}")
        return answer

    def _outside(self, method: str, path: str, text: bytes) -> tuple[int, Any]:
        assert self._connection is not None  # noqa: S101
        self._connection.request(method, path, text or None, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def _inside(self, method: str, path: str, text: bytes) -> tuple[int, Any]:
        head = f"{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        command = ["bash", "-c", _INSIDE, "bash", str(self._endpoint.internal_port)]
        code, said = self._service.exec(command, stdin=head.encode() + text, timeout_seconds=_SECONDS)
        if code != 0:
            raise OSError(said.strip() or f"exit code {code}")
        answered, _, content = said.partition("\r\n\r\n")
        return int(answered.split(maxsplit=2)[1]), json.loads(content)


def _reason(answer: Any) -> str:
    """Return the reason of an error, which OpenSearch describes in two ways."""
    error = answer.get("error", "") if isinstance(answer, dict) else ""
    return str(error.get("reason", "")) if isinstance(error, dict) else str(error)
