"""One program that Pulumi runs with either plugin: ours, or upstream's provider as it is."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import docker
from docker.errors import APIError

from ephemera.setup import toolchain

Variant = Literal["ours", "upstream"]
_PROGRAMS = Path(__file__).parent / "programs"
_SECONDS = 180
# What one run has and another has not: ids (also short ones), and addresses that the engine or the kernel picks.
_ID = re.compile(r"[0-9a-f]{64}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{12}\b")
_ADDRESS = re.compile(r"\b\d+\.\d+\.\d+\.\d+\b")
_PICKED = re.compile(r"<address>/\d+")  # as large as the engine's pools have left
_MAC = re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b")
_TIMES = frozenset({"created", "modified", "manifest"})


class PluginStack:
    """A stack of one of the programs, with state in ``folder``; ``homes``: Pulumi's home with each plugin.

    Whatever it makes carries its ``prefix`` as the value of the label ``plugin.test``. Stacks with one prefix are the
    same but for time, and cannot be there at once.
    """

    def __init__(self, program: str, folder: Path, homes: Mapping[Variant, Path], image: str, prefix: str) -> None:
        self.prefix = prefix
        self.image = image
        self.host: str | None = None
        """Where the plugin is to find the engine, if elsewhere."""
        self._project = _PROGRAMS / program
        self._number = int(prefix[-2:], 16)
        self._block = f"10.213.{self._number}"
        self._folder = folder
        self._homes = homes
        self._changed = False
        bin_dir = toolchain.toolchain_dir() / "bin"
        assert (bin_dir / "pulumi-language-python").exists(), "no engine was built: `./ephemera setup` builds it"
        self._pulumi = str(bin_dir / "pulumi")
        self._variables = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(bin_dir), os.environ["PATH"]]),
            "PULUMI_BACKEND_URL": folder.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        self.pulumi("ours", "stack", "init", "dev", "--no-select")

    def up(self, variant: Variant, *, changed: bool = False) -> dict[str, Any]:
        """Create or update it; its state afterwards."""
        self._changed = changed
        self.pulumi(variant, "up", "--yes", "--skip-preview", *self._options())
        return self.state()

    def fails(self, command: Literal["up", "destroy"], *said: str) -> None:
        """Create, update or remove it with our plugin: Pulumi fails, and says that."""
        done = self.pulumi("ours", command, "--yes", "--skip-preview", *self._options(), fails=True)
        for part in said:
            assert part in done.stdout + done.stderr, f"no {part!r} in\n{done.stdout}\n{done.stderr}"

    def refresh(self, variant: Variant, *options: str) -> dict[str, Any]:
        """Read everything back; its state afterwards."""
        self.pulumi(variant, "refresh", "--yes", "--skip-preview", *options, *self._options())
        return self.state()

    def unchanged(self, variant: Variant) -> None:
        """Fail if an update would change something."""
        self.pulumi(variant, "preview", "--expect-no-changes", "--diff", *self._options())

    def destroy(self, variant: Variant) -> None:
        """Remove it, and check that nothing is left in the state."""
        self.pulumi(variant, "destroy", "--yes", "--skip-preview", *self._options())
        assert self.state() == {}

    def state(self) -> dict[str, Any]:
        """Its resources in the state document by name, without what differs from run to run."""
        exported = self.pulumi("ours", "stack", "export", "--show-secrets", "--stack", "dev").stdout
        resources: list[dict[str, Any]] = json.loads(exported)["deployment"].get("resources", [])
        return {str(each["urn"]).rsplit("::", 1)[-1]: self._constant(each) for each in resources}

    def pulumi(self, variant: Variant, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """Run Pulumi with that plugin."""
        engine = {"DOCKER_HOST": self.host} if self.host else {}
        done = subprocess.run(
            [self._pulumi, *arguments, "--non-interactive"],
            cwd=self._project,
            env={**os.environ, **self._variables, "PULUMI_HOME": str(self._homes[variant]), **engine},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{variant}: {arguments}\n{done.stdout}\n{done.stderr}"
        return done

    def remove_leftovers(self) -> None:
        """Remove what a test that failed left on the engine."""
        label = {"label": f"plugin.test={self.prefix}"}
        client = docker.from_env()
        try:
            for container in client.containers.list(all=True, filters=label):
                _ignoring_gone(container.remove, force=True, v=True)
            for network in client.networks.list(filters=label):
                _ignoring_gone(network.remove)
            for volume in client.volumes.list(filters=label):
                _ignoring_gone(volume.remove)
            for image in client.images.list(name=self.prefix):
                for tag in image.tags:
                    if tag.startswith(self.prefix):
                        _ignoring_gone(client.images.remove, tag)
        finally:
            client.close()

    def on_the_engine(self) -> list[str]:
        """Names of everything that is there with its label, or its tag."""
        label = {"label": f"plugin.test={self.prefix}"}
        client = docker.from_env()
        try:
            return [
                *(str(container.name) for container in client.containers.list(all=True, filters=label)),
                *(str(network.name) for network in client.networks.list(filters=label)),
                *(str(volume.name) for volume in client.volumes.list(filters=label)),
                *(tag for image in client.images.list(name=self.prefix) for tag in image.tags),
            ]
        finally:
            client.close()

    def tag(self) -> None:
        """Make the tag that the program expects to be there."""
        client = docker.from_env()
        try:
            client.images.get(self.image).tag(self.prefix, "dropped")
        finally:
            client.close()

    def _options(self) -> list[str]:
        values = {
            "prefix": self.prefix,
            "block": self._block,
            "address": f"127.213.{self._number}.1",
            "image": self.image,
            "changed": str(self._changed).lower(),
        }
        file = self._folder / "config.yaml"
        lines = [f'  plugin:{key}: "{value}"' for key, value in values.items()]
        file.write_text("\n".join(["config:", *lines, ""]))
        return ["--stack", "dev", "--config-file", str(file), "--color", "never"]

    def _constant(self, value: Any) -> Any:
        if isinstance(value, dict):
            constant = {key: self._constant(item) for key, item in value.items() if key not in _TIMES}
            if "ipPrefixLength" in constant and constant.get("ipAddress") == "<address>":
                constant["ipPrefixLength"] = "<length>"  # of a subnet that the engine picked
            return constant
        if isinstance(value, list):
            items = [self._constant(item) for item in value]
            # Sets in Python and maps in Go: the SDK's lists of URNs, and a container's networks as upstream lists them.
            return sorted(items, key=_place) if value and all(map(_without_order, value)) else items
        if not isinstance(value, str):
            return value
        text = _MAC.sub("<mac>", _ID.sub("<id>", value))
        text = _ADDRESS.sub(lambda found: found[0] if self._given(found[0]) else "<address>", text)
        return _PICKED.sub("<subnet>", text)

    def _given(self, address: str) -> bool:
        """Whether the program gave that address: it has to be the same in each run."""
        given = (f"{self._block}.0/24", "127.0.0.0/8", "192.0.2.0/24", "0.0.0.0/32")
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(block) for block in given)


def fresh_prefix() -> str:
    """A prefix that no other run has."""
    return f"plug{secrets.token_hex(4)}"


def _without_order(item: Any) -> bool:
    return item.startswith("urn:pulumi:") if isinstance(item, str) else isinstance(item, dict) and "networkName" in item


def _place(item: Any) -> str:
    return item if isinstance(item, str) else str(item["networkName"])


def _ignoring_gone(remove: Any, *arguments: Any, **options: Any) -> None:
    try:
        remove(*arguments, **options)
    except APIError as error:
        if error.status_code != 404:
            raise
