"""OpenSearch: one node, without the security plugin, its data on a volume of the environment or in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import cached_property

import pulumi

from ephemera import Container, HealthCheck, Http, Port, component
from ephemera.model import declared, labels
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage, EngineImage
from ephemera.resources.arguments import check_image, check_variables, refuse_reserved

_HOME = "/usr/share/opensearch"
_DATA = f"{_HOME}/data"
_PORT = 9200
_IMAGE = EngineImage(name="opensearch")
_VERSION = "2.16.0"
_PLUGINS = ("security", "knn", "sql")
"""What the official image has beyond the bare server, as far as systems use it."""
_HEALTH = "/_cluster/health?wait_for_status=yellow&timeout=1s"
# With bash alone: a local image has no curl.
_ASK = (
    f"exec 3<>/dev/tcp/127.0.0.1/{_PORT} && printf 'GET {_HEALTH} HTTP/1.0\\r\\n\\r\\n' >&3"
    " && read -r _ status _ <&3 && [[ $status == 200 ]]"
)
_SETTINGS = {
    "discovery.type": "single-node",
    # For the snapshots of resets: on the volume, so that they survive a restart as the data does.
    "path.repo": f"{_DATA}/ephemera",
    # Mapping files into memory needs a kernel setting (vm.max_map_count) that many machines do not have.
    "node.store.allow_mmap": "false",
    # Otherwise indexes become read-only when the machine's disk fills up.
    "cluster.routing.allocation.disk.threshold_enabled": "false",
}
# The network is the environment's own, and nothing is published beyond loopback. The plugin would need certificates,
# and clients that trust them, to protect data that lives as long as a test.
_SECURITY_DISABLED = {"DISABLE_SECURITY_PLUGIN": "true", "DISABLE_INSTALL_DEMO_CONFIG": "true"}
_OTHERS_DISABLED = {"DISABLE_PERFORMANCE_ANALYZER_AGENT_CLI": "true"}  # a second JVM, which nothing uses
_JAVA = "OPENSEARCH_JAVA_OPTS"


@component
class OpenSearch(Container):
    """An OpenSearch cluster of one node.

    Type token ``ephemera:index:OpenSearch``; further arguments as of ``Container``. Makes a ``Volume`` for the
    configuration, where the official image writes at its start, and one for the data if it is persistent. Publishes
    port 9200 as endpoint ``http``. Ready when the cluster's health is yellow or better; health check by the same
    request every 10 s, timeout 5 s, 6 retries, start 60 s. The security plugin is disabled: clients have all rights.

    The outputs' ``capabilities`` are ``version``, and ``security``, ``knn`` and ``sql``, each ``present``, ``disabled``
    or ``absent``, as from an image that was built locally.
    Raises ``InputError`` for a heap of more than three quarters of the memory, and for settings that it sets itself.
    """

    image: AnyImage = _IMAGE
    """An image with the official image's interface."""
    persistent: bool = True
    """Keep data on a volume; otherwise in memory, 256 MiB at most, and a restart loses it."""
    settings: Mapping[str, str | float | bool] = field(default_factory=dict)
    """Further settings of the node, ``{"action.auto_create_index": False}``."""
    heap_mb: int = 512
    """Java's heap in MiB, part of ``memory_mb``, as is all other memory of Java, and the cache of files."""
    memory_mb: int = 1280
    cpus: float = 2.0
    """CPU limit; less if the Docker host has fewer."""
    pids: int = 1024
    timeout_seconds: float = 180.0
    # Java unpacks code there.
    tmpfs: Mapping[str, str] = field(default_factory=lambda: {"/tmp": "size=128m,exec"})  # noqa: S108 - inside

    def prepare(self) -> None:
        self._check_node()
        environment = self.environment
        self.cpus = min(self.cpus, environment.cores())
        volumes = {f"{_HOME}/config": f"{self.name}-config"}
        tmpfs = {f"{_HOME}/logs": "size=64m,mode=1777"}
        if self.persistent:
            volumes[_DATA] = f"{self.name}-data"
        else:
            tmpfs[_DATA] = "size=256m,mode=1777"
        self.complete(
            ready=Http(_HEALTH, interval_seconds=0.1),
            ports={"http": Port(_PORT)},
            variables={
                "cluster.name": environment.stack,
                "node.name": self.name,
                **_SETTINGS,
                **self.settings,
                **_SECURITY_DISABLED,
                **_OTHERS_DISABLED,
                _JAVA: f"-Xms{self.heap_mb}m -Xmx{self.heap_mb}m",
            },
            healthcheck=HealthCheck(["bash", "-c", _ASK], retries=6, start_period_seconds=60),
            volumes=volumes,
            tmpfs=tmpfs,
            run_as="opensearch",
            data="ephemera.components.opensearch_data:DATA",
            engine_capabilities=_capabilities(environment.image_config(self.image).get("Labels")),
        )

    @cached_property
    def url(self) -> pulumi.Output[str]:
        """URL inside the network, ``http://<name>:9200``, known when the cluster is ready."""
        name = self.name
        return self.started.apply(lambda _: f"http://{name}:{_PORT}")

    def _check_node(self) -> None:
        """Raise for values that cannot work or would not arrive, such as a heap that leaves too little memory."""
        owner = repr(self.name)
        check_image(owner, self.image)
        declared.expect(f"persistent of {owner}", self.persistent, bool, "True or False")
        check_variables(owner, self.settings)
        refuse_reserved(self.name, "settings", self.settings, (*_SECURITY_DISABLED, *_OTHERS_DISABLED, _JAVA))
        declared.check_whole(f"heap_mb of {owner}", self.heap_mb, 1)
        declared.check_whole(f"memory_mb of {owner}", self.memory_mb, 1)
        declared.check_number(f"cpus of {owner}", self.cpus, declared.MIN_CPUS)
        if not 0 < self.heap_mb * 4 <= self.memory_mb * 3:
            raise InputError(
                f"heap_mb of {owner} is {self.heap_mb}, of {self.memory_mb} MiB of memory",
                remedy="Java needs memory beside its heap: give at most three quarters of memory_mb",
            )


def _capabilities(marks: Mapping[str, str] | None) -> dict[str, str]:
    """Return what the node can do; ``marks``: the image's labels, by which a local recipe tells what it lacks."""
    lacks = (marks or {}).get(labels.LACKS, "").split()
    there = {plugin: "disabled" if plugin == "security" else "present" for plugin in _PLUGINS}
    return {"version": _VERSION, **there, **{plugin: "absent" for plugin in _PLUGINS if plugin in lacks}}
