"""The policy: what no resource of an environment may do without a stated reason.

Every resource that a program registers is judged, whichever package made it: in a run, before it is created, and in a
test by :func:`ephemera.check_policy`, without Docker. Plain values are judged; a value that a rule has to know and
cannot (an ``Output``) counts as a violation.

The rules, by the name that an exception gives:

``raw``             a container is made by ``ephemera.Container``
``root``            a container does not run as root
``writable_root``   its root file system is read-only
``capabilities``    it drops all capabilities; each that it keeps has a reason
``privileges``      not privileged, no-new-privileges, default seccomp and AppArmor profiles, no devices of the host
``limits``          memory, swap and CPU are limited (processes too: that limit is set through Docker's API)
``publish``         ports are bound to loopback addresses
``host_namespaces`` network, processes, IPC, users and cgroups are not the host's, nor another container's
``host_files``      nothing of the host's file system is mounted, the Docker socket least of all, except in development
                    mode: a service's declared source folder, read-only, at its declared place
``logs``            logs are rotated
``labels``          containers, networks and volumes carry the stack's labels, by which they are removed
``network``         a network is a bridge of this machine
``kind``            of Docker's resources, only containers, networks, volumes and images

Opting out is one visible argument: ``root_reason``, ``writable_root_reason`` and ``capabilities`` of ``Container``; for
everything else, ``exceptions`` of the ``System``: ``"<resource>.<rule>"`` → reason.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pulumi

from ephemera.model import labels
from ephemera.model.errors import InputError, PolicyError, UnknownNameError
from ephemera.model.images import is_root

RULES = (
    "raw",
    "root",
    "writable_root",
    "capabilities",
    "privileges",
    "limits",
    "publish",
    "host_namespaces",
    "host_files",
    "logs",
    "labels",
    "network",
    "kind",
)
_DOCKER = "docker:index/"
_IMAGES = ("remoteImage", "image", "tag", "registryImage")


class Policy:
    """The rules, with the reasons that one environment gives for breaking them. ``exceptions``: of its system."""

    def __init__(self, exceptions: Mapping[str, str]) -> None:
        self._reasons: dict[tuple[str, str], str] = {}
        self._sources: dict[str, tuple[str, str]] = {}
        self._ours: set[pulumi.Resource | None] = set()
        for key, reason in exceptions.items():
            resource, _, rule = key.rpartition(".")
            if rule not in RULES:
                raise UnknownNameError(f"policy rule in exception {key!r}", rule, RULES)
            if not resource or not reason.strip():
                raise InputError(f"policy exception {key!r} is not valid", remedy='"<resource>.<rule>" → a reason')
            self._reasons[resource, rule] = reason

    def vouch(self, component: pulumi.Resource, resource: str, reasons: Mapping[str, str]) -> None:
        """Accept what ``component`` makes as our own, and note the reasons, rule → text, that it gives for
        ``resource``; blank ones do not count."""
        self._ours.add(component)
        self._reasons |= {(resource, rule): reason for rule, reason in reasons.items() if reason.strip()}

    def mount_source(self, resource: str, folder: str, target: str) -> None:
        """In development mode, let our container of that name mount one folder of the host, there and read-only."""
        self._sources[resource] = (folder, target)

    def violations(
        self, token: str, resource: str, given: Mapping[str, Any], *, ours: bool = False
    ) -> list[tuple[str, str]]:
        """Return the rules that a resource of type ``token`` breaks without a reason, each with the value that breaks
        it. ``ours``: it is part of our ``Container``."""
        source = self._sources.get(resource) if ours else None

        def excused(rule: str) -> bool:
            return (resource, rule) in self._reasons

        return [broken for broken in _broken(token, given, ours, source, excused) if not excused(broken[0])]

    def judge(self, args: pulumi.ResourceTransformationArgs) -> None:
        """Raise :class:`PolicyError` if a resource that is to be registered breaks a rule without a reason."""
        broken = self.violations(args.type_, args.name, args.props, ours=args.opts.parent in self._ours)
        if broken:
            raise PolicyError([f"{args.name} breaks {rule!r}: {what}" for rule, what in broken])


def capability_rule(name: str) -> str:
    """Return the rule that a reason for one capability excuses; ``name``: ``CHOWN`` or ``CAP_CHOWN``."""
    return f"capabilities.{name.removeprefix('CAP_')}"


def _broken(
    token: str, given: Mapping[str, Any], ours: bool, source: tuple[str, str] | None, excused: Callable[[str], bool]
) -> Iterator[tuple[str, str]]:
    if not token.startswith(_DOCKER):
        return
    kind = token.removeprefix(_DOCKER).partition(":")[0]
    if kind == "container":
        yield from _container(given, ours, source)
        yield from _capabilities(given, excused)
    elif kind == "network":
        driver = _get(given, "driver")
        if driver not in (None, "bridge"):
            yield "network", f"driver is {driver!r}, which reaches beyond this machine's bridges"
    elif kind == "volume":
        driver, options = _get(given, "driver"), _get(given, "driver_opts")
        if driver not in (None, "local") or options:
            yield "host_files", f"driver {driver or 'local'!r} with options {options!r} may mount anything"
    elif kind not in _IMAGES:
        yield "kind", f"{token} is nothing that the sweep would find"
    if kind in ("container", "network", "volume"):
        marks = [_get(label, "label") for label in _items(_get(given, "labels"))]
        if labels.STACK not in marks:
            yield "labels", f"it has no label {labels.STACK}, so a sweep would leave it behind"


def _container(given: Mapping[str, Any], ours: bool, mountable: tuple[str, str] | None) -> Iterator[tuple[str, str]]:
    if not ours:
        yield "raw", "it is made by pulumi_docker's Container, not by ephemera's"
    user = _get(given, "user")
    # Without one, the image's user counts, which our own Container has checked by now.
    if (user is None and not ours) or (user is not None and (not isinstance(user, str) or is_root(user))):
        yield "root", f"user is {user!r}"
    if _get(given, "read_only") is not True:
        yield "writable_root", f"read_only is {_get(given, 'read_only')!r}"
    yield from _privileges(given)
    for name in ("memory", "memory_swap", "cpus"):
        if not _positive(_get(given, name)):
            yield "limits", f"{name} is {_get(given, name)!r}"
    for port in _items(_get(given, "ports")):
        if not _loopback(_get(port, "ip")):
            yield "publish", f"port {_get(port, 'internal')} is bound to {_get(port, 'ip')!r}, no loopback address"
    if _get(given, "publish_all_ports"):
        yield "publish", "publish_all_ports is set"
    yield from _host(given, mountable)
    options = _get(given, "log_opts")
    if not isinstance(options, Mapping) or not options.get("max-size"):
        yield "logs", "log_opts have no max-size"


def _privileges(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    options = _get(given, "security_opts")
    options = options if isinstance(options, (list, tuple)) else ()
    if not {"no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"} & set(options):
        yield "privileges", "security_opts lack no-new-privileges"
    for option in options:
        if not isinstance(option, str) or "unconfined" in option or option.endswith(("disable", ":false", "=false")):
            yield "privileges", f"security_opts have {option!r}"
    for name in ("privileged", "devices", "device_cgroup_rules", "device_requests", "gpus", "group_adds", "sysctls"):
        if _get(given, name):
            yield "privileges", f"{name} is set"


def _capabilities(given: Mapping[str, Any], excused: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    capabilities = _get(given, "capabilities")
    drops = _get(capabilities, "drops")
    if not isinstance(drops, (list, tuple)) or "ALL" not in drops:
        yield "capabilities", "not all capabilities are dropped"
    for name in _items(_get(capabilities, "adds")):
        if not isinstance(name, str) or not excused(capability_rule(name)):
            yield "capabilities", f"{name} is kept without a reason"


def _host(given: Mapping[str, Any], mountable: tuple[str, str] | None) -> Iterator[tuple[str, str]]:
    for name, fine in (
        ("network_mode", ("bridge",)),
        ("pid_mode", (None, "", "private")),
        ("ipc_mode", (None, "", "private", "none")),
        ("userns_mode", (None, "")),
        ("cgroupns_mode", (None, "", "private")),
        ("cgroup_parent", (None, "")),
    ):
        value = _get(given, name)
        if not (value is None or isinstance(value, str)) or value not in fine:
            yield "host_namespaces", f"{name} is {value!r}"
    for volume in _items(_get(given, "volumes")):
        if mountable is not None and _is_source(volume, *mountable):
            continue
        for name in ("host_path", "from_container"):
            if _get(volume, name) is not None:
                yield "host_files", f"{_get(volume, 'container_path')} is mounted from {name} {_get(volume, name)!r}"
        source = _get(volume, "volume_name")
        if isinstance(source, str) and "/" in source:  # Docker takes a path for a mount of the host's
            yield "host_files", f"{_get(volume, 'container_path')} is mounted from {source!r}"
    for mount in _items(_get(given, "mounts")):
        if _get(mount, "type") != "tmpfs":
            yield "host_files", f"{_get(mount, 'target')} is a mount of type {_get(mount, 'type')!r}"


def _is_source(volume: Any, folder: str, target: str) -> bool:
    wanted = {"host_path": folder, "container_path": target, "from_container": None, "volume_name": None}
    found = {name: _get(volume, name) for name in wanted}
    known = not any(isinstance(value, pulumi.Output) for value in found.values())
    return known and found == wanted and _get(volume, "read_only") is True


def _positive(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) > 0
    except (TypeError, ValueError):
        return False


def _loopback(address: Any) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _items(value: Any) -> Iterable[Any]:
    # A value that cannot be looked into is one item, which no rule accepts.
    return value if isinstance(value, (list, tuple)) else () if value is None else (value,)


def _get(given: Any, name: str) -> Any:
    """Return a property of inputs: of a dictionary in either spelling, or of an ``…Args`` object."""
    if not isinstance(given, Mapping):
        # An Output answers to any name, with another one.
        return given if isinstance(given, pulumi.Output) else getattr(given, name, None)
    head, *rest = name.split("_")
    return given.get(name, given.get(head + "".join(part.capitalize() for part in rest)))
