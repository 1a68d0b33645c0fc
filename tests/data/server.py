"""A container of an engine's image as an implementation of the data protocol sees it, without an environment around."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docker import DockerClient
from pydantic import SecretStr

from ephemera.docker.connection import connected
from ephemera.docker.services import ServiceHandle
from ephemera.images import ensure
from ephemera.model.images import EngineImage
from ephemera.model.outputs import Endpoint, ServiceOutputs

ADDRESS = "127.83.254.2"
PASSWORD = "p'a\"s $s\\w:@/ord"  # noqa: S105


class Service(ServiceHandle):
    """``variables`` are set for each command, over the container's own."""

    def __init__(
        self, client: DockerClient, container: str, outputs: ServiceOutputs, variables: Mapping[str, str]
    ) -> None:
        super().__init__(client, "none", outputs.container, outputs, container)
        self._variables = [f"{key}={value}" for key, value in variables.items()]

    def exec(
        self, command: Sequence[str], *, stdin: str | bytes | None = None, timeout_seconds: float | None = None
    ) -> tuple[int, str]:
        return super().exec(["env", *self._variables, *command], stdin=stdin, timeout_seconds=timeout_seconds)


@dataclass(frozen=True)
class Server:
    """A container that runs; ``inner``: the port in it."""

    client: DockerClient
    container: Any
    inner: int

    @property
    def port(self) -> int:
        """Where it answers, which is another one after each start."""
        self.container.reload()
        return int(self.container.ports[f"{self.inner}/tcp"][0]["HostPort"])

    def service(self, name: str, credentials: Mapping[str, str], **variables: str) -> Service:
        """What an implementation is given."""
        url = f"{name}://{ADDRESS}:{self.port}"
        endpoint = Endpoint(
            scheme=name,
            host=ADDRESS,
            port=self.port,
            url=url,
            internal_host=name,
            internal_port=self.port,
            internal_url=url,
        )
        outputs = ServiceOutputs(
            container=name,
            image="",
            endpoints={name: endpoint},
            credentials={key: SecretStr(value) for key, value in credentials.items()},
        )
        return Service(self.client, self.container.id, outputs, variables)


@contextmanager
def running(engine: str, port: int, **options: Any) -> Iterator[Server]:
    """A container of the engine's image, hardened as components do it."""
    image = EngineImage(name=engine)
    reference = ensure([image], "local")[image]
    with connected() as client:
        container = client.containers.run(
            reference,
            name=f"test-{engine}-{secrets.token_hex(4)}",
            detach=True,
            init=True,
            cap_drop=["ALL"],
            ports={f"{port}/tcp": (ADDRESS, None)},
            **options,
        )
        try:
            yield Server(client, container, port)
        finally:
            container.remove(force=True, v=True)
