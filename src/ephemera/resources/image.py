"""An image as a resource: looked up by reference, kept on the machine when the stack goes."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_docker as docker


@dataclass(frozen=True, kw_only=True)
class ImageArgs:
    """``reference``: repository and tag or digest, present on the engine or pulled."""

    reference: str


class Image(pulumi.ComponentResource):
    """An image by reference. Containers get its id, never a tag: a tag would replace them at every ``up``.

    Type token ``ephemera:index:Image``. Makes one ``docker.RemoteImage`` with ``keep_locally``: images belong to the
    machine, and destroy keeps them.
    """

    id: pulumi.Output[str]
    """``sha256:…``"""

    def __init__(self, name: str, args: ImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("ephemera:index:Image", name, None, opts)
        image = docker.RemoteImage(
            name, name=args.reference, keep_locally=True, opts=pulumi.ResourceOptions(parent=self)
        )
        self.id = image.image_id
        self.register_outputs({"id": self.id})
