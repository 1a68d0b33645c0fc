"""``python docker_api.py ENGINE up|down FILE``: what FILE describes, by the engine's API alone, side by side.

No library between: what is left is what the engine takes, a Python interpreter, and the time until a service answers.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ephemera.host.probes import Target, from_description

_READY_SECONDS = 60.0


class Api:
    """The engine's HTTP API over a unix socket or TCP."""

    def __init__(self, engine: str) -> None:
        self._engine = urlsplit(engine)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        connection = HTTPConnection(self._engine.hostname or "localhost", self._engine.port or 2375, timeout=60)
        if self._engine.scheme == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(self._engine.path)
        try:
            text = json.dumps(body) if body is not None else None
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            document = answer.read()
            if answer.status >= 300:
                raise SystemExit(f"{method} {path}: {answer.status} {document.decode(errors='replace')}")
            return json.loads(document) if document else None
        finally:
            connection.close()


def up(api: Api, wanted: dict[str, Any]) -> None:
    """Network and volumes first, then each container as soon as what it requires is ready."""
    name, mark = wanted["name"], {wanted["environment_label"]: wanted["name"]}
    services = wanted["services"]
    with ThreadPoolExecutor(32) as pool:
        first = [pool.submit(api, "POST", "/networks/create", {"Name": name, "Labels": mark})]
        for service in services:
            for number in range(len(service["volumes"])):
                volume = {"Name": f"{name}-{service['name']}-{number}", "Labels": mark}
                first.append(pool.submit(api, "POST", "/volumes/create", volume))
        _all(first)
        ready: dict[str, Future[None]] = {}

        def start(service: dict[str, Any]) -> None:
            _all(ready[needed] for needed in service["requires"])
            marks = {**mark, wanted["service_label"]: service["name"]}
            _start(api, name, service, marks)

        for service in services:  # whose order is one in which they can be started: none waits for a later one
            ready[service["name"]] = pool.submit(start, service)
        _all(ready.values())


def down(api: Api, wanted: dict[str, Any]) -> None:
    """By label: containers, then volumes and network."""
    filters = quote(json.dumps({"label": [f"{wanted['environment_label']}={wanted['name']}"]}))
    with ThreadPoolExecutor(32) as pool:
        listed = [pool.submit(api, "GET", f"/{kind}{filters}") for kind in _LISTS]
        containers, volumes, networks = (each.result() for each in listed)
        _side_by_side(pool, api, [f"/containers/{item['Id']}?force=1&v=1" for item in containers])
        names = [f"/volumes/{item['Name']}" for item in volumes["Volumes"] or ()]
        _side_by_side(pool, api, [*names, *(f"/networks/{item['Id']}" for item in networks)])


_LISTS = ("containers/json?all=1&filters=", "volumes?filters=", "networks?filters=")


def _start(api: Api, name: str, service: dict[str, Any], marks: dict[str, str]) -> None:
    health = service["health"]
    container = api(
        "POST",
        f"/containers/create?name={name}-{service['name']}",
        {
            "Image": service["image"],
            "Hostname": service["name"],
            "Cmd": service["command"] or None,
            "Env": [f"{key}={value}" for key, value in service["variables"].items()],
            "Labels": marks,
            "User": service["user"],
            "ExposedPorts": {f"{port}/tcp": {} for port in service["ports"]},
            "Healthcheck": {
                "Test": ["CMD", *health["command"]],
                "Interval": round(health["interval"] * 1e9),
                "Timeout": round(health["timeout"] * 1e9),
                "StartPeriod": round(health["start_period"] * 1e9),
                "Retries": health["retries"],
            },
            "HostConfig": {
                "NetworkMode": name,
                "PortBindings": {f"{port}/tcp": [{"HostIp": "127.0.0.1"}] for port in service["ports"]},
                "Binds": [f"{name}-{service['name']}-{at}:{path}" for at, path in enumerate(service["volumes"])],
                "Tmpfs": service["tmpfs"],
                "Init": True,
                "ReadonlyRootfs": service["read_only"],
                "CapDrop": ["ALL"],
                "CapAdd": service["capabilities"],
                "SecurityOpt": ["no-new-privileges"],
                "Memory": service["memory"],
                "MemorySwap": service["memory"],
                "NanoCpus": service["nano_cpus"],
                "PidsLimit": service["pids"],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            },
            "NetworkingConfig": {"EndpointsConfig": {name: {"Aliases": [service["name"]]}}},
        },
    )["Id"]
    api("POST", f"/containers/{container}/start")
    published = api("GET", f"/containers/{container}/json")["NetworkSettings"]["Ports"]
    binding = published[f"{service['ports'][0]}/tcp"][0]
    probe = from_description(service["readiness"])
    target = Target(host=binding["HostIp"], port=int(binding["HostPort"]), execute=lambda _: 1, exit_code=None)
    deadline = time.monotonic() + _READY_SECONDS
    while not probe.ready(target):
        if time.monotonic() > deadline:
            raise SystemExit(f"{service['name']} was not ready after {_READY_SECONDS:g} s")
        time.sleep(probe.interval_seconds / 3)


def _side_by_side(pool: ThreadPoolExecutor, api: Api, paths: Iterable[str]) -> None:
    _all([pool.submit(api, "DELETE", path) for path in paths])


def _all(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.result()


_COMMANDS: dict[str, Callable[[Api, dict[str, Any]], None]] = {"up": up, "down": down}


if __name__ == "__main__":
    engine, what, file = sys.argv[1:]
    _COMMANDS[what](Api(engine), json.loads(Path(file).read_text()))
