"""What brings a service's data back: one small protocol, implemented once for each engine.

A component names its implementation in the service's outputs, ``module:NAME``, which is imported in the project like a
system's program. The driver calls it, and knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ephemera.contract.errors import NotReadyError
from ephemera.contract.outputs import ServiceOutputs
from ephemera.contract.system import imported


class DataError(NotReadyError):
    """Data could not be remembered or brought back; it is as it was before."""

    kind = "data"


class DataService(Protocol):
    """The service as an implementation sees it."""

    @property
    def name(self) -> str:
        """Of the service."""

    @property
    def outputs(self) -> ServiceOutputs:
        """Its endpoints and credentials."""

    def exec(
        self, command: Sequence[str], *, stdin: str | bytes | None = None, timeout_seconds: float | None = None
    ) -> tuple[int, str]:
        """Run ``command`` in its container, also where nothing is published: exit code, and what it wrote."""


@runtime_checkable
class Data(Protocol):
    """Remembers a service's data and brings it back, all or nothing; clients of the service stay connected.

    Both raise :class:`DataError` within a bound, and never wait without one.
    """

    def remember(self, service: DataService) -> str:
        """Remember the state that the data has now, instead of any before; what it returns is given back to
        :meth:`restore`. It is kept on this machine for the user alone, and shown nowhere."""

    def restore(self, service: DataService, remembered: str) -> str:
        """Bring the data back to the state that was remembered last; in a few words what that took."""


class Databases(Protocol):
    """Databases with the data that was remembered, each for one test. One at a time makes and drops them."""

    def create(self, name: str, *, durable: bool = False) -> str:
        """Make a database of that name; its URL, with credentials. Unless it has to be ``durable``, it may be gone when
        the server was restarted."""

    def drop(self, name: str) -> None:
        """Drop it, also while somebody is connected."""

    def close(self) -> None:
        """Drop what is left of them, and let go of the server."""


@runtime_checkable
class DatabaseData(Data, Protocol):
    """Data in a server that can make further databases of it."""

    def databases(self, service: DataService) -> Databases:
        """Begin to make databases; raises :class:`DataError` where that cannot be."""


class _Nothing:
    """For a service whose volume holds nothing that a test could tell from before: a cache, a log."""

    def remember(self, service: DataService) -> str:  # noqa: ARG002 - the protocol's form
        return ""

    def restore(self, service: DataService, remembered: str) -> str:  # noqa: ARG002
        return "left as it is"


NOTHING = _Nothing()
NO_DATA = f"{__name__}:NOTHING"
"""Reference for a service that keeps something on a volume which is never to be brought back."""


def load_data(reference: str) -> Data:
    """Import an implementation; raises :class:`~ephemera.contract.errors.InputError` for one that is none."""
    data: Data = imported(reference, Data)
    return data
