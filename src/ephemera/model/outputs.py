"""The outputs document of an environment: its endpoints and credentials, as typed models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
)

from ephemera.model.errors import EngineError, UnknownNameError
from ephemera.model.variables import variable

SCHEMA_VERSION: Literal[1] = 1
EXPORT = "environment"
"""Name of the stack output that holds the document."""

REDACTED = "***"


Port = Annotated[int, Field(ge=1, le=65535)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Model):
    """Where a service answers. ``host``, ``port``, ``url``: from this machine, None if it is not published.
    ``internal_host``, ``internal_port``, ``internal_url``: from inside the environment's network."""

    scheme: str
    host: str | None
    port: Port | None
    url: str | None
    internal_host: str
    internal_port: Port
    internal_url: str
    protocol: Literal["tcp", "udp"] = "tcp"

    def inside(self) -> Endpoint:
        """Return the endpoint as seen from inside the environment's network."""
        return self.model_copy(
            update={"host": self.internal_host, "port": self.internal_port, "url": self.internal_url}
        )


class ServiceOutputs(_Model):
    """One service. ``container``: its name. ``image``: the image's id. ``endpoints``: by name. ``credentials``: by
    purpose. ``capabilities``: what the service can do (``version``, …). ``readiness``: its probe as plain values.
    ``data``: implementation that resets its data, ``module:NAME`` (:mod:`ephemera.model.data`), or empty."""

    container: str
    image: str
    endpoints: Mapping[str, Endpoint] = {}
    credentials: Mapping[str, SecretStr] = {}
    capabilities: Mapping[str, str] = {}
    readiness: Mapping[str, Any] = {}
    data: str = ""

    @property
    def asked(self) -> Endpoint | None:
        """The endpoint that a probe connects to from this machine: the first published over TCP; None without one."""
        published = (each for each in self.endpoints.values() if each.port is not None)
        return next((each for each in published if each.protocol == "tcp"), None)

    def endpoint(self, name: str | None = None) -> Endpoint:
        """Return the endpoint of that name, by default the first; raise :class:`UnknownNameError` without one."""
        if name is None and self.endpoints:
            return next(iter(self.endpoints.values()))
        if name is None or name not in self.endpoints:
            raise UnknownNameError(f"endpoint of {self.container}", name or "", self.endpoints)
        return self.endpoints[name]

    def secrets(self) -> dict[str, str]:
        """Return the credentials by purpose, in the clear."""
        return {purpose: secret.get_secret_value() for purpose, secret in self.credentials.items()}

    @field_serializer("credentials")
    def _credentials(self, value: Mapping[str, SecretStr], info: Any) -> dict[str, str]:
        shown = bool(info.context and info.context.get("show_secrets"))
        return self.secrets() if shown else dict.fromkeys(value, REDACTED)


class EnvironmentOutputs(_Model):
    """The whole environment. Credentials print as ``***`` unless asked for. ``services``: by name."""

    schema_version: Literal[1] = 1
    stack: str
    system: str
    branch: str
    services: Mapping[str, ServiceOutputs]

    @staticmethod
    def parse(document: Any) -> EnvironmentOutputs:
        """Return the outputs that ``document`` holds; raise :class:`EngineError` if it is of another shape."""
        try:
            return EnvironmentOutputs.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise EngineError(
                f"the stack's outputs are not a document of schema {SCHEMA_VERSION}: {where}: {first['msg']}",
                remedy="bring it up again with this version",
            ) from error

    def service(self, name: str) -> ServiceOutputs:
        """Return the service of that name; raise :class:`UnknownNameError` with the nearest one if there is none."""
        if name not in self.services:
            raise UnknownNameError(f"service in {self.stack}", name, self.services)
        return self.services[name]

    def inside(self) -> EnvironmentOutputs:
        """Return the outputs as seen from inside the environment's network."""
        services = {
            name: service.model_copy(
                update={"endpoints": {key: endpoint.inside() for key, endpoint in service.endpoints.items()}}
            )
            for name, service in self.services.items()
        }
        return self.model_copy(update={"services": services})

    def document(self, *, show_secrets: bool = False) -> dict[str, Any]:
        """Return the outputs as plain JSON values; credentials as ``***`` unless ``show_secrets``."""
        return self.model_dump(mode="json", context={"show_secrets": show_secrets})

    def variables(self, *, show_secrets: bool = False) -> Iterator[tuple[str, str]]:
        """Yield environment variables by name, such as ``POSTGRES_HOST``, ``ORCHESTRATION_URL``.

        The first endpoint of a service is ``<SERVICE>_URL``/``_HOST``/``_PORT``, further ones carry their name:
        ``<SERVICE>_<ENDPOINT>_URL``. Credentials are ``<SERVICE>_<PURPOSE>``. Other characters become ``_``, and the
        second of two equal names gets ``_2``.
        """
        document = self.document(show_secrets=show_secrets)
        taken = {"EPHEMERA_STACK"}
        yield "EPHEMERA_STACK", self.stack
        for words, value in _values(document["services"]):
            name = variable(*words, taken=taken)
            taken.add(name)
            yield name, value


def _values(services: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    for service, values in services.items():
        for position, (name, endpoint) in enumerate(values["endpoints"].items()):
            for key in ("url", "host", "port"):
                if endpoint[key] is not None:
                    yield (service, *((name,) if position else ()), key), str(endpoint[key])
        for purpose, value in values["credentials"].items():
            yield (service, purpose), value
