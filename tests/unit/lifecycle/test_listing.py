from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ephemera.home import identity, leases
from ephemera.home.leases import DEFAULT_TTL_SECONDS
from ephemera.host.processes import ProcessId
from ephemera.lifecycle.listing import environments
from ephemera.model import labels
from ephemera.model.labels import of_image
from ephemera.pulumi.workspace import Workspace
from tests.unit.doubles import IDENTITY, FakeClient, lease_of, marks


def test_nothing_is_there(workspace: Workspace, docker: FakeClient) -> None:
    assert environments(workspace) == []
    assert docker.closed


def test_environment_of_plain_pulumi_gets_a_lease_when_first_seen(workspace: Workspace, docker: FakeClient) -> None:
    labels = {**IDENTITY.labels(), **marks("shop-main", identity.backend_id(), "db")}
    ports = [{"IP": "127.83.1.1", "PublicPort": 5432}, {"PrivatePort": 9}]
    docker.api.add("container", "shop-main-db", labels, Ports=ports, Created=1234)
    docker.api.add("container", "foreign", marks("shop-x", "another"))
    docker.api.add("container", "run-by-hand", of_image("api", identity.backend_id()))
    (listed,) = environments(workspace)
    assert (listed.stack, listed.system, listed.branch, listed.owner) == ("shop-main", "shop", "main", "me@here")
    assert (listed.state, listed.created_at, listed.endpoints) == ("running", 1234, ("127.83.1.1:5432",))
    lease = leases.read("shop-main")
    assert lease is not None
    assert listed.expires_at == lease.expires_at == lease.created_at + DEFAULT_TTL_SECONDS
    assert environments(workspace)[0].expires_at == listed.expires_at, "looking does not prolong it"


def test_environment_without_one_of_its_containers_is_stopped(workspace: Workspace, docker: FakeClient) -> None:
    for service in ("db", "api"):
        docker.api.add("container", f"shop-main-{service}", marks("shop-main", identity.backend_id(), service))
    leases.write(lease_of(project="demo", checkout=str(workspace.project), phase="kept"))
    declared = [{"type": "docker:index/container:Container", "id": f"shop-main-{name}-id"} for name in ("db", "api")]
    path = workspace.state_file("shop-main")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"checkpoint": {"latest": {"resources": declared}}}))
    assert environments(workspace)[0].state == "running"
    docker.api.listed_containers.pop()
    assert environments(workspace)[0].state == "stopped"
    docker.api.listed_containers.pop()
    assert environments(workspace)[0].state == "empty"


def test_state_tells_what_is_the_matter(workspace: Workspace, docker: FakeClient) -> None:
    backend = identity.backend_id()
    workspace.state_file("shop-a").parent.mkdir(parents=True)
    workspace.state_file("shop-a").write_text("{}")
    docker.api.add("container", "shop-b-db", marks("shop-b", backend, "db"))
    docker.api.add("container", "shop-b-api", marks("shop-b", backend, "api"), State="exited")
    first = leases.first_seen("shop-c", "demo", "/src", IDENTITY)
    leases.write(replace(first, phase="creating", holder=ProcessId.of()))
    docker.api.add("container", "shop-d-db", marks("shop-d", backend, "db"))
    in_use = leases.first_seen("shop-d", "demo", "/src", IDENTITY)
    leases.write(replace(in_use, phase="disposable", holder=ProcessId.of()))
    docker.api.add("container", "shop-e-db", marks("shop-e", backend, "db"))
    leases.write(replace(leases.first_seen("shop-e", "demo", "/src", IDENTITY), stack="shop-e", phase="destroying"))
    for stack, code in (("shop-f", 0), ("shop-g", 1)):
        one_shot = {**marks(stack, backend, "setup"), labels.ONE_SHOT: "true"}
        docker.api.add("container", f"{stack}-db", marks(stack, backend, "db"))
        docker.api.add("container", f"{stack}-setup", one_shot, State="exited", Status=f"Exited ({code}) 1 second ago")
    states = {listed.stack: listed.state for listed in environments(workspace)}
    assert states == {
        "shop-a": "empty",
        "shop-b": "stopped",
        "shop-c": "coming up",
        "shop-d": "running",
        "shop-e": "going down",
        "shop-f": "running",
        "shop-g": "stopped",
    }


def test_stack_that_is_taken_down_while_it_is_listed_does_not_come_back(
    workspace: Workspace, docker: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "stacks", lambda _: ["shop-gone"])
    assert environments(workspace) == []
    assert leases.read("shop-gone") is None
