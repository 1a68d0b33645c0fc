"""What must not be shown of an environment: its secrets, by value, from all that is known of them."""

from __future__ import annotations

from contextlib import suppress

from docker.errors import DockerException
from requests.exceptions import RequestException

from ephemera.contract.errors import EphemeraError
from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.redaction import Redactor
from ephemera.driver import encryption, engine, services
from ephemera.driver.workspace import Workspace
from ephemera.home import leases
from ephemera.host.engine import connected


def redactor_of(outputs: EnvironmentOutputs) -> Redactor:
    """Return what hides the secrets of an environment that is up. With Docker in trouble, those of its outputs."""
    redactor = Redactor()
    redactor.learn_outputs(outputs)
    _learn_containers(redactor, outputs.stack)
    return redactor


def redactor_for(workspace: Workspace, stack: str) -> Redactor:
    """Return what hides the secrets of an environment in whatever state, as far as they can be known in it."""
    redactor = Redactor()
    _learn_containers(redactor, stack)
    lease = leases.read(stack)
    with suppress(EphemeraError, OSError):
        redactor.learn_settings(workspace.read_config(stack))
        redactor.learn_secrets(encryption.config_secrets(workspace, stack))
        if lease is None or lease.phase != "creating":
            redactor.learn_outputs(engine.outputs(workspace, stack))
    return redactor


def _learn_containers(redactor: Redactor, stack: str) -> None:
    with suppress(EphemeraError, DockerException, RequestException), connected() as client:
        for item in services.containers(client, stack):
            redactor.learn_container(client.api.inspect_container(item["Id"]))
