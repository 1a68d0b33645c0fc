"""Logs of containers, as the engine has kept them: whole lines, however they were cut up on the way."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from requests.exceptions import HTTPError

from ephemera.model.errors import EngineError

if TYPE_CHECKING:
    import docker

_HEADER = struct.Struct(">BxxxL")
_TIMEOUT_SECONDS = 60
_GROWTH = 4
_MICROSECONDS = 26
"""Length of a stamp that Python reads."""


class LogLine(NamedTuple):
    """``stamp``: when it was written, as the engine says it: RFC 3339, UTC, nanoseconds."""

    stamp: str
    text: str

    @property
    def time(self) -> datetime:
        """``stamp`` to the microsecond."""
        try:
            return datetime.fromisoformat(self.stamp[:_MICROSECONDS].rstrip("Z") + "+00:00")
        except ValueError as error:
            raise EngineError(
                f"the engine's log line has no time: {self.stamp!r}", remedy="use a json-file log driver"
            ) from error


def read(
    client: docker.DockerClient,
    container: str,
    *,
    tail: int | None = None,
    since: float | None = None,
    follow: bool = False,
) -> Iterator[LogLine]:
    """Yield the lines of ``container`` (its id) as the engine sends them: all, the last ``tail``, or those written
    ``since`` (seconds since the epoch). ``follow``: go on until the container ends, and
    wait for as long as that takes. Raises the errors of docker-py, and of requests while it reads."""
    if tail is None or follow:
        yield from _stitched(_pieces(client, container, tail=tail, since=since, follow=follow))
    elif tail > 0:
        yield from _last(client, container, tail, since)


def _last(client: docker.DockerClient, container: str, count: int, since: float | None) -> Iterator[LogLine]:
    """The engine counts pieces of lines, of 16 kB each: ask for more until the first line that is wanted is whole."""
    asked = count + 2
    while True:
        pieces = list(_pieces(client, container, tail=asked, since=since, follow=False))
        found = list(_stitched(pieces))
        # The first line of either stream may lack its beginning.
        cut = {stream: next(stamp for kind, stamp, _ in pieces if kind == stream) for stream, _, _ in pieces}
        if len(pieces) < asked or not {line.stamp for line in found[-count:]} & set(cut.values()):
            yield from found[-count:]
            return
        asked *= _GROWTH


_Piece = tuple[int, str, bytes]
"""1 for standard output or 2 for standard error, when it was written, and what."""


def _stitched(pieces: Iterable[_Piece]) -> Iterator[LogLine]:
    """What does not end in a line feed goes on in the next piece of the same stream."""
    begun: dict[int, tuple[str, bytearray]] = {}
    for stream, stamp, text in pieces:
        first, whole = begun.setdefault(stream, (stamp, bytearray()))
        whole += text
        if text.endswith(b"\n"):
            del begun[stream]
            yield LogLine(first, whole[:-1].decode(errors="replace"))
    for stamp, rest in begun.values():
        yield LogLine(stamp, rest.decode(errors="replace"))


def _pieces(
    client: docker.DockerClient, container: str, *, tail: int | None, since: float | None, follow: bool
) -> Iterator[_Piece]:
    api = client.api
    wanted: dict[str, Any] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": "all" if tail is None else tail}
    wanted |= {"since": f"{since:.9f}"} if since is not None else {}
    wanted |= {"follow": 1} if follow else {}
    terminal = bool((api.inspect_container(container).get("Config") or {}).get("Tty"))
    # Not docker-py's own way: it hands out bytes without saying where a piece ended and which stream it was of.
    answer = api.get(
        f"{api.base_url}/containers/{container}/logs",
        params=wanted,
        stream=True,
        timeout=None if follow else _TIMEOUT_SECONDS,
    )
    with answer:
        _check(answer)
        chunks = answer.iter_content(chunk_size=None)
        for stream, data in ((1, line) for line in _ended(chunks)) if terminal else _frames(chunks):
            stamp, _, text = data.partition(b" ")
            yield stream, stamp.decode(errors="replace").rstrip(), text or b"\n"


def _check(answer: Any) -> None:
    from docker.errors import create_api_error_from_http_exception

    try:
        answer.raise_for_status()
    except HTTPError as error:
        create_api_error_from_http_exception(error)


def _frames(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """One for each piece."""
    received = bytearray()
    for chunk in chunks:
        received += chunk
        at = 0
        while len(received) - at >= _HEADER.size:
            kind, length = _HEADER.unpack_from(received, at)
            end = at + _HEADER.size + length
            if len(received) < end:
                break
            yield kind, bytes(received[at + _HEADER.size : end])
            at = end
        del received[:at]


def _ended(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a terminal, whose output the engine does not frame."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest
