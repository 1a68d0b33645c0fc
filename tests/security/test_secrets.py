"""No secret in anything that is kept, shown or can be looked at: every place is searched, and the count printed."""

from __future__ import annotations

import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from ephemera.setup.toolchain import located
from tests.security.needles import Needles
from tests.security.world import World, as_json, files, printed

pytestmark = pytest.mark.timeout(600)
_FORMATS = ("json", "env", "dotenv")
_OWN_FILES = ("key", "passphrase")
_LARGEST_LOG = 10_000_000


@pytest.fixture(scope="session")
def needles(world: World) -> Needles:
    """Every generated credential of all environments, the user's key and passphrase."""
    secrets = {
        f"{system}.{service}.{purpose}": secret.get_secret_value().encode()
        for command, system in world.environments
        for service, outputs in world.outputs(command, system).services.items()
        for purpose, secret in outputs.credentials.items()
        if purpose not in ("user", "database")
    }
    assert set(secrets) == {
        "tasker.postgres.password",
        "olav.postgres.password",
        "olav.redis.password",
        "olav.llm.api_key",
        "olav.olav-server.jwt_secret_key",
        *(f"olav.olav-server.{role}_password" for role in ("admin", "operator", "viewer")),
        "data.postgres.password",
        "vault.vault.token",
    }
    secrets |= {name: (world.home / name).read_bytes().strip() for name in _OWN_FILES}
    secrets["key, its bytes"] = bytes.fromhex((world.home / "key").read_text())
    return Needles(secrets)


def test_search_finds_what_is_known_to_be_there(world: World, needles: Needles) -> None:
    inspected = as_json(world.containers("tasker")[f"{world.tasker.stack('tasker')}-postgres"]["Config"]["Env"])
    assert needles.found_in(inspected) == ["tasker.postgres.password"]
    for name in _OWN_FILES:
        assert name in needles.found_in((world.home / name).read_bytes())
    contained = [variables for (_, variables), container in world.watch.environments.items() if container]
    assert any("tasker.postgres.password" in needles.found_in(variables) for variables in contained)
    assert world.watch.looks > 10


def _container_logs(world: World) -> Iterator[tuple[str, bytes]]:
    """Of all containers, after olav was used: a login, ones that went wrong as people's do, a call with the token."""
    server = world.outputs(world.tasker, "olav").service("olav-server")
    secret = server.credentials["operator_password"].get_secret_value()
    with httpx.Client(base_url=str(server.endpoint().url), trust_env=False, timeout=30) as client:
        login = client.post("/auth/login", json={"username": "operator", "password": secret})
        for wrong in ({"username": secret, "password": "operator"}, {"username": "operator", "token": secret}, secret):
            assert client.post("/auth/login", json=wrong).status_code in (401, 422)
        token = login.json()["access_token"]
        asked = client.post(
            "/orchestrator/invoke",
            json={"input": {"question": "Who?"}},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert asked.status_code == 200, asked.text
    for name in world.containers():
        logs = world.client.api.logs(name, timestamps=True)
        assert token.encode() not in logs, name
        yield name, logs


def _failed_gate(world: World) -> Iterator[tuple[str, bytes]]:
    """Evidence and messages of a service that tells its secret and exits."""
    for shape in ("json", "table"):
        arguments = ("--branch", f"gate-{shape}", "-c", "behaviour=exit", "--output", shape)
        done = world.command(world.vault, "up", "vault", *arguments)
        assert done.code == 3
        assert "***" in done.out + done.err, "its last lines are shown"
        yield from printed([(f"a failed gate, {shape}", done)])
    artifacts = world.vault.project / ".ephemera" / "artifacts"
    assert any("***" in text.decode(errors="replace") for _, text in files(artifacts)), "its log was kept"
    yield from files(artifacts)


def _failing_test(world: World) -> Iterator[tuple[str, bytes]]:
    """Evidence, reports and messages of a test that shows all it has and fails, against a service that talks."""
    project = world.vault.project
    for way, arguments in (
        ("pytest", ("-l", "-rA", "--junitxml", "report.xml", "tests")),
        ("pytest -n 2", ("-n", "2", "--junitxml", "report2.xml", "tests")),
    ):
        done = world.vault.pytest(*arguments, EPHEMERA_BEHAVIOUR="talk")
        assert done.code == 1, done.out
        assert "test_that_fails" in done.out
        yield from printed([(way, done)])
    for shape in ("json", "table"):
        done = world.command(world.vault, "run", "vault", "--output", shape, "-c", "behaviour=talk", "--", "-l")
        assert done.code == 1, done.err
        yield from printed([(f"ephemera run, {shape}", done)])
    assert ElementTree.parse(project / "report.xml").getroot() is not None  # noqa: S314 - our own
    yield from files(project)


def _state(world: World) -> Iterator[tuple[str, bytes]]:
    """Pulumi's state with its backups and history, leases, addresses, logs."""
    found = [(path, content) for path, content in files(world.home) if Path(path).name not in _OWN_FILES]
    for folder in ("stacks", "history", "locks"):
        assert folder == "locks" or any(f"/.pulumi/{folder}/" in path for path, _ in found), folder
    return iter(found)


def _checkouts(world: World) -> Iterator[tuple[str, bytes]]:
    found = list(files(world.tasker.project, world.shop.project, world.vault.project))
    assert sum(Path(path).name.startswith("Pulumi.") and path.endswith(".yaml") for path, _ in found) >= 6
    return iter(found)


def _cache(world: World) -> Iterator[tuple[str, bytes]]:
    """What the engine itself keeps beside its plugins: their marks, workspaces, logs."""
    for path in located().pulumi_home.rglob("*"):
        if path.is_file() and path.stat().st_size < _LARGEST_LOG:
            yield str(path), path.read_bytes()


def _commands(world: World) -> Iterator[tuple[str, bytes]]:
    stacks = [world.tasker.stack(system) for system in ("tasker", "olav")]
    for shape in ("json", "table"):
        of_each = (
            part for stack in stacks for part in (("status", stack), ("outputs", stack), ("logs", "--stack", stack))
        )
        for arguments in (("ls",), ("env",), *of_each):
            assert world.command(world.tasker, *arguments, "--output", shape).code == 0
        for wrong in (("outputs", "tasker-nowhere"), ("up", "tasker", "-c", "nonsense=1")):
            assert world.command(world.tasker, *wrong, "--output", shape).code == 2
    for form in _FORMATS:
        for stack in stacks:
            assert world.command(world.tasker, "outputs", stack, "--format", form).code == 0
    yield from printed(world.said)


def _talking_logs(world: World) -> Iterator[tuple[str, bytes]]:
    """``logs`` of a service that tells its secret."""
    branch = ("--branch", "talk")
    try:
        assert world.command(world.vault, "up", "vault", *branch, "-c", "behaviour=talk").code == 0
        for shape in ("json", "table"):
            done = world.command(world.vault, "logs", "--stack", "vault-talk", "--output", shape)
            assert "token" in done.out
            yield from printed([(f"logs, {shape}", done)])
    finally:
        assert world.vault("down", "vault-talk").code == 0


def _images(world: World) -> Iterator[tuple[str, bytes]]:
    """Every layer and the history of every image, as `docker save` writes them."""
    ids = sorted({document["Image"] for document in world.containers().values()})
    with (
        subprocess.Popen(["docker", "save", *ids], stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as saved,
    ):
        for member in saved:
            file = saved.extractfile(member) if member.isfile() else None
            if file is not None:
                yield f"image {member.name}", file.read()
    assert process.returncode == 0


def _command_lines(world: World) -> Iterator[tuple[str, bytes]]:
    for line in world.watch.commands:
        yield line[:200].decode(errors="replace"), line
    for name, document in world.containers().items():
        if document["State"]["Running"]:  # a one-shot's was seen while it ran
            yield f"docker top {name}", as_json(world.client.api.top(name))


def _environments(world: World) -> Iterator[tuple[str, bytes]]:
    """Variables of every process of the machine that is in no container."""
    for (pid, variables), contained in world.watch.environments.items():
        if not contained:
            yield f"environment of {pid}", variables


_PLACES: dict[str, Callable[[World], Iterator[tuple[str, bytes]]]] = {
    "container logs": _container_logs,
    "failed gate: evidence, messages": _failed_gate,
    "failing test: evidence, reports": _failing_test,
    "logs of a service that talks": _talking_logs,
    "output of commands": _commands,
    "state directory": _state,
    "checkouts": _checkouts,
    "the engine's own files": _cache,
    "image layers and history": _images,
    "command lines of all processes": _command_lines,
    "variables of processes outside": _environments,
}


@pytest.mark.parametrize("place", _PLACES)
def test_no_secret_is_in(world: World, needles: Needles, place: str) -> None:
    number, size, found = 0, 0, []
    for where, length, names in needles.search(_PLACES[place](world)):
        number, size = number + 1, size + length
        found += [f"{name} in {where}" for name in names]
    world.searched[place] = (number, size)
    print(f"{place}: {number} searched, {size / 1e6:.1f} MB, {len(needles)} forms of secrets, {len(found)} found")
    assert number > 0
    assert found == []


def test_count_of_what_was_searched(world: World, needles: Needles, capsys: pytest.CaptureFixture[str]) -> None:
    number = sum(number for number, _ in world.searched.values())
    size = sum(size for _, size in world.searched.values())
    with capsys.disabled():
        print(f"\n{number} places searched, {size / 1e6:.0f} MB, for {len(needles)} forms of secrets: 0 found")
    assert set(world.searched) == set(_PLACES)


@pytest.mark.parametrize("name", _OWN_FILES)
def test_own_secrets_are_for_the_user_alone(world: World, name: str) -> None:
    path = world.home / name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
