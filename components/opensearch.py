"""OpenSearch: one node, without the security plugin, its data on a volume of the environment or in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from ephemera.contract import declared
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage, EngineImage
from ephemera.resources import (
    Container,
    ContainerArgs,
    Environment,
    Gate,
    HealthCheck,
    HttpProbe,
    Port,
    Volume,
    VolumeArgs,
)
from ephemera.resources.arguments import check_args, check_variables, refuse_reserved

_HOME = "/usr/share/opensearch"
_DATA = f"{_HOME}/data"
_PORT = 9200
_IMAGE = EngineImage(name="opensearch")
_VERSION = "2.16.0"
_PLUGINS = ("security", "knn", "sql")
"""What the official image has beyond the engine, as far as systems use it."""
_HEALTH = "/_cluster/health?wait_for_status=yellow&timeout=1s"
# By bash alone: the official image has curl as well, a local one has not.
_ASK = (
    f"exec 3<>/dev/tcp/127.0.0.1/{_PORT} && printf 'GET {_HEALTH} HTTP/1.0\\r\\n\\r\\n' >&3"
    " && read -r _ status _ <&3 && [[ $status == 200 ]]"
)
_SETTINGS = {
    "discovery.type": "single-node",
    # Of snapshots that bring the data back: on the volume, so that they outlive a restart as the data does.
    "path.repo": f"{_DATA}/ephemera",
    # Mapping files into memory needs a kernel setting of the machine's (vm.max_map_count) that many do not have.
    "node.store.allow_mmap": "false",
    # The disk is the machine's: when others fill it, indexes would become read-only here.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}
# The network is the environment's own, and nothing is published beyond loopback. The plugin would want certificates,
# and every client to trust them, to protect data that lives as long as a test.
_SECURITY_DISABLED = {"DISABLE_SECURITY_PLUGIN": "true", "DISABLE_INSTALL_DEMO_CONFIG": "true"}
_OTHERS_DISABLED = {"DISABLE_PERFORMANCE_ANALYZER_AGENT_CLI": "true"}  # a second JVM, that nobody asks anything
_JAVA = "OPENSEARCH_JAVA_OPTS"


@dataclass(frozen=True, kw_only=True)
class OpenSearchArgs:
    """``image``: one with the official image's interface. ``persistent``: data on a volume; without, in memory of the
    container's own, 256 MiB at most, and a restart loses it. ``settings``: further ones of the node,
    ``{"action.auto_create_index": False}``. ``heap_mb``, ``memory_mb``: MiB; what Java needs beside its heap, and the
    files that it reads, are within ``memory_mb``. ``cpus``: cores, as far as the machine has them."""

    environment: Environment
    image: AnyImage = _IMAGE
    persistent: bool = True
    settings: Mapping[str, str | float | bool] = field(default_factory=dict)
    heap_mb: int = 512
    memory_mb: int = 1280
    cpus: float = 2.0


class OpenSearch(pulumi.ComponentResource):
    """An OpenSearch cluster of one node.

    Type token ``ephemera:index:OpenSearch``. Makes a ``Container``, gated by the cluster's health, which has to be
    yellow or better; a ``Volume`` for the configuration, where the official image writes at its start, and one for the
    data when it is persistent; health check by the same question every 10 s, time-out 5 s, 6 retries, start 60 s. The
    security plugin is disabled: whoever reaches the node may do everything.

    Outputs tell in ``capabilities`` the version, and of ``security``, ``knn`` and ``sql`` whether they are ``absent``,
    which they are from an image that was built here, ``disabled`` or ``present``.
    Refuses (``InputError``) a heap that is more than three quarters of the memory, and settings that it makes itself.
    """

    url: pulumi.Output[str]
    """URL from inside the network, ``http://<name>:9200``; known when the cluster is ready."""

    def __init__(self, name: str, args: OpenSearchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check(name, args)
        super().__init__("ephemera:index:OpenSearch", name, None, opts)
        environment = args.environment
        child = pulumi.ResourceOptions(parent=self)
        volumes = {f"{_HOME}/config": Volume(f"{name}-config", VolumeArgs(environment=environment), child)}
        # What Java unpacks there, it loads as code.
        tmpfs = {"/tmp": "size=128m,exec", f"{_HOME}/logs": "size=64m,mode=1777"}  # noqa: S108 - in the container
        if args.persistent:
            volumes[_DATA] = Volume(f"{name}-data", VolumeArgs(environment=environment), child)
        else:
            tmpfs[_DATA] = "size=256m,mode=1777"
        self.container = Container(
            name,
            ContainerArgs(
                environment=environment,
                image=args.image,
                gate=Gate(probe=HttpProbe(path=_HEALTH, interval_seconds=0.1), timeout_seconds=180.0),
                ports={"http": Port(number=_PORT)},
                variables={
                    "cluster.name": environment.stack,
                    "node.name": name,
                    **_SETTINGS,
                    **args.settings,
                    **_SECURITY_DISABLED,
                    **_OTHERS_DISABLED,
                    _JAVA: f"-Xms{args.heap_mb}m -Xmx{args.heap_mb}m",
                },
                healthcheck=HealthCheck(
                    command=["bash", "-c", _ASK],
                    interval_seconds=10,
                    timeout_seconds=5,
                    retries=6,
                    start_period_seconds=60,
                ),
                volumes=volumes,
                tmpfs=tmpfs,
                memory_mb=args.memory_mb,
                cpus=min(args.cpus, environment.cores()),
                pids=1024,
                user="opensearch",
                data="components.opensearch_data:DATA",
                engine_capabilities=_capabilities(environment.image_lacks(args.image)),
            ),
            child,
        )
        self.url = self.container.ready.apply(lambda _: f"http://{name}:{_PORT}")
        self.register_outputs({"url": self.url})


def check(name: str, args: OpenSearchArgs) -> None:
    """Raise for values that cannot work or would not arrive, and a heap that would have the kernel end the node. Pure,
    no I/O."""
    check_args(repr(name), args, OpenSearchArgs)
    declared.expect(f"persistent of {name!r}", args.persistent, bool, "True or False")
    check_variables(repr(name), args.settings)
    refuse_reserved(repr(name), args.settings, (*_SECURITY_DISABLED, *_OTHERS_DISABLED, _JAVA))
    declared.check_whole(f"heap_mb of {name!r}", args.heap_mb, 1)
    declared.check_whole(f"memory_mb of {name!r}", args.memory_mb, 1)
    declared.check_number(f"cpus of {name!r}", args.cpus, declared.MIN_CPUS)
    if not 0 < args.heap_mb * 4 <= args.memory_mb * 3:
        raise InputError(
            f"heap_mb of {name!r} is {args.heap_mb}, of {args.memory_mb} MiB of memory",
            remedy="Java needs memory beside its heap: give at most three quarters of memory_mb",
        )


def _capabilities(lacks: tuple[str, ...]) -> dict[str, str]:
    there = {plugin: "disabled" if plugin == "security" else "present" for plugin in _PLUGINS}
    return {"version": _VERSION, **there, **{plugin: "absent" for plugin in _PLUGINS if plugin in lacks}}
