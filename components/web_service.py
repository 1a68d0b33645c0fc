"""A service that answers HTTP in a Python image of ours: the same gate, health check and end for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from ephemera.contract import declared
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage
from ephemera.resources import Container, ContainerArgs, Environment, Gate, HealthCheck, HttpProbe, Port
from ephemera.resources.arguments import check_args

_HEALTH = "/health"


@dataclass(frozen=True, kw_only=True)
class WebServiceArgs:
    """``package``: the Python package of the service, which has a program ``probe`` that is given the port and ends
    with 0 when ``/health`` is answered with 200: a means that the image has, where it has no curl. ``port``: in the
    container, endpoint ``http``. ``start_period_seconds``: for which a failing health check counts for nothing.
    The rest is as in :class:`~ephemera.resources.ContainerArgs`.
    """

    environment: Environment
    image: AnyImage
    package: str
    port: int
    variables: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)
    needs: Sequence[Container] = ()
    start_period_seconds: float = 15
    memory_mb: int = 256
    cpus: float = 1.0
    publish: bool = True
    stop_grace_seconds: int = 2
    credentials: Mapping[str, pulumi.Input[str | float | bool]] = field(default_factory=dict)


class WebService(pulumi.ComponentResource):
    """A container that is ready when it answers ``GET /health`` with 200.

    Type token ``ephemera:index:WebService``. Makes a ``Container``; health check every 10 s, time-out 5 s, 10 retries.
    Refuses (``InputError``) a package that cannot be imported by its name.
    """

    def __init__(self, name: str, args: WebServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(name, args)
        super().__init__("ephemera:index:WebService", name, None, opts)
        self.container = Container(
            name,
            ContainerArgs(
                environment=args.environment,
                image=args.image,
                gate=Gate(probe=HttpProbe(path=_HEALTH)),
                ports={"http": Port(number=args.port)},
                publish=args.publish,
                variables=args.variables,
                healthcheck=HealthCheck(
                    command=["python", "-m", f"{args.package}.probe", str(args.port)],
                    interval_seconds=10,
                    timeout_seconds=5,
                    retries=10,
                    start_period_seconds=args.start_period_seconds,
                ),
                needs=args.needs,
                memory_mb=args.memory_mb,
                cpus=args.cpus,
                stop_grace_seconds=args.stop_grace_seconds,
                credentials=args.credentials,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({"container": self.container.ready})


def check(name: str, args: WebServiceArgs) -> None:
    """Raise unless ``package`` is the dotted name of one. Pure, no I/O."""
    check_args(repr(name), args, WebServiceArgs)
    if not isinstance(args.package, str) or not all(part.isidentifier() for part in args.package.split(".")):
        raise InputError(
            f"package of {name!r} is {declared.shown(args.package)}", remedy="it must be a Python package, by its name"
        )
