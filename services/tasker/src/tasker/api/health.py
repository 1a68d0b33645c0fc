"""The health document. A service is healthy when it was started wholly and reaches its database now."""

import time
from typing import Any, Literal

from pydantic import BaseModel

from tasker import __version__
from tasker.store.database import GONE, Database

_STARTED = time.monotonic()


class Check(BaseModel):
    status: Literal["up", "down"]
    latency_ms: float | None = None
    error: str | None = None


async def check_database(database: Database) -> Check:
    try:
        return Check(status="up", latency_ms=round(await database.ping(), 3))
    except GONE as error:
        return Check(status="down", error=str(error))


def document(
    service: str, environment: str, *, started: bool, checks: dict[str, Check], **details: Any
) -> tuple[int, dict[str, Any]]:
    """The HTTP status, and the body that goes with it."""
    up = all(check.status == "up" for check in checks.values())
    status = "starting" if not started else "healthy" if up else "unhealthy"
    return 200 if status == "healthy" else 503, {
        "status": status,
        "service": service,
        "version": __version__,
        "environment": environment,
        "uptime_seconds": round(time.monotonic() - _STARTED, 3),
        "checks": {name: check.model_dump() for name, check in checks.items()},
        **details,
    }
