"""Checks of a container's plain arguments. Pure, no I/O; what is known only later (an ``Output``) is let through.

``owner`` is what an error calls the container: ``service 'api'``.
"""

from __future__ import annotations

import inspect
import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import pulumi

from ephemera.contract import declared
from ephemera.contract.data import load_data
from ephemera.contract.errors import InputError
from ephemera.contract.images import AnyImage, is_reference
from ephemera.host.probes import Exec, Http, PostgresProbe, Probe

MIN_SECONDS = 0.001
"""The shortest time of a health check that Docker takes."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_URL_PATH = re.compile(r"/[!-~]*")
_USER = re.compile(r"(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.-]*\$?)(?::(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.-]*\$?))?", re.ASCII)
_MAX_ID = 2**31 - 1
_DATA = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*")
_MAX_NAME = 100
# What the engine lets through to a tmpfs (moby/sys/mount), with values as the kernel reads them.
_SIZE = re.compile(r"\d+[kKmMgGtTpPeE]?")
_TMPFS_VALUES = {
    "size": re.compile(r"\d+(?:[kKmMgGtTpPeE]|%)?"),
    "mode": re.compile(r"0*[0-7]{1,4}"),
    "uid": re.compile(r"\d+"),
    "gid": re.compile(r"\d+"),
    "nr_inodes": _SIZE,
    "nr_blocks": _SIZE,
    "mpol": re.compile(r"\S+"),
}
_TMPFS_FLAGS = frozenset(
    "defaults ro rw suid nosuid dev nodev exec noexec sync async dirsync "  # noqa: SIM905
    "atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime".split()
)
# man 7 capabilities
_CAPABILITIES = frozenset(
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH "  # noqa: SIM905
    "FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN "
    "NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT "
    "SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM".split()
)


def check_image(owner: str, image: Any) -> None:
    """Raise unless ``image`` is one, or looks like the reference of one."""
    rule = "an EngineImage, a ServiceImage or a reference: docker.io/library/nats:2"
    declared.expect(f"image of {owner}", image, (str, *get_args(AnyImage)), rule)
    if isinstance(image, str) and not is_reference(image):
        raise InputError(f"image of {owner} is {declared.shown(image)}", remedy=f"it must be {rule}")


def later(value: Any) -> bool:
    """Whether ``value`` is known only while the program runs."""
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
    if not isinstance(name, str) or not name.isprintable() or name != name.strip() or not 0 < len(name) <= _MAX_NAME:
        raise InputError(
            f"{what} is {declared.shown(name)}", remedy=f"it must be printable, of 1 to {_MAX_NAME} characters"
        )


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


def check_health(
    owner: str,
    *,
    command: Any,
    interval_seconds: Any,
    timeout_seconds: Any,
    retries: Any,
    start_period_seconds: Any,
) -> None:
    """Raise for a health check that Docker would refuse, or take its own defaults for; durations in seconds."""
    whose = f"of the health check of {owner}"
    check_command(f"command {whose}", command)
    # Docker reads 0 as its defaults of 30 s, and refuses what is below a millisecond.
    declared.check_number(f"interval_seconds {whose}", interval_seconds, MIN_SECONDS)
    declared.check_number(f"timeout_seconds {whose}", timeout_seconds, MIN_SECONDS)
    if start_period_seconds != 0 or isinstance(start_period_seconds, bool):
        declared.check_number(f"start_period_seconds {whose}", start_period_seconds, MIN_SECONDS)
    declared.check_whole(f"retries {whose}", retries, 1)


def check_ready(owner: str, probe: Any, timeout_seconds: Any) -> None:
    """Raise for a probe that cannot ask, and for a wait without an end."""
    declared.check_positive(f"timeout_seconds of {owner}", timeout_seconds, (int, float))
    if probe is None:
        return
    what = f"ready of {owner}"
    declared.expect(what, probe, Probe, 'a probe, such as Http("/health")')
    declared.check_positive(f"interval_seconds of {what}", probe.interval_seconds, (int, float))
    declared.check_positive(f"timeout_seconds of {what}", probe.timeout_seconds, (int, float))
    if isinstance(probe, Http):
        _check_url_path(f"path of {what}", probe.path)
        declared.check_whole(f"status of {what}", probe.status, 100, 599)
    elif isinstance(probe, Exec):
        check_command(f"command of {what}", probe.command)
    elif isinstance(probe, PostgresProbe):
        for name in ("user", "database"):
            declared.expect(f"{name} of {what}", getattr(probe, name), str, "a text")
            check_text(f"{name} of {what}", getattr(probe, name))


def check_port(owner: str, name: Any, number: Any, scheme: Any, path: Any) -> None:
    """Raise for an endpoint whose URL would not be one."""
    check_name(f"name of an endpoint of {owner}", name)
    if isinstance(number, int) and not isinstance(number, bool) and not 1 <= number <= 65535:
        raise InputError(f"port {declared.shown(name)} of {owner} is {number}", remedy="1 to 65535 are accepted")
    declared.expect(f"port {declared.shown(name)} of {owner}", number, int, "a number from 1 to 65535")
    if not isinstance(scheme, str) or not _SCHEME.fullmatch(scheme):
        raise InputError(
            f"scheme of port {declared.shown(name)} of {owner} is {declared.shown(scheme)}",
            remedy="it must be as in http, postgresql",
        )
    if path != "":
        _check_url_path(f"path of port {declared.shown(name)} of {owner}", path)


def check_places(owner: str, volumes: Any, tmpfs: Any) -> None:
    """Raise for mounts that Docker would refuse: places that are not absolute, two at one place, unknown options."""
    _expect_mapping(f"volumes of {owner}", volumes)
    _expect_mapping(f"tmpfs of {owner}", tmpfs)
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
        declared.expect(
            f"tmpfs[{declared.shown(path)}] of {owner}", options, str, "a text of mount options: size=64m,mode=1777"
        )
        for option in options.split(",") if options else ():
            if not _is_tmpfs_option(option):
                raise InputError(
                    f"tmpfs[{declared.shown(path)}] of {owner} has the option {declared.shown(option)}",
                    remedy=f"known are {', '.join(_TMPFS_VALUES)}, each with =value (size=64m,mode=1777), "
                    "and flags such as exec, ro, noatime",
                )


def place(path: str) -> str:
    """Return the place in the container that ``path`` means, as Docker spells it: ``/data`` for ``/data/``."""
    return "/" + posixpath.normpath(path).lstrip("/")


def check_user(owner: str, user: Any) -> None:
    """Raise unless ``user`` could be one: ``name``, ``uid``, ``name:group``, ``uid:gid``; empty is for the caller."""
    rule = "a name or number, with a group if wanted: app, 1000, 1000:1000"
    declared.expect(f"user of {owner}", user, str, rule)
    fits = _USER.fullmatch(user) and all(int(part) <= _MAX_ID for part in user.split(":") if part.isdecimal())
    if user.strip() and not fits:
        raise InputError(f"user of {owner} is {declared.shown(user)}", remedy=f"it must be {rule}")


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
    """Raise unless ``data`` is empty, or of the form ``module:NAME`` and can be imported as an implementation of
    :mod:`ephemera.contract.data`: when the data is wanted back, it would be too late."""
    if not isinstance(data, str) or (data and not _DATA.fullmatch(data)):
        raise InputError(f"data of {owner} is {declared.shown(data)}", remedy="it must be of the form module:NAME")
    if data:
        try:
            load_data(data)
        except InputError as error:
            raise InputError(f"data of {owner}: {error.message}", remedy=error.remedy) from error


def refuse_reserved(owner: str, argument: str, values: Mapping[str, Any], reserved: Iterable[str]) -> None:
    """Raise for names in a mapping that a component gives itself, whose values would not arrive."""
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
    if not isinstance(path, str) or not _URL_PATH.fullmatch(path):
        raise InputError(
            f"{what} is {declared.shown(path)}", remedy="it must begin with /, in ASCII without spaces: /health"
        )


def _check_place(what: str, path: Any, forbidden: str) -> None:
    rule = "an absolute path in the container other than /, and not in /proc"
    declared.expect(f"a path in {what}", path, str, rule)
    check_text(f"a path in {what}", path)
    beneath = place(path) if path else "/"
    wrong = not path.startswith("/") or beneath == "/" or beneath == "/proc" or beneath.startswith("/proc/")
    if wrong or not path.isprintable():
        raise InputError(f"{what} has the path {declared.shown(path)}", remedy=f"it must be {rule}")
    if forbidden and forbidden in path:
        raise InputError(
            f"{what} has the path {declared.shown(path)}", remedy=f"Docker takes none with {forbidden} in it"
        )


def _is_tmpfs_option(option: str) -> bool:
    name, equals, value = option.partition("=")
    if not equals:
        return name in _TMPFS_FLAGS
    return name in _TMPFS_VALUES and _TMPFS_VALUES[name].fullmatch(value) is not None and value.isascii()
