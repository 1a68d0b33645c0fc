"""People who are not root: in Docker's group, outside of it, and with a rootless engine of their own."""

from __future__ import annotations

import json
from pathlib import Path

import docker

from ephemera.docker.connection import connected
from ephemera.lifecycle import removal

from .person import Person
from .rootless import rootless_engine


def test_user_in_dockers_group_needs_no_root(user: Person, postgres_image: str) -> None:
    def run(*arguments: str) -> str:
        done = user(*arguments, groups=["docker"])
        assert done.code == 0, (arguments, done.err, done.out)
        return done.out

    checks = {check["name"]: check for check in json.loads(run("doctor", "--output", "json"))["checks"]}
    assert checks["access"]["detail"].startswith("may use Docker")
    environment = json.loads(run("up", "data", "--output", "json"))
    endpoint = environment["services"]["postgres"]["endpoints"]["postgres"]
    assert endpoint["host"].startswith("127.83.")
    assert endpoint["port"] == 5432
    assert "postgres" in run("status", "data")
    assert f"data-{user.branch}" in run("ls")
    run("down", "data")
    with connected() as client:
        assert removal.find(client, backend=user.backend) == []


def test_user_outside_of_the_group_is_told_what_to_do(user: Person) -> None:
    for arguments in (("ls",), ("up", "data")):
        done = user(*arguments)
        assert done.code == 5, done.err
        assert "this user may not use" in done.err
        assert "sudo usermod -aG docker $USER" in done.err
        assert done.err.count("ephemera: ") == 1
        assert "Traceback" not in done.err


def test_rootless_engine(user: Person, postgres_image: str) -> None:
    with rootless_engine(user, postgres_image) as url:
        variables = {"XDG_RUNTIME_DIR": str(Path(url.removeprefix("unix://")).parent)}
        own = Person(entry=user.entry, variables=variables)
        assert f"may use Docker at {url}" in own("doctor").out, "found without being told"
        assert "this rootless engine ignores limits of" in own("doctor").out
        places = set()
        for branch in (user.branch, f"{user.branch}x"):
            done = own("up", "data", "--branch", branch, "--output", "json")
            assert done.code == 0, done.err
            assert "it ignores limits of memory" in done.err, "what is not held is said"
            endpoint = json.loads(done.out)["services"]["postgres"]["endpoints"]["postgres"]
            assert endpoint["host"] == "127.0.0.1"
            places.add(endpoint["port"])
        assert len(places) == 2, "two environments of the same system beside each other"
        status = own("status", f"data-{user.branch}")
        assert "running" in status.out, status.err
        for branch in (user.branch, f"{user.branch}x"):
            assert own("down", f"data-{branch}").code == 0
        client = docker.DockerClient(base_url=url)
        assert removal.find(client, backend=own.backend) == []
        client.close()
