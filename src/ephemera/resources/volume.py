"""A named volume of an environment."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from ephemera.resources.environment import Environment


@dataclass(frozen=True, kw_only=True)
class VolumeArgs:
    """``environment``: the one it belongs to, which names and labels it."""

    environment: Environment


class Volume(pulumi.ComponentResource):
    """A volume named ``<stack>-<name>``; gone with the stack.

    Type token ``ephemera:index:Volume``. Makes one ``docker.Volume``.
    """

    volume: pulumi.Output[str]
    """Name of the volume on the engine."""

    def __init__(self, name: str, args: VolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ephemera:index:Volume", name, None, opts)
        environment = args.environment
        volume = docker.Volume(
            name,
            name=f"{environment.stack}-{name}",
            labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in environment.labels().items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.volume = volume.name
        self.register_outputs({"volume": self.volume})
