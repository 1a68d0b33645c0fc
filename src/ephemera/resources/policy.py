"""The policy: what no resource of an environment may do without a reason that somebody can read.

Every resource that a program registers is judged, with whatever package made it: at run time, before it is created, and
in a test by :func:`check`, without Docker. Judged is what is given as plain values; what a rule has to know and cannot
(an ``Output``) counts as broken.

The rules, by the name that an exception gives:

``raw``             a container is made by ``ephemera.resources.Container``
``root``            a container does not run as root
``writable_root``   its root file system is read-only
``capabilities``    it drops all capabilities; each that it keeps has a reason
``privileges``      not privileged, no-new-privileges, default seccomp and AppArmor profiles, no devices of the host
``limits``          memory, swap and CPU are limited (processes too: that limit is set through the engine's API)
``publish``         ports are bound to loopback addresses
``host_namespaces`` network, processes, IPC, users and cgroups are not the host's, nor another container's
``host_files``      nothing of the host's file system is mounted, the Docker socket least of all; but in development
                    mode, a service's declared source folder, read-only, at its declared place
``logs``            logs are rotated
``labels``          what the sweep must find carries the stack's labels
``network``         a network is a bridge of this machine
``kind``            of Docker's resources, only containers, networks, volumes and images

Opting out is one visible argument: ``root_reason``, ``writable_root_reason`` and ``capabilities`` of ``Container``;
for all else, and for other people's resources, ``exceptions`` of the ``System``: ``"<resource>.<rule>"`` →
reason.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from ephemera.contract import labels
from ephemera.contract.errors import InputError, PolicyError, UnknownNameError
from ephemera.contract.images import is_root

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


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A rule that a resource breaks without a reason; ``what``: by which value."""

    resource: str
    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.resource} breaks {self.rule!r}: {self.what}"


class Policy:
    """The rules, with the reasons that one environment gives for breaking them."""

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
        """Take what ``component`` makes for our own, and note the reasons, rule → text, that it gives for ``resource``;
        empty ones count for nothing."""
        self._ours.add(component)
        self._reasons |= {(resource, rule): reason for rule, reason in reasons.items() if reason.strip()}

    def mount_source(self, resource: str, folder: str, target: str) -> None:
        """Development mode: let our container of that name mount this one folder of the host, there and read-only."""
        self._sources[resource] = (folder, target)

    def violations(
        self, token: str, resource: str, given: Mapping[str, Any], *, ours: bool = False
    ) -> tuple[Violation, ...]:
        """What a resource of that type token breaks without a reason. ``ours``: it is a part of our ``Container``."""
        source = self._sources.get(resource) if ours else None
        found = _broken(token, given, ours, source, lambda rule: bool(self._reasons.get((resource, rule))))
        return tuple(
            Violation(resource=resource, rule=rule, what=what)
            for rule, what in found
            if not self._reasons.get((resource, rule))
        )

    def judge(self, args: pulumi.ResourceTransformationArgs) -> None:
        """Raise :class:`PolicyError` for a resource that is to be registered and breaks a rule without a reason."""
        parent = args.opts.parent
        ours = parent in self._ours
        broken = self.violations(args.type_, args.name, args.props, ours=ours)
        if broken:
            raise PolicyError([str(each) for each in broken])


def _broken(
    token: str, given: Mapping[str, Any], ours: bool, source: tuple[str, str] | None, excused: Any
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
    if kind in ("container", "network", "volume") and not _labelled(given):
        yield "labels", f"it has no label {labels.STACK}, so a sweep would leave it behind"


def _container(given: Mapping[str, Any], ours: bool, mountable: tuple[str, str] | None) -> Iterator[tuple[str, str]]:
    if not ours:
        yield "raw", "it is made by pulumi_docker's Container, not by ephemera.resources'"
    user = _get(given, "user")
    # Without one, the image's own holds: our Container has asked the engine for it by now.
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


def _capabilities(given: Mapping[str, Any], excused: Any) -> Iterator[tuple[str, str]]:
    capabilities = _get(given, "capabilities")
    drops = _get(capabilities, "drops")
    if not isinstance(drops, (list, tuple)) or "ALL" not in drops:
        yield "capabilities", "not all capabilities are dropped"
    for name in _items(_get(capabilities, "adds")):
        if not isinstance(name, str) or not excused(capability_rule(name)):
            yield "capabilities", f"{name} is kept without a reason"


def capability_rule(name: str) -> str:
    """What :meth:`Policy.excuse` takes for one capability, ``CHOWN`` or ``CAP_CHOWN``."""
    return f"capabilities.{name.removeprefix('CAP_')}"


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
    others = ("from_container", "volume_name")
    path, place, read_only = (_get(volume, name) for name in ("host_path", "container_path", "read_only"))
    return (
        isinstance(path, str)
        and isinstance(place, str)
        and (path, place) == (folder, target)
        and read_only is True
        and all(_get(volume, name) is None for name in others)
    )


def _labelled(given: Mapping[str, Any]) -> bool:
    return any(_get(label, "label") == labels.STACK for label in _items(_get(given, "labels")))


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
    # What cannot be looked into is one item, which no rule finds fine.
    return value if isinstance(value, (list, tuple)) else () if value is None else (value,)


def _get(given: Any, name: str) -> Any:
    """A property of inputs as a program may give them: a dictionary in either spelling, or an ``…Args`` object."""
    if not isinstance(given, Mapping):
        # An Output answers to any name, with another one.
        return given if isinstance(given, pulumi.Output) else getattr(given, name, None)
    head, *rest = name.split("_")
    return given.get(name, given.get(head + "".join(part.capitalize() for part in rest)))
