"""A named volume of an environment."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pulumi
import pulumi_docker as docker

from ephemera.contract import declared
from ephemera.contract.errors import InputError
from ephemera.resources.arguments import check_args
from ephemera.resources.environment import Environment

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class VolumeArgs:
    """``environment``: the one it belongs to, which names and labels it."""

    environment: Environment


class Volume(pulumi.ComponentResource):
    """A volume named ``<stack>-<name>``; gone with the stack.

    Type token ``ephemera:index:Volume``. Makes one ``docker.Volume``. Refuses (``InputError``, before anything is
    created) a name that Docker would not take.
    """

    volume: pulumi.Output[str]
    """Name of the volume on the engine."""

    def __init__(self, name: str, args: VolumeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(name, args)
        environment = args.environment
        environment.claim("volume", name)
        super().__init__("ephemera:index:Volume", name, None, opts)
        volume = docker.Volume(
            name,
            name=f"{environment.stack}-{name}",
            labels=[docker.VolumeLabelArgs(label=key, value=value) for key, value in environment.labels().items()],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.volume = volume.name
        self.register_outputs({"volume": self.volume})


def check(name: str, args: VolumeArgs) -> None:
    """Raise unless Docker takes ``name`` in a volume's. Pure, no I/O."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(
            f"name of a volume is {declared.shown(name)}",
            remedy="it must be of 1 to 100 letters, digits, _, . and -, beginning with a letter or digit",
        )
    check_args(f"volume {name!r}", args, VolumeArgs)
