"""Redactors of environments: they hide an environment's secrets by value, from all that is known of them."""

from __future__ import annotations

from contextlib import suppress

from docker.errors import DockerException
from requests.exceptions import RequestException

from ephemera.docker import services
from ephemera.docker.connection import connected
from ephemera.home import leases
from ephemera.model.errors import EphemeraError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.redaction import Redactor
from ephemera.model.settings import Ciphertext
from ephemera.pulumi import encryption, engine
from ephemera.pulumi.workspace import Workspace


def redactor_for(workspace: Workspace, stack: str, outputs: EnvironmentOutputs | None = None) -> Redactor:
    """Return what hides the secrets of an environment in any state; it knows those that can be read in that state.

    ``outputs``: the environment's; read if it has become ready, and they are left out.
    """
    redactor = Redactor()
    with suppress(EphemeraError, DockerException, RequestException), connected() as client:
        for item in services.containers(client, stack):
            redactor.learn_container(client.api.inspect_container(item["Id"]))
    lease = leases.read(stack)
    with suppress(EphemeraError, OSError):
        learn_config(redactor, workspace, stack)
    with suppress(EphemeraError, OSError):
        if outputs is None and (lease is None or lease.phase != "creating"):
            outputs = engine.outputs(workspace, stack)
        if outputs is not None:
            redactor.learn_outputs(outputs)
    return redactor


def learn_config(redactor: Redactor, workspace: Workspace, stack: str) -> None:
    """Have ``redactor`` hide the secrets in the stack's config, also as they are encrypted there."""
    config = workspace.read_config(stack)
    redactor.learn_settings(config)
    redactor.learn(text for text in config.values() if isinstance(text, Ciphertext))
    redactor.learn_secrets(encryption.config_secrets(workspace, stack))
