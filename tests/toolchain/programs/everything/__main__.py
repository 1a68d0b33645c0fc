"""Everything that the plugin replaces functions for, and what it leaves to upstream's: as we use it, and oddly."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

_config = pulumi.Config()
_prefix = _config.require("prefix")
_block = _config.require("block")  # a /24 without its last number: 10.213.7
_changed = _config.get_bool("changed") or False
# Otherwise containers have the image's own label, by which what killed builds left is found and removed.
_LABELS = {"plugin.test": _prefix, "plugin.odd": "a=b, c", "ephemera.image": "none"}
_SLEEP = ["sleep", "1000"]


def networks() -> dict[str, docker.Network]:
    """The default, one with every option that needs no other machine, and two to be on at once."""
    labels = [docker.NetworkLabelArgs(label=key, value=value) for key, value in _LABELS.items()]
    made = {
        "plain": docker.Network("plain", name=f"{_prefix}-plain", labels=labels),
        "options": docker.Network(
            "options",
            name=f"{_prefix}-options",
            driver="bridge",
            internal=True,
            attachable=True,
            options={"com.docker.network.bridge.enable_icc": "false", "com.docker.network.driver.mtu": "1400"},
            ipam_driver="default",
            ipam_configs=[
                docker.NetworkIpamConfigArgs(
                    subnet=f"{_block}.0/28",
                    gateway=f"{_block}.1",
                    ip_range=f"{_block}.8/29",
                    aux_address={"router": f"{_block}.2"},
                )
            ],
            labels=labels,
        ),
        "fixed": docker.Network(
            "fixed",
            name=f"{_prefix}-fixed",
            ipam_configs=[docker.NetworkIpamConfigArgs(subnet=f"{_block}.16/28")],
            labels=labels,
            opts=pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="40s")),
        ),
    }
    if _changed:
        made["added"] = docker.Network("added", name=f"{_prefix}-added", labels=labels)
    return made


def volumes() -> dict[str, docker.Volume]:
    """The default, and one with options."""
    labels = [docker.VolumeLabelArgs(label=key, value=value) for key, value in _LABELS.items()]
    return {
        "data": docker.Volume("data", name=f"{_prefix}-data", labels=labels),
        "memory": docker.Volume(
            "memory",
            name=f"{_prefix}-memory",
            driver="local",
            driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=8m"},
            labels=labels,
        ),
    }


def images() -> dict[str, docker.RemoteImage]:
    """One that stays, one that goes with the stack, and one that another resource makes."""
    tag = docker.Tag("tag", source_image=_config.require("image"), target_image=f"{_prefix}:made")
    return {
        "kept": docker.RemoteImage("kept", name=_config.require("image"), keep_locally=True),
        "dropped": docker.RemoteImage("dropped", name=f"{_prefix}:dropped", triggers={"why": "none"}),
        "forced": docker.RemoteImage(
            "forced", name=tag.target_image, force_remove=True, opts=pulumi.ResourceOptions(depends_on=[tag])
        ),
    }


def container(name: str, **arguments: object) -> docker.Container:
    """A container with the labels, and a name of its own."""
    labels = [docker.ContainerLabelArgs(label=key, value=value) for key, value in _LABELS.items()]
    given = {"image": _image, "labels": labels, "entrypoints": [], **arguments}
    return docker.Container(name, name=f"{_prefix}-{name}", **given)


def as_ours() -> None:
    """As `ephemera.resources.Container` makes them; its environment changes, which replaces it."""
    container(
        "service",
        command=_SLEEP,
        envs=[f"WORD={'other' if _changed else 'one'}", "EMPTY="],
        ports=[
            docker.ContainerPortArgs(internal=5432, external=5432, ip=_config.require("address"), protocol="tcp"),
            docker.ContainerPortArgs(internal=53, external=5353, ip=_config.require("address"), protocol="udp"),
        ],
        network_mode="bridge",
        networks_advanced=[docker.ContainerNetworksAdvancedArgs(name=_networks["fixed"].name, aliases=["service"])],
        volumes=[docker.ContainerVolumeArgs(container_path="/data", volume_name=_volumes["data"].name)],
        healthcheck=docker.ContainerHealthcheckArgs(
            tests=["CMD", "true"], interval="1s", timeout="1m30s", start_period="2s", retries=3
        ),
        must_run=True,
        restart="no",
        user="65534:65534",
        init=True,
        read_only=True,
        tmpfs={"/tmp": "size=64m"},  # noqa: S108 - in the container
        capabilities=docker.ContainerCapabilitiesArgs(adds=["CAP_CHOWN", "CAP_FOWNER"], drops=["ALL"]),
        security_opts=["no-new-privileges"],
        memory=64,
        memory_swap=64,
        cpus="0.5",
        log_driver="json-file",
        log_opts={"max-size": "10m", "max-file": "3"},
    )


def odd() -> None:
    """What we do not use, but others may."""
    container("bare", command=_SLEEP, memory=96 if _changed else 64, memory_swap=128)  # updated in place
    container("created", command=_SLEEP, start=False, must_run=False, hostname="created", domainname="example.test")
    container("by-name", image=_images["forced"].name, command=_SLEEP, network_mode=_networks["plain"].name)
    container("by-id", command=_SLEEP, networks_advanced=[{"name": _networks["plain"].id}], destroy_grace_seconds=1)
    container(
        "two",
        command=_SLEEP,
        networks_advanced=[
            {"name": _networks["fixed"].name, "ipv4_address": f"{_block}.21", "aliases": ["two", "zwei"]},
            {"name": _networks["options"].name, "ipv4_address": f"{_block}.9"},
        ],
        dns=["192.0.2.1"],
        dns_searches=["example.test"],
        dns_opts=["ndots:2"],
        hosts=[{"host": "elsewhere", "ip": "192.0.2.2"}],
    )
    container(
        "limits",
        command=_SLEEP,
        ulimits=[{"name": "nofile", "soft": 256, "hard": 512}],
        sysctls={"net.core.somaxconn": "128"},
        cpu_shares=512,
        memory_reservation=32,
        shm_size=16,
        pid_mode="host",
        ipc_mode="private",
        group_adds=["1000"],
        working_dir="/tmp",  # noqa: S108 - in the container
        stop_signal="SIGINT",
        stop_timeout=3,
        restart="on-failure",
        max_retry_count=2,
    )
    container(
        "mounts",
        command=_SLEEP,
        mounts=[
            {"type": "volume", "target": "/memory", "source": _volumes["memory"].name, "read_only": True},
            {"type": "tmpfs", "target": "/scratch", "tmpfs_options": {"size_bytes": 1048576, "mode": 448}},
        ],
        uploads=[{"file": "/uploaded", "content": "a word", "executable": True}],
    )
    container(
        "said",
        command=["sh", "-c", "echo a word; exit 3"],
        attach=True,
        logs=True,
        must_run=False,
        network_mode="none",
    )
    container("leaves", command=_SLEEP, rm=True)
    container(
        "healthy",
        command=_SLEEP,
        wait=True,
        wait_timeout=30,
        healthcheck={"tests": ["CMD", "true"], "interval": "1s", "timeout": "1s", "retries": 1, "start_period": "0s"},
    )


_networks, _volumes, _images = networks(), volumes(), images()
_image = _images["kept"].image_id
as_ours()
odd()
