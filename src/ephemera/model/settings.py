"""Settings of one environment: how its program runs, in Pulumi config ``ephemera:<key>``.

A flag wins over an environment variable, that over the stack's config, that over the project's default. The driver
writes them to the stack's config before the program runs, so plain ``pulumi up`` sees the same.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ephemera.model.catalog import Catalog, Manifest, find_system
from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.names import split_stack_name

NAMESPACE = "ephemera"


class Ciphertext(str):
    """A value that ``pulumi config set --secret`` has encrypted. Only the program reads it decrypted."""


Images = Literal["auto", "registry", "local"]
Expose = Literal["auto", "loopback", "dynamic", "fixed", "none"]


class Settings(BaseModel):
    """Settings of one environment. Every field is a config key; a system's own options are in ``options``.

    ``images``: official images or local recipes; ``auto`` asks once per machine whether a registry answers.
    ``expose``: how endpoints are published; ``auto`` is ``loopback`` if root runs Docker, else ``dynamic``.
    ``publish_host``: IPv4 address of the Docker host to publish on, for access from other machines.
    ``port_table``: the table of fixed ports, with ``expose: fixed``.
    ``only``: services to start, with what they require. ``profiles``: groups of services to add.
    ``subnet_pool``: private IPv4 range whose /28 blocks environments get, prefix length 16 to 24.
    ``development``: mount source folders, and log at level debug. An ``up`` without it turns it off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    system: str
    branch: str = Field(min_length=1)
    owner: str = ""
    images: Images = "auto"
    expose: Expose = "auto"
    publish_host: str = ""
    port_table: str = ""
    only: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    subnet_pool: str = "10.213.0.0/16"
    development: bool = False
    options: Mapping[str, Ciphertext | str | bool | int] = Field(default_factory=dict)

    def to_config(self) -> dict[str, str]:
        """Return config values as Pulumi keeps them, key without namespace → text, without those that are defaults."""
        values: dict[str, str] = {}
        for key in CONFIG_KEYS:
            value = getattr(self, key)
            if value != type(self).model_fields[key].default:
                plain = list(value) if isinstance(value, tuple) else value
                values[key] = plain if isinstance(plain, str) else json.dumps(plain)
        for key, option in self.options.items():
            values[key] = json.dumps(option) if not isinstance(option, str) else option
        return values

    @field_validator("publish_host")
    @classmethod
    def _address(cls, value: str) -> str:
        return str(ipaddress.IPv4Address(value)) if value else value

    @field_validator("subnet_pool")
    @classmethod
    def _private_pool(cls, value: str) -> str:
        pool = ipaddress.IPv4Network(value)
        if not pool.is_private or not 16 <= pool.prefixlen <= 24:
            raise ValueError("must be a private network with a prefix length of 16 to 24")
        return value


_INTEGER = re.compile(r"-?[0-9]{1,100}")
CONFIG_KEYS = tuple(name for name in Settings.model_fields if name != "options")
LIST_KEYS = ("only", "profiles")
_DECLARED_AS = {
    "only": attrgetter("services"),
    "profiles": attrgetter("profiles"),
    "port_table": attrgetter("fixed_ports"),
}


def read_settings(catalog: Catalog, stack: str, config: Mapping[str, str], secret: Collection[str] = ()) -> Settings:
    """Return the settings of ``stack``. ``config``: key without namespace → text as Pulumi keeps it. ``secret``: keys
    whose values are decrypted secrets, which no error shows.

    System and branch come from the stack's name if the config has none, as after ``pulumi stack init tasker-x``.
    Raises :class:`InputError` for an unknown key, with the nearest known one, for a value of the wrong type, and for a
    secret that is not an option.
    """
    refuse_secret(secret)
    # The project file declares every key, with an empty default, so that Pulumi accepts values of its type.
    given = {key: value for key, value in config.items() if value not in ("", "[]")}
    if "system" not in given:
        given["system"], branch = split_stack_name(stack, catalog)
        given.setdefault("branch", branch)
    system = find_system(catalog, given["system"])
    given.setdefault("branch", stack.removeprefix(f"{given['system']}-"))
    options = {name: option.default for name, option in system.options.items()}
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key in system.options:
            options[key] = _option_value(system, key, text, shown=key not in secret)
        elif key in CONFIG_KEYS:
            values[key] = _list_value(key, text) if key in LIST_KEYS else text
        else:
            raise UnknownNameError(
                "config key", f"{NAMESPACE}:{key}", (f"{NAMESPACE}:{known}" for known in known_keys(system))
            )
    settings = validated(values, options)
    system.selected(only=settings.only, profiles=settings.profiles)
    if settings.expose == "fixed" and settings.port_table not in system.fixed_ports:
        raise UnknownNameError("port table", settings.port_table, system.fixed_ports)
    return settings


def validated(values: Mapping[str, Any], options: Mapping[str, str | bool | int]) -> Settings:
    """Return settings from typed values; raise :class:`InputError` with value and rule."""
    try:
        return Settings(**values, options=options)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{NAMESPACE}:{key} is {first['input']!r}", remedy=first["msg"]) from error


def refuse_secret(keys: Iterable[str]) -> None:
    """Raise :class:`InputError` for the first of ``keys``, which are secrets, that is not an option of a system."""
    for key in keys:
        if key in CONFIG_KEYS:
            raise InputError(
                f"{NAMESPACE}:{key} is a secret, and only a system's options can be",
                remedy=f"set it in the clear: `pulumi config set --plaintext {NAMESPACE}:{key} …`",
            )


def known_keys(system: Manifest) -> tuple[str, ...]:
    """Return every config key that ``system`` accepts."""
    return (*CONFIG_KEYS, *system.options)


def from_environment(system: Manifest, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return config from ``EPHEMERA_<KEY>`` variables; lists are separated by commas."""
    found: dict[str, str] = {}
    for key in known_keys(system):
        text = environment.get(f"EPHEMERA_{key.upper()}", "")
        if text:
            found[key] = json.dumps(_list_value(key, text)) if key in LIST_KEYS else text
    return found


def from_flags(
    *,
    config: Iterable[str] = (),
    only: Sequence[str] = (),
    profiles: Sequence[str] = (),
    expose: str | None = None,
    port_table: str | None = None,
    images: str | None = None,
    prefix: str = "--",
) -> dict[str, str]:
    """Return config from the flags of a command or of pytest, whose names begin with ``prefix``."""
    values: dict[str, str] = {}
    for pair in config:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise InputError(f"{prefix}config {pair!r} is not valid", remedy="give it as KEY=VALUE")
        values[key.removeprefix(f"{NAMESPACE}:")] = value
    values |= {key: json.dumps(list(names)) for key, names in (("only", only), ("profiles", profiles)) if names}
    texts = (("expose", expose), ("port_table", port_table), ("images", images))
    return values | {key: text for key, text in texts if text is not None}


def meant_for(system: Manifest, catalog: Catalog, values: Mapping[str, str]) -> dict[str, str]:
    """Return the part of a run's config that is meant for ``system``, if several systems have environments in the run.

    Options, services, profiles and port tables that only other systems declare are left out. Names that no system
    declares stay, to be reported as mistakes.
    """
    others = [each for each in catalog.values() if each is not system]

    def meant(declared: Callable[[Manifest], Collection[str]], name: str) -> bool:
        return name in declared(system) or not any(name in declared(each) for each in others)

    found: dict[str, str] = {}
    for key, text in values.items():
        if key in LIST_KEYS:
            names = [name for name in _list_value(key, text) if meant(_DECLARED_AS[key], name)]
            if names:
                found[key] = json.dumps(names)
        elif meant(known_keys, key) and (key not in _DECLARED_AS or meant(_DECLARED_AS[key], text)):
            found[key] = text
    return found


def _list_value(key: str, text: str) -> list[str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
        value = [part.strip() for part in text.split(",")]
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InputError(f"{NAMESPACE}:{key} is {text!r}", remedy="it must be a list of names")
    return value


def _option_value(system: Manifest, key: str, text: str, *, shown: bool) -> str | bool | int:
    option = system.options[key]
    if isinstance(text, Ciphertext):
        return text  # the program checks what it stands for
    if option.type == "string":
        return text
    if option.type == "boolean" and text in ("true", "false"):
        return text == "true"
    if option.type == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    value = repr(text) if shown else "a secret of another type"
    raise InputError(f"{NAMESPACE}:{key} is {value}", remedy=f"it must be of type {option.type}")
