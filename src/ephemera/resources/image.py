"""An image as a resource: looked up by reference, kept on the machine when the stack is destroyed."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from ephemera.contract import declared
from ephemera.contract.errors import InputError
from ephemera.contract.images import is_reference


class Image(pulumi.ComponentResource):
    """An image by reference. Containers get its id, never a tag: a tag would replace them at every ``up``.

    Type token ``ephemera:index:Image``. ``reference``: repository and tag or digest, on the engine or pulled. Makes one
    ``docker.RemoteImage`` with ``keep_locally``: images belong to the machine, and destroy keeps them. Raises
    :class:`InputError`, before anything is created, for a malformed reference.
    """

    id: pulumi.Output[str]
    """``sha256:…``"""

    def __init__(self, name: str, *, reference: str, opts: pulumi.ResourceOptions | None = None) -> None:
        if not isinstance(reference, str) or not is_reference(reference):
            raise InputError(
                f"reference of image {declared.shown(name)} is {declared.shown(reference)}",
                remedy="it must be a repository with a tag or digest, or an id: docker.io/library/nats:2",
            )
        super().__init__("ephemera:index:Image", name, None, opts)
        image = docker.RemoteImage(name, name=reference, keep_locally=True, opts=pulumi.ResourceOptions(parent=self))
        self.id = image.image_id
        self.register_outputs({"id": self.id})
