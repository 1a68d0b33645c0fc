"""What is read from, and added to, the text of a Dockerfile before the engine is sent it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit
from xml.etree import ElementTree

from ephemera.contract import labels
from ephemera.contract.errors import MachineError
from ephemera.host import surroundings

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_PIP_SETTINGS = {
    "PIP_INDEX_URL": "index-url",
    "PIP_EXTRA_INDEX_URL": "extra-index-url",
    "PIP_TRUSTED_HOST": "trusted-host",
}
_MAVEN = "MAVEN_REPOSITORY"


def labelled(dockerfile: str, name: str) -> str:
    """The Dockerfile with our label in every stage, so that what a build leaves behind is known for ours."""
    lines = []
    for is_from, line in _instructions(dockerfile):
        lines.append(line)
        if is_from:
            lines.append(f'LABEL {labels.IMAGE}="{name}"')
    return "\n".join(lines) + "\n"


def machine_arguments(dockerfile: str) -> dict[str, str]:
    """Build arguments that say how this machine reaches the network; none that is not declared, none with a secret.

    Proxies are predefined by Docker: they need no ARG, and stay out of the image's history.
    """
    arguments = {
        variant: value
        for name in _PROXIES
        for variant in (name, name.lower())
        if (value := surroundings.variables().get(variant))
    }
    declared = set(re.findall(r"^\s*ARG\s+([A-Za-z_]\w*)", dockerfile, re.MULTILINE | re.IGNORECASE))
    if wanted := declared & set(_PIP_SETTINGS):
        configured = _pip_configuration()
        arguments |= _reachable({name: configured.get(_PIP_SETTINGS[name], "") for name in wanted})
    if _MAVEN in declared:
        arguments |= _reachable({_MAVEN: _maven_mirror()})
    return arguments


def _reachable(configured: dict[str, str]) -> dict[str, str]:
    """Settings by name, those of this process's environment first; without what is empty or holds a secret."""
    found = {name: surroundings.variables().get(name) or value for name, value in configured.items()}
    return {
        name: value
        for name, value in found.items()
        if value and not any(_has_credentials(part) for part in value.split())
    }


def _instructions(dockerfile: str) -> Iterator[tuple[bool, str]]:
    """Each instruction with its continuation lines, and whether it is a FROM."""
    instruction: list[str] = []
    for line in dockerfile.splitlines():
        instruction.append(line)
        # A comment inside an instruction does not end it.
        if line.rstrip().endswith("\\") or (len(instruction) > 1 and line.lstrip().startswith("#")):
            continue
        yield bool(re.match(r"\s*FROM\s", instruction[0], re.IGNORECASE)), "\n".join(instruction)
        instruction = []
    if instruction:
        yield False, "\n".join(instruction)


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
