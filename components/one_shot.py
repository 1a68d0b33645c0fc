"""One-shot: a container that does something once, such as migrations, and must have ended well before others start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from ephemera.contract.images import AnyImage
from ephemera.resources import Container, ContainerArgs, Environment, ExitZeroProbe, Gate, Volume
from ephemera.resources.arguments import check_args


@dataclass(frozen=True, kw_only=True)
class OneShotArgs:
    """``image``, ``command``: what runs; without a command, the image's. ``variables``: of its environment. ``needs``:
    containers that must be ready before it starts. ``timeout_seconds``: from its start to its end. ``volumes``,
    ``memory_mb``, ``cpus``, ``user``: as of a ``Container``. ``credentials``: listed in the outputs."""

    environment: Environment
    image: AnyImage
    command: Sequence[str | float | bool] | None = None
    variables: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    needs: Sequence[Container] = ()
    timeout_seconds: float = 120.0
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    memory_mb: int = 256
    cpus: float = 1.0
    user: str | None = None
    credentials: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)


class OneShot(pulumi.ComponentResource):
    """A container that is ready when it has ended with exit code 0.

    Type token ``ephemera:index:OneShot``. Makes a ``Container`` that publishes nothing. One that ends otherwise,
    or does not end in time, fails the environment with its exit code and its last log lines. Once it has ended well it
    is run again only when what it is made of has changed: image, command, variables and the like, not its memory. What
    names its ``container`` among its ``needs`` starts after that.
    """

    def __init__(self, name: str, args: OneShotArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check_args(repr(name), args, OneShotArgs)
        super().__init__("ephemera:index:OneShot", name, None, opts)
        self.container = Container(
            name,
            ContainerArgs(
                environment=args.environment,
                image=args.image,
                gate=Gate(probe=ExitZeroProbe(), timeout_seconds=args.timeout_seconds),
                variables=args.variables,
                command=args.command,
                needs=args.needs,
                volumes=args.volumes,
                memory_mb=args.memory_mb,
                cpus=args.cpus,
                user=args.user,
                credentials=args.credentials,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"container": self.container.ready})
