"""A named volume of an environment."""

from __future__ import annotations

import re

import pulumi
import pulumi_docker as docker

from ephemera.contract import declared
from ephemera.contract.errors import InputError
from ephemera.resources.environment import current

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")


class Volume(pulumi.ComponentResource):
    """A volume named ``<stack>-<name>``; gone with the stack.

    Type token ``ephemera:index:Volume``. Makes one ``docker.Volume``. Refuses (``InputError``, before anything is
    created) a name that Docker would not take.
    """

    volume: pulumi.Output[str]
    """Name of the volume on the engine."""

    def __init__(self, name: str, *, opts: pulumi.ResourceOptions | None = None) -> None:
        check_volume_name("the environment", name)
        environment = current()
        environment.claim("volume", name)
        parent = pulumi.ResourceOptions(parent=environment)
        super().__init__("ephemera:index:Volume", name, None, pulumi.ResourceOptions.merge(parent, opts))
        volume = docker.Volume(
            name,
            name=f"{environment.stack}-{name}",
            labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in environment.labels().items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.volume = volume.name
        self.register_outputs({"volume": self.volume})


def check_volume_name(owner: str, name: str) -> None:
    """Raise unless Docker takes ``name`` in a volume's. Pure, no I/O."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"name of a volume of {owner} is {declared.shown(name)}",
            remedy="it must be of 1 to 100 letters, digits, _, . and -, beginning with a letter or digit",
        )
