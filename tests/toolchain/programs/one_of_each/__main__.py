"""A container on a network with a volume, whose removal is soon given up."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

_config = pulumi.Config()
_prefix = _config.require("prefix")
# Otherwise the container has the image's own label, by which what killed builds left is found and removed.
_LABELS = [{"label": "plugin.test", "value": _prefix}, {"label": "ephemera.image", "value": "none"}]
_SOON = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="1s"))

_network = docker.Network("network", name=f"{_prefix}-network", labels=_LABELS, opts=_SOON)
_volume = docker.Volume("volume", name=f"{_prefix}-volume", labels=_LABELS, opts=_SOON)
docker.Container(
    "container",
    name=f"{_prefix}-container",
    image=docker.RemoteImage("image", name=_config.require("image"), keep_locally=True).image_id,
    entrypoints=[],
    command=["sleep", "1000"],
    network_mode="bridge",
    networks_advanced=[{"name": _network.name}],
    volumes=[{"container_path": "/data", "volume_name": _volume.name}],
    labels=_LABELS,
)
