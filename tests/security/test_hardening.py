"""Every container is as hardened as the documentation says: read back from the engine, and seen from inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.security.world import World

pytestmark = pytest.mark.timeout(600)
_MB = 1024 * 1024
_MEMORY_MB = {"postgres": 512, "orchestration": 256, "worker": 256, "worker-2": 256}
# Prints one `key=value` a line; control groups of both versions.
_LOOK_INSIDE = r"""
sed -n 's/^\(CapInh\|CapPrm\|CapEff\|CapBnd\|CapAmb\|NoNewPrivs\|Seccomp\|Uid\):[[:space:]]*/\1=/p' /proc/self/status
sed -n 's/^Uid:[[:space:]]*/FirstUid=/p; s/^CapEff:[[:space:]]*/FirstCapEff=/p' /proc/1/status
(: > /written-by-a-test) 2>/dev/null && echo root=writable || echo root=read-only
awk '$2 == "/" { print "mounted=" $4 }' /proc/self/mounts
read_first() { for file in "$@"; do [ -r "$file" ] && { cat "$file"; return; }; done; echo none; }
echo memory=$(read_first /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes)
echo pids=$(read_first /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max)
echo cpu=$(read_first /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us)
"""


def test_as_it_was_made(world: World) -> None:
    found = _tasker(world)
    assert set(found) == set(_MEMORY_MB), "every service of every profile"
    for service, document in found.items():
        _hardened(world, service, document)


def test_after_a_restart(world: World) -> None:
    stack = world.tasker.stack("tasker")
    before = {service: document["State"]["StartedAt"] for service, document in _tasker(world).items()}
    for service in ("postgres", "worker"):
        done = world.command(world.tasker, "restart", service, "--stack", stack)
        assert done.code == 0, done.err
        document = _tasker(world)[service]
        assert document["State"]["StartedAt"] != before[service]
        _hardened(world, service, document)


def test_after_an_update(world: World) -> None:
    before = {service: document["Id"] for service, document in _tasker(world).items()}
    world.up(world.tasker, "tasker", "--profile", "scale", "-c", "log_level=debug")
    found = _tasker(world)
    assert {service for service, document in found.items() if document["Id"] == before[service]} == {"postgres"}
    for service, document in found.items():
        _hardened(world, service, document)


def _tasker(world: World) -> dict[str, dict[str, Any]]:
    return {
        document["Config"]["Labels"]["ephemera.service"]: document for document in world.containers("tasker").values()
    }


def _hardened(world: World, service: str, document: Mapping[str, Any]) -> None:
    _told_by_the_engine(service, document)
    inside = _inside(world, document["Name"].lstrip("/"))
    assert {key: int(inside[key], 16) for key in inside if "Cap" in key} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "FirstCapEff"), 0
    )
    assert inside["NoNewPrivs"] == "1"
    assert inside["Seccomp"] == "2", "Docker's filter of system calls is on"
    assert "0" not in inside["Uid"].split() + inside["FirstUid"].split()
    assert inside["root"] == "read-only"
    assert "ro" in inside["mounted"].split(",")
    assert int(inside["memory"]) == _MEMORY_MB[service] * _MB
    assert inside["pids"] == "256"
    assert inside["cpu"] in ("100000 100000", "100000"), "one core"


def _told_by_the_engine(service: str, document: Mapping[str, Any]) -> None:
    host, config = document["HostConfig"], document["Config"]
    assert config["User"] not in ("", "root", "0")
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert host["ReadonlyRootfs"] is True
    assert host["Init"] is True
    assert host["Memory"] == host["MemorySwap"] == _MEMORY_MB[service] * _MB
    assert host["NanoCpus"] == 1_000_000_000
    assert host["PidsLimit"] == 256
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
    assert host["NetworkMode"] == "bridge"
    assert list(document["NetworkSettings"]["Networks"]) == [config["Labels"]["ephemera.stack"]]
    assert host["PidMode"] == host["UTSMode"] == host["UsernsMode"] == ""
    assert host["IpcMode"] in ("private", "shareable", "none")
    assert not any(bind.startswith("/") for bind in host["Binds"] or ())
    assert not any(host[name] for name in ("Devices", "DeviceRequests", "VolumesFrom", "PublishAllPorts"))
    assert {mount["Type"] for mount in document["Mounts"]} <= {"volume"}
    assert host["RestartPolicy"]["Name"] in ("", "no")


def _inside(world: World, container: str) -> dict[str, str]:
    done = world.execute(container, ["sh", "-s"], _LOOK_INSIDE.encode())
    assert done.returncode == 0, done.stderr
    return dict(line.partition("=")[::2] for line in done.stdout.decode().splitlines())
