"""What is read from, and added to, the text of a Dockerfile before the engine is sent it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from ephemera.contract import labels

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_PIP_SETTINGS = {
    "PIP_INDEX_URL": "index-url",
    "PIP_EXTRA_INDEX_URL": "extra-index-url",
    "PIP_TRUSTED_HOST": "trusted-host",
}


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
        variant: os.environ[variant] for name in _PROXIES for variant in (name, name.lower()) if os.environ.get(variant)
    }
    declared = set(re.findall(r"^\s*ARG\s+([A-Za-z_]\w*)", dockerfile, re.MULTILINE | re.IGNORECASE))
    if wanted := declared & set(_PIP_SETTINGS):
        configured = _pip_configuration()
        for name in wanted:
            value = os.environ.get(name) or configured.get(_PIP_SETTINGS[name], "")
            if value and not any(_has_credentials(part) for part in value.split()):
                arguments[name] = value
    return arguments


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


def _has_credentials(url: str) -> bool:
    return "@" in urlsplit(url).netloc
