"""How a service's data is reset: one small protocol, implemented once for each database.

A component names its implementation in the service's outputs, ``module:NAME``, which is imported in the project like a
system's program. The driver calls it, and knows no database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ephemera.model.errors import NotReadyError
from ephemera.model.outputs import ServiceOutputs
from ephemera.model.system import imported


class DataError(NotReadyError):
    """Data could not be saved or restored; it is unchanged."""

    kind = "data"


class DataService(Protocol):
    """A service, for implementations."""

    @property
    def name(self) -> str:
        """Name of the service."""

    @property
    def outputs(self) -> ServiceOutputs:
        """Its endpoints and credentials."""

    def exec(
        self, command: Sequence[str], *, stdin: str | bytes | None = None, timeout_seconds: float | None = None
    ) -> tuple[int, str]:
        """Run ``command`` in its container; return exit code and output, standard error included."""


@runtime_checkable
class Data(Protocol):
    """Saves and restores a service's data, all or nothing; clients of the service stay connected.

    Both methods raise :class:`DataError`, and have a deadline.
    """

    def remember(self, service: DataService) -> str:
        """Save the current data as the reset point, in place of any before; return a text for :meth:`restore`, which is
        kept on this machine, readable by the user alone, and shown nowhere."""

    def restore(self, service: DataService, remembered: str) -> str:
        """Restore the data to the reset point; return what that took, in a few words."""


class Databases(Protocol):
    """Databases with the data of the reset point, each for one test. Not safe for concurrent calls."""

    def create(self, name: str, *, durable: bool = False) -> str:
        """Create a database of that name; return its URL, with credentials. Unless ``durable``, it may be lost when the
        server restarts."""

    def drop(self, name: str) -> None:
        """Drop a database, even if clients are connected."""

    def close(self) -> None:
        """Drop all that are left, and disconnect."""


@runtime_checkable
class DatabaseData(Data, Protocol):
    """Data in a server that can create further databases from it."""

    def databases(self, service: DataService) -> Databases:
        """Return a maker of databases; raise :class:`DataError` if the service allows none."""


class _Nothing:
    """For a service whose volume holds nothing that tests depend on: a cache, a log."""

    def remember(self, service: DataService) -> str:  # noqa: ARG002 - the protocol's form
        return ""

    def restore(self, service: DataService, remembered: str) -> str:  # noqa: ARG002
        return "left as it is"


NOTHING = _Nothing()
NO_DATA = f"{__name__}:NOTHING"
"""Reference for a service whose volume is never reset."""


def load_data(reference: str) -> Data:
    """Import an implementation; raise :class:`~ephemera.model.errors.InputError` if it is none."""
    data: Data = imported(reference, Data)
    return data
