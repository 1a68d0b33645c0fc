"""How a build reaches the network: which one its steps run in, and this machine's proxies and mirrors."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Literal, cast, get_args
from urllib.parse import urlsplit
from xml.etree import ElementTree

from ephemera.contract.errors import InputError, MachineError
from ephemera.host import configured, surroundings
from ephemera.images.dockerfiles import added_urls, declared_arguments

Network = Literal["bridge", "host", "none"]
NETWORK = "EPHEMERA_BUILD_NETWORK"

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_CLIENT_PROXIES = {"HTTP_PROXY": "httpProxy", "HTTPS_PROXY": "httpsProxy", "FTP_PROXY": "ftpProxy",
                   "NO_PROXY": "noProxy", "ALL_PROXY": "allProxy"}  # fmt: skip
_PIP_SETTINGS = {
    "PIP_INDEX_URL": "index-url",
    "PIP_EXTRA_INDEX_URL": "extra-index-url",
    "PIP_TRUSTED_HOST": "trusted-host",
}
_MAVEN = "MAVEN_REPOSITORY"
_LOOPBACK = re.compile(r"\b(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|0\.0\.0\.0)\b|\[::1?\]", re.IGNORECASE)


def network() -> Network:
    """Return the network that build steps run in, by default the engine's bridge, which does not reach the loopback of
    the engine's machine. ``EPHEMERA_BUILD_NETWORK``: ``bridge``, ``host`` or ``none``."""
    asked = surroundings.variables().get(NETWORK, "") or "bridge"
    if asked not in get_args(Network):
        raise InputError(f"{NETWORK} is {asked!r}", remedy=f"use {', '.join(get_args(Network))}")
    return cast(Network, asked)


def refuse_loopback(dockerfile: str, arguments: Mapping[str, str]) -> None:
    """Raise :class:`InputError` for an ``ADD`` from the loopback of the engine's machine, unless builds are in its
    network. The engine fetches it itself, whatever network steps run in; names that resolve to loopback pass."""
    for line, url in added_urls(dockerfile, arguments) if network() != "host" else ():
        if _LOOPBACK.search(urlsplit(url).netloc):
            raise InputError(
                f"`ADD {url}` in line {line} is on the loopback of the engine's machine",
                remedy=f"builds do not reach that: COPY the file, or set {NETWORK}=host",
            )


def remedy(output: Iterable[str], arguments: Mapping[str, str]) -> str:
    """Return what to do about a build that failed outside of the machine's network because it needs its loopback; empty
    when neither its output nor what it was told names a loopback address."""
    told = [value for name, value in arguments.items() if name.upper() != "NO_PROXY"]
    if network() == "host" or not any(_LOOPBACK.search(text) for text in (*output, *told)):
        return ""
    return f"builds do not reach this machine's loopback: set {NETWORK}=host if this one has to"


def arguments(dockerfile: str) -> dict[str, str]:
    """Return build arguments that say how this machine reaches the network; none that is not declared, none with a
    secret.

    Proxies are predefined by Docker: they need no ARG, and stay out of the image's history.
    """
    given = _configured_proxies() | {
        variant: value
        for name in _PROXIES
        for variant in (name, name.lower())
        if (value := surroundings.variables().get(variant))
    }
    declared = declared_arguments(dockerfile)
    if wanted := declared & set(_PIP_SETTINGS):
        settings = _pip_configuration()
        given |= _reachable({name: settings.get(_PIP_SETTINGS[name], "") for name in wanted})
    if _MAVEN in declared:
        given |= _reachable({_MAVEN: _maven_mirror()})
    return given


def _configured_proxies() -> dict[str, str]:
    """Those of the Docker client's configuration for this engine."""
    of_engines = configured.client_config().get("proxies")
    of_engines = of_engines if isinstance(of_engines, dict) else {}
    found = of_engines.get(configured.configured().url, of_engines.get("default"))
    found = found if isinstance(found, dict) else {}
    given = {name: found[key] for name, key in _CLIENT_PROXIES.items() if isinstance(found.get(key), str)}
    return given | {name.lower(): value for name, value in given.items()}


def _reachable(configured: dict[str, str]) -> dict[str, str]:
    """Settings by name, those of this process's environment first; without what is empty or holds a secret."""
    found = {name: surroundings.variables().get(name) or value for name, value in configured.items()}
    return {
        name: value
        for name, value in found.items()
        if value and not any(_has_credentials(part) for part in value.split())
    }


def _pip_configuration() -> dict[str, str]:
    """pip's settings by bare name; those of ``install`` win over the global ones."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^(global|install)\.([a-z-]+)='(.*)'$", said, re.MULTILINE)
    return {
        name: value.replace("\\n", " ")
        for section in ("global", "install")
        for at, name, value in found
        if at == section
    }


def _maven_mirror() -> str:
    """Where the user's Maven looks instead of Maven Central, when it does."""
    try:
        settings = surroundings.home() / ".m2" / "settings.xml"
        root = ElementTree.fromstring(settings.read_bytes())  # noqa: S314 - the user's own
    except (MachineError, OSError, ElementTree.ParseError):
        return ""
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        of = {each.strip() for each in mirror.findtext("{*}mirrorOf", "").split(",")}
        if of & {"*", "external:*", "central"} and "!central" not in of:
            return mirror.findtext("{*}url", "").strip()
    return ""


def _has_credentials(url: str) -> bool:
    return "@" in urlsplit(url).netloc
