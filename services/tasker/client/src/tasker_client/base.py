"""What the clients of both APIs do alike."""

from __future__ import annotations

import httpx
from chassis.client import Client

from tasker_client.models import Health


class TaskerClient(Client):
    """Every call is safe to repeat, so each is: see ``chassis.client.Client`` for the arguments and the errors."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float = 10.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, timeout_seconds=timeout_seconds, retries=retries, transport=transport)

    def health(self) -> Health:
        """Health of the service that answers, whether it is healthy or not."""
        return self.call(Health, "GET", "/health", accepted=(503,))
