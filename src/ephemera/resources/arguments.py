"""A container's arguments: ports and health checks, and checks of plain values. Pure, no I/O.

``owner`` is what an error calls the container: ``service 'api'``. Values known only later (an ``Output``) pass.
"""

from __future__ import annotations

import inspect
import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pulumi

from ephemera.docker.ports import Protocol
from ephemera.host.probes import Exec, Http, PostgresProbe, Probe
from ephemera.model import declared
from ephemera.model.data import load_data
from ephemera.model.errors import InputError
from ephemera.model.images import AnyImage, is_reference, is_root

MIN_SECONDS = 0.001
"""The shortest time of a health check that Docker takes."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_URL_PATH = re.compile(r"/[!-~]*")
_USER = re.compile(r"(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.-]*\$?)(?::(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.-]*\$?))?", re.ASCII)
_MAX_ID = 2**31 - 1
_DATA = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
_MAX_NAME = 100
_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,99}")
# What Docker passes on to a tmpfs (moby/sys/mount), with values as the kernel reads them.
_TMPFS_OPTION = re.compile(
    r"size=\d+(?:[kKmMgGtTpPeE]|%)?|mode=0*[0-7]{1,4}|[ug]id=\d+|nr_(?:inodes|blocks)=\d+[kKmMgGtTpPeE]?|mpol=[!-~]+|"
    r"defaults|r[ow]|(?:no)?(?:suid|dev|exec|atime|diratime)|(?:dir|a)?sync|(?:no)?(?:rel|strict)atime",
    re.ASCII,
)
# man 7 capabilities
_CAPABILITIES = frozenset(
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH "  # noqa: SIM905
    "FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN "
    "NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT "
    "SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM".split()
)


@dataclass(frozen=True, kw_only=True)
class Port:
    """An endpoint's port in the container. ``scheme``: of its URL; ``udp`` by default with protocol UDP. ``path``:
    appended to its URL, ``/tasker``. ``protocol``: ``tcp`` or ``udp``.

    Several endpoints may have the same number: each is published on a port of its own.
    """

    number: int = field(kw_only=False)
    scheme: str = "http"
    path: str = ""
    protocol: Protocol = "tcp"

    def __post_init__(self) -> None:
        declared.require(
            self.protocol in get_args(Protocol), f"protocol of port {self.number}", self.protocol, "tcp or udp"
        )
        if self.protocol == "udp" and self.scheme == "http":  # which UDP does not carry
            object.__setattr__(self, "scheme", "udp")

    @staticmethod
    def of(port: int | Port) -> Port:
        """Return the port; a number alone is one of HTTP."""
        return port if isinstance(port, Port) else Port(port)


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """Docker's own health check. ``command``: a list of words, run without a shell. Durations are in seconds, 0.001 or
    more; the start period may be 0. ``retries``: failures in a row until the container is unhealthy, 1 or more."""

    command: Sequence[str | float | bool] = field(kw_only=False)
    interval_seconds: float = 10
    timeout_seconds: float = 5
    retries: int = 10
    start_period_seconds: float = 15

    def check(self, owner: str) -> None:
        """Raise for values that Docker would reject, or replace by defaults of its own."""
        whose = f"of the health check of {owner}"
        check_command(f"command {whose}", self.command)
        # Docker reads 0 as its defaults of 30 s, and rejects what is below a millisecond.
        for name in ("interval_seconds", "timeout_seconds", "start_period_seconds"):
            value = getattr(self, name)
            if name != "start_period_seconds" or value != 0 or isinstance(value, bool):
                declared.check_number(f"{name} {whose}", value, MIN_SECONDS)
        declared.check_whole(f"retries {whose}", self.retries, 1)


def check_image(owner: str, image: Any) -> None:
    """Raise unless ``image`` is one, or could be the reference of one."""
    rule = "an EngineImage, a Build or a reference: docker.io/library/nats:2"
    fits = is_reference(image) if isinstance(image, str) else isinstance(image, get_args(AnyImage))
    declared.require(fits, f"image of {owner}", image, rule)


def later(value: Any) -> bool:
    """Return whether ``value`` is known only while the program runs."""
    return isinstance(value, pulumi.Output) or inspect.isawaitable(value)


def text_of(what: str, value: Any) -> str:
    """Return a plain value as text; numbers and booleans as JSON and YAML spell them: ``5``, ``0.5``, ``true``.

    Raise for anything else, without the value, which may be a secret.
    """
    if isinstance(value, str):
        text = str.__str__(value)  # an enumeration's own __str__ may give its name
    elif isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        text = json.dumps(value)
    else:
        kind = "None" if value is None else f"a value of type {type(value).__name__}"
        raise InputError(f"{what} is {kind}", remedy='it must be a text, a number or a boolean; "" is an empty text')
    check_text(what, text)
    return text


def check_text(what: str, text: str) -> None:
    """Raise for a text that no process can be given."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{what} is not valid Unicode", remedy="give text, and bytes in an encoding such as base64"
        ) from None
    if "\0" in text:
        raise InputError(f"{what} has a NUL character", remedy="leave it out: it would end the text")


def check_variables(owner: str, variables: Any) -> None:
    """Raise for names and values that the environment of a process cannot have."""
    _expect_mapping(f"variables of {owner}", variables)
    for name, value in variables.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise InputError(
                f"variable {declared.shown(name)} of {owner} cannot be set",
                remedy="a name is a text with at least one character, without = and NUL",
            )
        check_text(f"the name of a variable of {owner}", name)
        if not later(value):
            text_of(f"variable {declared.shown(name)} of {owner}", value)


def check_named(what: str, values: Any) -> None:
    """Raise unless ``values`` maps names that can be shown to texts, numbers or booleans."""
    _expect_mapping(what, values)
    for name, value in values.items():
        check_name(f"a name in {what}", name)
        if not later(value):
            text_of(f"{declared.shown(name)} of {what}", value)


def check_name(what: str, name: Any) -> None:
    """Raise unless ``name`` is a printable text of 1 to 100 characters without spaces around it."""
    fits = isinstance(name, str) and name.isprintable() and name == name.strip() and 0 < len(name) <= _MAX_NAME
    declared.require(fits, what, name, f"printable, of 1 to {_MAX_NAME} characters")


def check_command(what: str, command: Any) -> None:
    """Raise unless ``command`` is a list of words whose first names a program."""
    declared.check_sequence(what, command, 'a list of words; for a shell\'s command line, ["sh", "-c", "…"]')
    if not command:
        raise InputError(f"{what} is empty", remedy="give at least one word")
    if words(what, command)[0] == "":
        raise InputError(f"{what} begins with an empty word", remedy="the first one names the program")


def words(what: str, command: Sequence[Any]) -> list[Any]:
    """Return the words of a command as texts; those known only later as they are."""
    return [word if later(word) else text_of(f"a word of {what}", word) for word in command]


def check_ready(owner: str, probe: Any, timeout_seconds: Any) -> None:
    """Raise for a probe that cannot ask, and for a wait without an end."""
    declared.check_positive(f"timeout_seconds of {owner}", timeout_seconds)
    if probe is None:
        return
    what = f"ready of {owner}"
    declared.expect(what, probe, Probe, 'a probe, such as Http("/health")')
    declared.check_positive(f"interval_seconds of {what}", probe.interval_seconds)
    declared.check_positive(f"timeout_seconds of {what}", probe.timeout_seconds)
    if isinstance(probe, Http):
        _check_url_path(f"path of {what}", probe.path)
        declared.check_whole(f"status of {what}", probe.status, 100, 599)
    elif isinstance(probe, Exec):
        check_command(f"command of {what}", probe.command)
    elif isinstance(probe, PostgresProbe):
        for name in ("user", "database"):
            declared.expect(f"{name} of {what}", getattr(probe, name), str, "a text")
            check_text(f"{name} of {what}", getattr(probe, name))


def check_ports(owner: str, ports: Any) -> None:
    """Raise for an endpoint whose URL would not be one."""
    declared.check_mapping(f"ports of {owner}", ports, (int, Port), "a port: 8000, or a Port")
    for name, each in ports.items():
        check_name(f"name of an endpoint of {owner}", name)
        port, whose = Port.of(each), f"port {declared.shown(name)} of {owner}"
        declared.check_whole(whose, port.number, 1, 65535)
        fits = isinstance(port.scheme, str) and _SCHEME.fullmatch(port.scheme) is not None
        declared.require(fits, f"scheme of {whose}", port.scheme, "as in http, postgresql")
        if port.path != "":
            _check_url_path(f"path of {whose}", port.path)


def check_volume_name(owner: str, name: Any) -> None:
    """Raise unless Docker takes ``name`` as part of a volume's."""
    fits = isinstance(name, str) and _VOLUME.fullmatch(name) is not None
    rule = "of 1 to 100 letters, digits, _, . and -, beginning with a letter or digit"
    declared.require(fits, f"name of a volume of {owner}", name, rule)


def check_places(owner: str, volumes: Any, tmpfs: Any) -> None:
    """Raise for mounts that Docker would reject: bad names, places that are not absolute, two at one place, unknown
    options."""
    _expect_mapping(f"volumes of {owner}", volumes)
    _expect_mapping(f"tmpfs of {owner}", tmpfs)
    for each in volumes.values():
        if isinstance(each, str):
            check_volume_name(owner, each)
    taken: dict[str, str] = {}
    for kind, path in [*(("volumes", path) for path in volumes), *(("tmpfs", path) for path in tmpfs)]:
        _check_place(f"{kind} of {owner}", path, ":" if kind == "volumes" else "")
        if place(path) in taken:
            raise InputError(
                f"{owner} mounts two things at {place(path)}: {taken[place(path)]} and {kind}",
                remedy="leave one out; tmpfs={} leaves out the one at /tmp that every container has",
            )
        taken[place(path)] = kind
    for path, options in tmpfs.items():
        what = f"tmpfs[{declared.shown(path)}] of {owner}"
        declared.expect(what, options, str, "a text of mount options: size=64m,mode=1777")
        for option in options.split(",") if options else ():
            if not _TMPFS_OPTION.fullmatch(option):
                raise InputError(
                    f"{what} has the option {declared.shown(option)}",
                    remedy="known are size, mode, uid, gid, nr_inodes, nr_blocks and mpol, each with =value "
                    "(size=64m,mode=1777), and flags such as exec, ro, noatime",
                )


def place(path: str) -> str:
    """Return a path in the container as Docker spells it: ``/data`` for ``/data/``."""
    return "/" + posixpath.normpath(path).lstrip("/")


def check_user(owner: str, user: Any) -> None:
    """Raise unless ``user`` could be one: ``name``, ``uid``, ``name:group``, ``uid:gid``; empty means root."""
    rule = "a name or number, with a group if wanted: app, 1000, 1000:1000"
    declared.expect(f"user of {owner}", user, str, rule)
    fits = _USER.fullmatch(user) and all(int(part) <= _MAX_ID for part in user.split(":") if part.isdecimal())
    declared.require(bool(fits) or not user.strip(), f"user of {owner}", user, rule)


def refuse_root(owner: str, user: str) -> None:
    """Raise if ``user`` is root."""
    if is_root(user):
        raise InputError(f"{owner} is to run as root", remedy="give another user, or a root_reason")


def check_capabilities(owner: str, capabilities: Any) -> None:
    """Raise for a capability that the kernel does not have, for all of them at once, and for one without a reason."""
    _expect_mapping(f"capabilities of {owner}", capabilities)
    for capability, reason in capabilities.items():
        if capability not in _CAPABILITIES:
            raise InputError(
                f"capability {declared.shown(capability)} of {owner} is not valid",
                remedy="give each by its name, as `man capabilities` has it, without CAP_: CHOWN",
            )
        declared.expect(f"reason for capability {capability} of {owner}", reason, str, "a text")
        if not reason.strip():
            raise InputError(
                f"{owner} is to keep capability {capability} without a reason",
                remedy=f'capabilities={{"{capability}": "what it needs it for"}}',
            )


def check_data(owner: str, data: Any) -> None:
    """Raise unless ``data`` is empty, or ``module:NAME`` of an implementation of :mod:`ephemera.model.data` that can
    be imported: on a reset it would be too late."""
    fits = isinstance(data, str) and (data == "" or _DATA.fullmatch(data) is not None)
    declared.require(fits, f"data of {owner}", data, "of the form module:NAME")
    if data:
        try:
            load_data(data)
        except InputError as error:
            raise InputError(f"data of {owner}: {error.message}", remedy=error.remedy) from error


def refuse_reserved(owner: str, argument: str, values: Mapping[str, Any], reserved: Iterable[str]) -> None:
    """Raise for names in a mapping that a component sets itself."""
    for name in reserved:
        if name in values:
            raise InputError(
                f"{argument} of {owner!r} has {declared.shown(name)}, which its component sets", remedy="leave it out"
            )


def _expect_mapping(what: str, value: Any) -> None:
    # Without the value: a mistaken one may hold secrets.
    if not isinstance(value, Mapping):
        raise InputError(f"{what} is a value of type {type(value).__name__}", remedy="it must be a mapping")


def _check_url_path(what: str, path: Any) -> None:
    fits = isinstance(path, str) and _URL_PATH.fullmatch(path) is not None
    declared.require(fits, what, path, "a path that begins with /, in ASCII without spaces: /health")


def _check_place(what: str, path: Any, forbidden: str) -> None:
    rule = "an absolute path in the container other than /, and not in /proc"
    declared.expect(f"a path in {what}", path, str, rule)
    check_text(f"a path in {what}", path)
    inside = path.startswith("/") and path.isprintable() and place(path) != "/"
    declared.require(inside and place(path).split("/")[1] != "proc", f"a path in {what}", path, rule)
    if forbidden and forbidden in path:
        raise InputError(
            f"{what} has the path {declared.shown(path)}", remedy=f"Docker takes none with {forbidden} in it"
        )
