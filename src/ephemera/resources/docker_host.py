"""The Docker host of an environment: what is on it already, and the addresses, ports and limits that it gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pulumi
from docker.errors import ImageNotFound, NotFound
from requests.exceptions import HTTPError

from ephemera.docker import connection, forwarder, ports
from ephemera.docker.address import configured
from ephemera.docker.exposure import exposure
from ephemera.docker.fixed_ports import ADDRESS, port_of, refuse_held
from ephemera.docker.ports import LOOPBACK, Protocol
from ephemera.home import addresses, credentials
from ephemera.home.addresses import Allocation
from ephemera.home.identity import key
from ephemera.host import limits
from ephemera.model import labels, progress
from ephemera.model.labels import Identity
from ephemera.model.settings import Settings

Published = tuple[str, str, int]
"""A container port as Docker writes it (``53/udp``), and the address and port that it is published on."""
_LOW_PORTS = 1024
_UDP = "/udp"
_MIB = 1024 * 1024


class DockerHost:
    """The Docker engine, and this user's records of addresses and keys, as one environment's program uses them.

    ``fixed_ports``: the system's tables, for ``expose: fixed``. Raises ``InputError`` when published ports could not be
    reached from this machine, and ``MachineError`` when the address pool is used up. A preview records nothing.
    """

    rehearsed = False
    """Whether the program runs against mocks, without a Docker host."""

    def __init__(self, identity: Identity, settings: Settings, fixed_ports: Mapping[str, Mapping[str, int]]) -> None:
        self._identity = identity
        self._fixed_ports = fixed_ports.get(settings.port_table, {})
        self.client = connection.connect()
        self._exposure = exposure(settings, configured(), self.client)
        self.expose = self._exposure.mode
        """How ports are published: ``loopback``, ``dynamic``, ``fixed`` or ``none``."""
        self.network = self._allocate(settings.subnet_pool)
        """Subnet and loopback address of the environment."""
        self._own_address = self.expose == "loopback"
        self.bind = self.network.address if self._own_address else self._exposure.bind
        """Address of the Docker host that ports are bound to."""
        self._existing: list[Mapping[str, Any]] = self.client.api.containers(
            all=True, filters=labels.filters(identity.backend, identity.stack)
        )
        self._given: dict[str, int] = {}
        self._image_configs: dict[str, Mapping[str, Any]] = {}
        self._told: set[str] = set()

    def engine_id(self) -> str:
        """Return the id of the Docker engine."""
        return connection.identity(self.client)

    def key(self) -> bytes:
        """Return the user's key."""
        return key()

    def credential(self, service: str, purpose: str) -> str:
        """Return a generated credential: the same on every run, different in every stack."""
        return credentials.credential(self._identity.stack, service, purpose)

    def forward_ports(self) -> None:
        """Start forwarding published ports to this machine if the Docker host is reached through SSH."""
        if self._exposure.forwarded and self.expose != "none":
            forwarder.hold(configured().url, self._identity.stack, self._identity.backend)

    def image_config(self, reference: str) -> Mapping[str, Any]:
        """Return the image's configuration; empty if the image is missing, which only a preview meets."""
        if reference not in self._image_configs:
            try:
                self._image_configs[reference] = self.client.api.inspect_image(reference)["Config"] or {}
            except ImageNotFound:
                self._image_configs[reference] = {}
        return self._image_configs[reference]

    def existing_variables(self, service: str) -> Mapping[str, str]:
        """Return the environment variables of the service's existing container; empty if there is none."""
        try:
            config = self.client.api.inspect_container(f"{self._identity.stack}-{service}")["Config"]
        except NotFound:
            return {}
        return dict(each.split("=", 1) for each in config["Env"] or () if "=" in each)

    def cores(self) -> int:
        """Return the CPUs of the Docker host; Docker rejects larger limits."""
        return int(self.client.info().get("NCPU", 1))

    def revive(self, container: str, memory_mb: int, *, finishes: bool) -> None:
        """Bring a container (by id) that existed before this run up to date: its memory limit, in MiB; then start it if
        it has stopped, unpause it if it is paused.

        The provider updates the limit in place, and Pulumi records an update that Docker has rejected as done, so state
        and container disagree from then on (ADR 0032). Raises what Docker rejects. ``finishes``: it is a one-shot,
        which is left alone if it has ended with 0.
        """
        if not any(item["Id"] == container for item in self._existing):
            return
        document = self.client.api.inspect_container(container)
        limit, current = memory_mb * _MIB, document["HostConfig"].get("Memory")
        if current and current != limit:  # 0 where Docker ignores limits
            self.client.api.update_container(container, mem_limit=limit, memswap_limit=limit)
        state = document["State"]
        if state["Status"] == "paused":
            self.client.api.unpause(container)
        elif not state["Running"] and not (finishes and state["Status"] == "exited" and state["ExitCode"] == 0):
            self.client.api.start(container)

    def limit_processes(self, container: str, pids: int) -> None:
        """Set the limit of processes and threads of a container (by id); the provider has no property for it.

        Without cgroups Docker ignores all limits: that is reported once, and the container runs without.
        """
        answer = self.client.api.post(
            f"{self.client.api.base_url}/containers/{container}/update", json={"PidsLimit": pids}
        )
        try:
            answer.raise_for_status()
        except HTTPError:
            if not self.client.api.inspect_container(container)["State"]["Running"]:
                return  # it has ended already: nothing is left to limit
            without = limits.ignored(self.client.info())
            if "processes" not in without:
                raise
            self._tell_once(f"this engine has no cgroups: it ignores limits of {', '.join(without)}")

    def address(self, service: str, endpoint: str, number: int, protocol: Protocol = "tcp") -> tuple[str, int] | None:
        """Return host and port that container port ``number`` is published on; None if it is not published.

        Each endpoint has a port of its own, even if several share a container port. Raises :class:`PortInUseError` if
        something else holds a fixed port.
        """
        if self.expose == "none":
            return None
        if protocol == "udp" and self._exposure.forwarded:
            told = "SSH forwards TCP alone, so this endpoint is only reached from inside the environment"
            self._tell_once(f"{service}.{endpoint}: {told}")
            return None
        if self.expose == "fixed":
            port = port_of(self._fixed_ports, f"{service}.{endpoint}", protocol)
            if port is None:
                return None
            refuse_held(self.client, self._identity.stack, service, port, protocol)
            return ADDRESS, port
        port = self._pick(service, endpoint, number, protocol)
        return (self.network.address if self._own_address else self._exposure.host), port

    def publishes(self, service: str, wanted: Collection[Published]) -> bool:
        """Return whether the service's existing container publishes exactly ``wanted``, in any order."""
        found = next((item for item in self._existing if item["Labels"].get(labels.SERVICE) == service), None)
        if found is None:
            return False
        try:
            bound = self.client.api.inspect_container(found["Id"])["HostConfig"]["PortBindings"] or {}
        except NotFound:
            return False
        return set(wanted) == {
            (container_port, each["HostIp"], int(each["HostPort"] or 0))
            for container_port, bindings in bound.items()
            for each in bindings or ()
        }

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            progress.emit({"type": "notice", "message": message})

    def _allocate(self, pool: str) -> Allocation:
        live: str | None = None
        occupied: list[str] = []
        for network in self.client.api.networks():
            subnets = [config["Subnet"] for config in (network["IPAM"]["Config"] or ()) if "Subnet" in config]
            if self._identity.owns(network["Labels"] or {}) and subnets:
                live = subnets[0]
            else:
                occupied.extend(subnets)
        record = not pulumi.runtime.is_dry_run()
        stack = self._identity.stack
        return addresses.allocate(stack, pool=pool, occupied=occupied, live_subnet=live, record=record)

    def _pick(self, service: str, endpoint: str, number: int, protocol: Protocol) -> int:
        """Return the endpoint's host port.

        The recorded one if it is usable; else the one its container publishes, which makes up for a lost record; else,
        on an address of the environment's own, the standard one; else any free one.
        """
        name = f"{service}.{endpoint}{_UDP if protocol == 'udp' else ''}"
        live = self._live_ports(service, number, protocol)
        given = {port for other, port in _of(protocol, self._given).items() if other != name}

        def usable(port: int) -> bool:
            return port not in given and (port in live or self._is_free(port, protocol))

        def choose(table: Mapping[str, Allocation]) -> int:
            return self._choose(name, number, protocol, live, table)

        record = not pulumi.runtime.is_dry_run()
        self._given[name] = addresses.pick_port(self._identity.stack, name, choose, usable=usable, record=record)
        return self._given[name]

    def _choose(
        self, name: str, number: int, protocol: Protocol, live: set[int], table: Mapping[str, Allocation]
    ) -> int:
        stack = self._identity.stack
        kept = table[stack].ports if stack in table else {}
        holders = {port: other for other, port in _of(protocol, {**kept, **self._given}).items() if other != name}
        # Stacks that share an address must leave each other the ports that stopped containers will want again.
        others = [] if self._own_address else [known.ports for other, known in table.items() if other != stack]
        taken = {*holders, *(port for known in others for port in _of(protocol, known).values())}
        live = live - taken
        if self._own_address and number in live:
            return number
        if live:
            return ports.picked_first(f"{stack}/{name}", live)
        too_low = number < _LOW_PORTS and not self._exposure.low_ports
        if self._own_address and not too_low and number not in taken and self._is_free(number, protocol):
            return number
        picked = ports.pick(self._local_address or LOOPBACK, f"{stack}/{name}", taken, protocol)
        if self._own_address:
            holder = holders.get(number) or ports.holder(self.bind, number, protocol) or "another process"
            why = "is only for root" if too_low else f"is held by {holder}"
            progress.emit({"type": "notice", "message": f"{name}: port {number} {why}, using {picked} instead"})
        return picked

    def _live_ports(self, service: str, number: int, protocol: Protocol) -> set[int]:
        """Return the host ports on which the service's existing container publishes that port."""
        wanted = (self.bind, number, protocol)
        return {
            port["PublicPort"]
            for item in self._existing
            if item["Labels"].get(labels.SERVICE) == service
            for port in item["Ports"]
            if "PublicPort" in port and (port.get("IP"), port.get("PrivatePort"), port.get("Type")) == wanted
        }

    @property
    def _local_address(self) -> str | None:
        """The address that ports are bound to, if it is one of this machine."""
        return self.bind if self._own_address or self.bind == LOOPBACK else None

    def _is_free(self, port: int, protocol: Protocol) -> bool:
        return self._local_address is None or ports.is_free(self._local_address, port, protocol)


def _of(protocol: Protocol, kept: Mapping[str, int]) -> dict[str, int]:
    """Return the ports of that protocol: TCP and UDP do not conflict."""
    return {name: port for name, port in kept.items() if name.endswith(_UDP) is (protocol == "udp")}
