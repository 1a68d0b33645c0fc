"""A named volume of an environment."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from ephemera.resources.arguments import check_volume_name
from ephemera.resources.environment import current


class Volume(pulumi.ComponentResource):
    """A volume named ``<stack>-<name>``, removed with the stack.

    Type token ``ephemera:index:Volume``. Makes one ``docker.Volume``. ``name``: 1 to 100 letters, digits, ``_``, ``.``
    and ``-``, beginning with a letter or digit; any other, or one that is taken, raises ``InputError`` before anything
    is created. ``opts``: of Pulumi; the parent is the environment unless given.
    """

    volume: pulumi.Output[str]
    """Name of the volume on the Docker host."""

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
