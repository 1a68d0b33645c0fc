"""How a build reaches the network: which one its steps run in, and this machine's proxies and mirrors."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from ephemera.docker import address
from ephemera.host import surroundings
from ephemera.images.dockerfiles import added_urls, declared_arguments
from ephemera.model.errors import InputError, MachineError

_NETWORK = "EPHEMERA_BUILD_NETWORK"
_NETWORKS = ("bridge", "host", "none")
_PROXIES = ("http", "https", "ftp", "no", "all")
_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
_MAVEN = "MAVEN_REPOSITORY"
_LOOPBACK = re.compile(r"\b(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|0\.0\.0\.0)\b|\[::1?\]", re.IGNORECASE)


def network() -> str:
    """Return the network that build steps run in, by default the engine's bridge, which does not reach the loopback of
    the engine's machine. ``EPHEMERA_BUILD_NETWORK``: ``bridge``, ``host`` or ``none``."""
    asked = surroundings.variables().get(_NETWORK) or "bridge"
    if asked not in _NETWORKS:
        raise InputError(f"{_NETWORK} is {asked!r}", remedy=f"use {', '.join(_NETWORKS)}")
    return asked


def refuse_loopback(dockerfile: str, arguments: Mapping[str, str]) -> None:
    """Raise :class:`InputError` for an ``ADD`` from the loopback of the engine's machine, unless builds are in its
    network. The engine fetches it itself, whatever network steps run in; names that resolve to loopback pass."""
    for line, url in added_urls(dockerfile, arguments) if network() != "host" else ():
        if _LOOPBACK.search(urlsplit(url).netloc):
            raise InputError(
                f"`ADD {url}` in line {line} is on the loopback of the engine's machine",
                remedy=f"builds do not reach that: COPY the file, or set {_NETWORK}=host",
            )


def remedy(output: Iterable[str], arguments: Mapping[str, str]) -> str:
    """Return what to do about a failed build that may need the machine's loopback; empty unless its output or one of
    its arguments names a loopback address."""
    told = [value for name, value in arguments.items() if name.upper() != "NO_PROXY"]
    if network() == "host" or not any(_LOOPBACK.search(text) for text in (*output, *told)):
        return ""
    return f"builds do not reach this machine's loopback: set {_NETWORK}=host if this one has to"


def arguments(dockerfile: str) -> dict[str, str]:
    """Return the build arguments by which this machine reaches the network: proxies, and mirrors that are declared.

    The process's variables come first, then the settings of the Docker client, pip and Maven. Proxies are predefined by
    Docker: they need no ARG, and stay out of the image's history. A mirror whose URL holds credentials is left out.
    """
    variables, proxies = surroundings.variables(), _configured_proxies()
    given = {
        variant: value
        for kind in _PROXIES
        for variant in (f"{kind}_proxy".upper(), f"{kind}_proxy")
        if (value := variables.get(variant) or proxies.get(f"{kind}Proxy")) and isinstance(value, str)
    }
    declared = declared_arguments(dockerfile) & {*_PIP, _MAVEN}
    settings = _pip_settings() if declared & {*_PIP} else {}
    if _MAVEN in declared:
        settings[_MAVEN] = _maven_mirror()
    for name in declared:
        value = variables.get(name) or settings.get(name, "")
        if value and not any("@" in urlsplit(part).netloc for part in value.split()):
            given[name] = value
    return given


def _configured_proxies() -> dict[str, Any]:
    """Return those of the Docker client's configuration for this engine, by their names there."""
    of_engines = address.client_config().get("proxies")
    if not isinstance(of_engines, dict):
        return {}
    found = of_engines.get(address.configured().url, of_engines.get("default"))
    return found if isinstance(found, dict) else {}


def _pip_settings() -> dict[str, str]:
    """Return pip's settings by their variables; those of ``install`` override the global ones."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {
        f"PIP_{name.replace('-', '_').upper()}": value.replace("\\n", " ")
        for section in ("global", "install")
        for name, value in re.findall(rf"^{section}\.([a-z-]+)='(.*)'$", listed, re.MULTILINE)
    }


def _maven_mirror() -> str:
    """Return where the user's Maven looks instead of Maven Central; empty without such a mirror."""
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
