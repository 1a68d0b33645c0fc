"""olav from the outside: `Remote` speaks to its API, `Local` runs the orchestrator in this process."""

from chassis.client import (
    ClientError,
    InvalidInputError,
    ResponseError,
    UnexpectedResponseError,
    UnreachableError,
)

from olav_client.models import Answer, Final, Health, Login, Me, Source, Status, Token, User
from olav_client.remote import Remote

__version__ = "1.0.0"

__all__ = [
    "Answer",
    "ClientError",
    "Final",
    "Health",
    "InvalidInputError",
    "Login",
    "Me",
    "Remote",
    "ResponseError",
    "Source",
    "Status",
    "Token",
    "UnexpectedResponseError",
    "UnreachableError",
    "User",
    "__version__",
]
