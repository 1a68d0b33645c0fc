"""Which Docker engine is configured: ``DOCKER_HOST``, else the current Docker context, else the socket that is there.

Reads variables and files, asks nobody. TLS is on for a TCP engine when ``DOCKER_TLS_VERIFY`` or ``DOCKER_CERT_PATH`` is
set, or when the context holds certificates; the server is verified unless only the latter is set, or the context says
``SkipTLSVerify``.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import socket
import ssl
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from ephemera.host import surroundings
from ephemera.host.files import text_of
from ephemera.model.errors import MachineError

DEFAULT_HOST = "unix:///var/run/docker.sock"
_HANDED_ON = "EPHEMERA_DOCKER"
_FILES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


@dataclass(frozen=True, kw_only=True)
class Tls:
    """PEM files, by path; ``ca`` None means the machine's authorities, ``cert`` and ``key`` None no client's."""

    ca: str | None
    cert: str | None
    key: str | None
    verify: bool

    def context(self) -> ssl.SSLContext:
        """For connections of the standard library."""
        context = ssl.create_default_context(cafile=self.ca)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context

    @property
    def folder(self) -> str | None:
        """Where the files are; None without any."""
        found = self.ca or self.cert
        return str(Path(found).parent) if found else None


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where an engine is. ``url``: as it was configured."""

    url: str
    tls: Tls | None = None

    @property
    def scheme(self) -> str:
        """``unix``, ``tcp``, ``ssh`` …"""
        return urlsplit(self.url).scheme

    @property
    def hostname(self) -> str:
        """Name of the engine's machine; empty for a local socket."""
        return urlsplit(self.url).hostname or ""

    @property
    def reach(self) -> Literal["here", "ssh", "network"]:
        """What this machine shares with the engine's: its loopback addresses, an SSH login, or only a network."""
        if self.scheme == "ssh":
            return "ssh"
        return "here" if self.scheme in ("unix", "npipe") or _is_own(self.hostname) else "network"

    def handed_on(self) -> Mapping[str, str]:
        """Variables that tell a child process of ours this address, whatever ``DOCKER_HOST`` is set to for others."""
        return {_HANDED_ON: json.dumps({"url": self.url, "tls": asdict(self.tls) if self.tls else None})}


def configured() -> Address:
    """The engine's address; raises :class:`MachineError` for a context or a certificate that is not there."""
    if handed_on := surroundings.variables().get(_HANDED_ON):
        document = json.loads(handed_on)
        return Address(url=document["url"], tls=Tls(**document["tls"]) if document["tls"] else None)
    if url := surroundings.variables().get("DOCKER_HOST"):
        return Address(url=url, tls=_tls_of_variables() if urlsplit(url).scheme in ("tcp", "https") else None)
    return _of_context() or Address(url=_socket())


def client_config() -> dict[str, Any]:
    """Return the Docker client's ``config.json``; empty where it is absent or cannot be read."""
    path = client_config_file()
    return _json(path) if path else {}


def client_config_file() -> Path | None:
    """Return where that file is, there or not; None for a user without a home."""
    try:
        return _docker_folder() / "config.json"
    except MachineError:
        return None


def damaged_config() -> MachineError | None:
    """Return the error for a ``config.json`` whose values are not of the kind that docker-py takes them for; None where
    it is in order, or is no JSON at all, which is ignored."""
    path = client_config_file()
    try:
        problem = _damage(json.loads(text_of(path))) if path else ""
    except (OSError, ValueError):
        return None
    remedy = "mend it, or move it away and run `docker login` again"
    return MachineError(f"{path} is damaged: {problem}", remedy=remedy) if problem else None


def refuse_irregular_config(path: str | None) -> None:
    """Raise :class:`MachineError` for a ``config.json`` that docker-py would open and never finish with: a FIFO, or a
    device other than ``/dev/null``."""
    try:
        mode = Path(path).stat().st_mode if path else 0
    except OSError:
        return
    if stat.S_ISFIFO(mode) or (stat.S_ISCHR(mode) and not Path(str(path)).samefile(os.devnull)):
        remedy = "move it away, or set DOCKER_CONFIG to another folder"
        raise MachineError(f"{path} is not a regular file", remedy=remedy)


def _damage(document: Any) -> str:
    if not isinstance(document, dict):
        return "it is not a JSON object"
    for key in ("auths", "credHelpers", "HttpHeaders", "proxies"):
        if not isinstance(document.get(key, {}), dict):
            return f"{key} is not an object"
    if not isinstance(document.get("credsStore", ""), str):
        return "credsStore is not a string"
    for key in ("auths", "proxies"):
        for name, entry in document.get(key, {}).items():
            if not isinstance(entry, dict):
                return f"{name} in {key} is not an object"
    for name, entry in document.get("auths", {}).items():
        try:
            if "auth" in entry and b":" not in base64.b64decode(entry["auth"], validate=True):
                return f"auth of {name} has no user and password"
        except (TypeError, ValueError):
            return f"auth of {name} is not Base64"
    return ""


def _socket() -> str:
    """The system's socket, or that of this user's rootless engine where the system's is none of theirs."""
    rootless = Path(surroundings.variables().get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "docker.sock"
    if not os.access(urlsplit(DEFAULT_HOST).path, os.W_OK) and os.access(rootless, os.W_OK):
        return f"unix://{rootless}"
    return DEFAULT_HOST


def _tls_of_variables() -> Tls | None:
    verify = bool(surroundings.variables().get("DOCKER_TLS_VERIFY"))
    folder = surroundings.variables().get("DOCKER_CERT_PATH", "")
    if not verify and not folder:
        return None
    path = Path(folder) if folder else _docker_folder()
    return _tls(path, verify=verify, named=f"DOCKER_CERT_PATH ({path})")


def _of_context() -> Address | None:
    named = surroundings.variables().get("DOCKER_CONTEXT")
    try:
        folder = _docker_folder()
    except MachineError:
        if named:
            raise
        return None  # who has no home has set up no context
    name = named or client_config().get("currentContext", "")
    if name in ("", "default"):
        return None
    for meta in (folder / "contexts" / "meta").glob("*/meta.json"):
        document = _json(meta)
        if document.get("Name") != name:
            continue
        endpoints = document.get("Endpoints")
        endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
        if not isinstance(endpoint, dict) or not isinstance(endpoint.get("Host", ""), str):
            raise MachineError(f"{meta} is damaged: it names no Docker engine", remedy=f"make context {name!r} again")
        url = endpoint.get("Host") or DEFAULT_HOST
        skip = bool(endpoint.get("SkipTLSVerify"))
        material = folder / "contexts" / "tls" / meta.parent.name / "docker"
        secured = urlsplit(url).scheme in ("tcp", "https") and (skip or material.is_dir())
        tls = _tls(material, verify=not skip, named=f"Docker context {name!r} ({material})") if secured else None
        return Address(url=url, tls=tls)
    raise MachineError(
        f"Docker context {name!r} is not there", remedy="see `docker context ls`, or unset DOCKER_CONTEXT"
    )


def _tls(folder: Path, *, verify: bool, named: str) -> Tls:
    there = {key: folder / name for key, name in _FILES.items() if (folder / name).is_file()}
    if ("cert" in there) != ("key" in there) or not (there or not verify):
        lacking = ", ".join(name for key, name in _FILES.items() if key not in there)
        raise MachineError(f"{named} holds no {lacking}", remedy="put the engine's certificates there")
    for path in there.values():
        if not os.access(path, os.R_OK):
            raise MachineError(f"{path} cannot be read", remedy="give this user the right to read it")
    files = {key: str(there[key]) if key in there else None for key in _FILES}
    return Tls(ca=files["ca"], cert=files["cert"], key=files["key"], verify=verify)


def _is_own(name: str) -> bool:
    """Whether that is an address of this machine, loopback's too. Names are not resolved, which may hang."""
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def _docker_folder() -> Path:
    return Path(surroundings.variables().get("DOCKER_CONFIG") or surroundings.home() / ".docker")


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(text_of(path))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
