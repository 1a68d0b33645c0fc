"""HTTP requests to an OpenSearch node: at its published endpoint, or in its container if nothing is published."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ephemera.model.data import DataError, DataService

_SECONDS = 60.0
# With bash alone, which every image of OpenSearch has. An HTTP/1.0 server closes the connection after its answer.
_INSIDE = 'exec 3<>"/dev/tcp/127.0.0.1/$1" && cat >&3 && cat <&3'


class Refusal(Exception):
    """The node did not answer, or rejected a request; the message has its own words."""


@contextmanager
def connected(service: DataService) -> Iterator[Cluster]:
    """Yield the node of ``service``; turn its refusals into :class:`DataError`."""
    endpoint = service.outputs.endpoint()
    connection = None
    if endpoint.host is not None:
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_SECONDS)
    try:
        yield Cluster(service, connection)
    except Refusal as error:
        raise DataError(
            f"the data of {service.name!r}: {error}",
            remedy="see whether it runs, with `ephemera status`, and try again",
        ) from error
    finally:
        if connection is not None:
            connection.close()


class Cluster:
    """A node, asked over ``connection``, or by a command in its container without one."""

    def __init__(self, service: DataService, connection: http.client.HTTPConnection | None) -> None:
        self._service = service
        self._connection = connection

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request; return the answer, read from JSON. Raise :class:`Refusal` if it is an error."""
        text = b"" if body is None else json.dumps(body).encode()
        try:
            if self._connection is None:
                status, answer = self._inside(method, path, text)
            else:
                self._connection.request(method, path, text or None, {"Content-Type": "application/json"})
                response = self._connection.getresponse()
                status, answer = response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Refusal(f"{method} {path.partition('?')[0]}: {error or type(error).__name__}") from error
        # To a request for all of a kind, the node answers 404 with an empty object if there is none.
        if not 200 <= status < 300 and answer != {}:
            raise Refusal(f"{method} {path.partition('?')[0]}: {_reason(answer) or f'status {status}'}")
        return answer

    def _inside(self, method: str, path: str, text: bytes) -> tuple[int, Any]:
        head = f"{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        command = ["bash", "-c", _INSIDE, "bash", str(self._service.outputs.endpoint().internal_port)]
        code, said = self._service.exec(command, stdin=head.encode() + text, timeout_seconds=_SECONDS)
        if code != 0:
            raise OSError(said.strip() or f"exit code {code}")
        answered, _, content = said.partition("\r\n\r\n")
        return int(answered.split(maxsplit=2)[1]), json.loads(content)


def _reason(answer: Any) -> str:
    """Return the reason of an error, which OpenSearch describes in two ways."""
    error = answer.get("error", "") if isinstance(answer, dict) else ""
    return str(error.get("reason", "")) if isinstance(error, dict) else str(error)
