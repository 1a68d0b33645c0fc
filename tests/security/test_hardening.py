"""Every container is as hardened as the documentation says: read back from the engine, and seen from inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.security.world import World

pytestmark = pytest.mark.timeout(600)
_MB = 1024 * 1024
# Memory in MB, cores, processes: where they are not a container's defaults.
_DEFAULTS = (256, 1, 256)
_LIMITS = {
    "tasker": {"postgres": (512, 1, 256), "orchestration": _DEFAULTS, "worker": _DEFAULTS, "worker-2": _DEFAULTS},
    "olav": {
        "postgres": (512, 1, 256),
        "opensearch": (1280, 2, 1024),
        "redis": (128, 1, 256),
        "llm": _DEFAULTS,
        "olav-server": (1024, 2, 256),
    },
}
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


@pytest.mark.parametrize("system", _LIMITS)
def test_as_it_was_made(world: World, system: str) -> None:
    found = _services(world, system)
    assert set(found) == set(_LIMITS[system]), "every service of every profile"
    for service, document in found.items():
        _hardened(world, system, service, document)


def test_a_one_shot_was_made_as_hard(world: World) -> None:
    (document,) = [each for name, each in world.containers("olav").items() if name.endswith("-olav-init")]
    assert document["State"]["ExitCode"] == 0
    _told_by_the_engine(document, (512, 1, 256))


def test_after_a_restart(world: World) -> None:
    stack = world.tasker.stack("tasker")
    before = {service: document["State"]["StartedAt"] for service, document in _services(world, "tasker").items()}
    for service in ("postgres", "worker"):
        done = world.command(world.tasker, "restart", service, "--stack", stack)
        assert done.code == 0, done.err
        document = _services(world, "tasker")[service]
        assert document["State"]["StartedAt"] != before[service]
        _hardened(world, "tasker", service, document)


def test_after_an_update(world: World) -> None:
    before = {service: document["Id"] for service, document in _services(world, "tasker").items()}
    world.up(world.tasker, "tasker", "--profile", "scale", "-c", "log_level=debug")
    found = _services(world, "tasker")
    assert {service for service, document in found.items() if document["Id"] == before[service]} == {"postgres"}
    for service, document in found.items():
        _hardened(world, "tasker", service, document)


def _services(world: World, system: str) -> dict[str, dict[str, Any]]:
    """Those that run, by service."""
    return {
        document["Config"]["Labels"]["ephemera.service"]: document
        for document in world.containers(system).values()
        if document["State"]["Running"]
    }


def _hardened(world: World, system: str, service: str, document: Mapping[str, Any]) -> None:
    memory, cores, processes = _LIMITS[system][service]
    cores = min(cores, world.client.info()["NCPU"])
    _told_by_the_engine(document, (memory, cores, processes))
    inside = _inside(world, document["Name"].lstrip("/"))
    assert {key: int(inside[key], 16) for key in inside if "Cap" in key} == dict.fromkeys(
        ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "FirstCapEff"), 0
    )
    assert inside["NoNewPrivs"] == "1"
    assert inside["Seccomp"] == "2", "Docker's filter of system calls is on"
    assert "0" not in inside["Uid"].split() + inside["FirstUid"].split()
    assert inside["root"] == "read-only"
    assert "ro" in inside["mounted"].split(",")
    assert int(inside["memory"]) == memory * _MB
    assert inside["pids"] == str(processes)
    assert inside["cpu"] in (f"{cores}00000 100000", f"{cores}00000")


def _told_by_the_engine(document: Mapping[str, Any], limits: tuple[int, int, int]) -> None:
    memory, cores, processes = limits
    host, config = document["HostConfig"], document["Config"]
    assert config["User"] not in ("", "root", "0")
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert host["ReadonlyRootfs"] is True
    assert host["Init"] is True
    assert host["Memory"] == host["MemorySwap"] == memory * _MB
    assert host["NanoCpus"] == cores * 1_000_000_000
    assert host["PidsLimit"] == processes
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
