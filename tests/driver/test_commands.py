"""Commands on a running environment."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess

import docker
import pytest

from .conftest import Ephemera


@pytest.fixture
def running(ephemera: Ephemera) -> Ephemera:
    done = ephemera("up", "web")
    assert done.code == 0, done.err
    return ephemera


def test_looking(running: Ephemera) -> None:
    status = running("status")
    assert status.code == 0
    assert "running" in status.out
    (service,) = running("status", "--output", "json").json["services"]
    assert service["state"] == "running"
    assert service["required"] is True
    assert service["latency_ms"] > 0
    (listed,) = running("ls", "--output", "json").json
    assert listed["stack"] == running.stack("web")
    assert listed["endpoints"] == [f"{service['endpoint'].removeprefix('http://')}"]
    assert f"export WEB_URL={service['endpoint']}" in running("outputs", "--format", "env").out
    assert f"WEB_URL={service['endpoint']}" in running("outputs", "--format", "dotenv").out.splitlines()
    assert running("outputs").json["services"]["web"]["endpoints"]["http"]["url"] == service["endpoint"]


def test_exec_logs_restart(running: Ephemera) -> None:
    done = running("exec", "web", "sh", "-c", "echo out; echo wrong >&2; exit 4")
    assert (done.out, done.err, done.code) == ("out\n", "wrong\n", 4)
    assert running("exec", "web", "--", "id", "-u").out == "65534\n"
    assert running("exec", "web", "echo", "-x", "--output", "json", "--").out == "-x --output json --\n"
    document = running("exec", "--output", "json", "web", "printf", "a\\377").json
    assert (document["output"], document["exit_code"]) == ("a\\xff", 0)
    missing = running("exec", "web", "nosuch")
    assert missing.code in (126, 127)
    assert missing.err.startswith("ephemera: cannot run 'nosuch' in 'web': ")
    _exec_streams(running)
    _exec_is_ended(running)
    _files_go_in_and_out(running)
    running("restart", "web")
    assert "GET / HTTP" in running("logs", "web").out
    everything = json.loads(running("logs", "--tail", "1", "--output", "json").out)
    assert everything[0]["service"] == "web"
    unknown = running("logs", "wep")
    assert unknown.code == 2
    assert "did you mean 'web'?" in unknown.err


def _exec_streams(running: Ephemera) -> None:
    data = bytes(range(256)) * 4096
    command = shlex.join(running.command("exec", "web"))

    def shell(script: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", script],
            cwd=running.project,
            env=running.variables,
            input=given,
            capture_output=True,
            timeout=60,
            check=False,
        )

    done = shell(f"{command} cat", data)
    assert (done.stdout == data, done.stderr, done.returncode) == (True, b"", 0)
    assert shell(f"yes | {command} head -n 1").stdout == b"y\n"
    closed = shell(f"{command} yes | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert (closed.stdout, closed.stderr) == (b"y\n141\n", b"")


def _files_go_in_and_out(running: Ephemera) -> None:
    folder = running.project / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "data").write_bytes(bytes(range(256)))
    assert running("cp", "files", "web:/tmp/in").code == 0  # a tmpfs, beneath a read-only root
    assert running("cp", "files", "web:/tmp/in").code == 0
    assert sorted(running("exec", "web", "find", "/tmp/in", "-type", "f").out.split()) == [  # noqa: S108 - in the container
        "/tmp/in/files/sub/data",  # noqa: S108
        "/tmp/in/sub/data",  # noqa: S108
    ]
    assert running("cp", "web:/tmp/in/sub", "back").code == 0
    assert (running.project / "back" / "data").read_bytes() == bytes(range(256))
    assert running("cp", "web:/etc/hostname", ".").code == 0
    assert (running.project / "hostname").read_text() == "web\n"
    refused = running("cp", "files/sub/data", "web:/etc/data")
    assert refused.code == 1
    assert refused.err.startswith("ephemera: cannot copy to /etc in service 'web': ")
    assert refused.err.count("\n") == 1


def _exec_is_ended(running: Ephemera) -> None:
    process = running.start("exec", "web", "sh", "-c", "echo started; sleep 347; echo never")
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n", "output comes before the command has ended"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "ephemera: interrupted: the command in 'web' was ended\n")
    client = docker.from_env()
    found = client.api.top(f"{running.stack('web')}-web")["Processes"]
    client.close()
    assert not [line for line in found if "347" in line[-1]]


def test_up_again_changes_nothing_and_starts_what_was_stopped(running: Ephemera) -> None:
    client = docker.from_env()
    container = client.containers.get(f"{running.stack('web')}-web")
    container.kill()
    container.wait()
    stopped = running("status")
    assert stopped.code == 3
    assert running("up", "web").code == 0
    assert client.containers.get(f"{running.stack('web')}-web").id == container.id
    assert running("status").code == 0
    client.close()


def test_a_profile_is_added_and_stays(running: Ephemera) -> None:
    assert running("up", "web", "--profile", "extra").code == 0
    assert [service["service"] for service in running("status", "--output", "json").json["services"]] == [
        "web",
        "shadow",
    ]
    assert running("up", "web", "--only", "web").code == 0
    assert [service["service"] for service in running("status", "--output", "json").json["services"]] == [
        "web",
        "shadow",
    ]


def test_hardened_as_read_back_from_the_engine(running: Ephemera) -> None:
    client = docker.from_env()
    document = client.api.inspect_container(f"{running.stack('web')}-web")
    client.close()
    host = document["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] == host["MemorySwap"] == 64 * 2**20
    assert host["NanoCpus"] == 10**9
    assert host["PidsLimit"] == 256
    assert host["Init"] is True
    assert host["LogConfig"]["Config"] == {"max-file": "3", "max-size": "10m"}
    assert document["Config"]["User"] == "65534"
    bindings = [binding["HostIp"] for ports in host["PortBindings"].values() for binding in ports]
    assert all(address.startswith("127.") for address in bindings)


def test_secrets_show_only_when_asked_for(ephemera: Ephemera) -> None:
    assert ephemera("up", "data").code == 0
    shown = ephemera("outputs", "--show-secrets").json["services"]["postgres"]["credentials"]["password"]
    assert len(shown) == 32
    hidden = [ephemera("outputs"), ephemera("status"), ephemera("logs"), ephemera("up", "data")]
    assert all(shown not in done.out + done.err for done in hidden)
    state = (
        ephemera.state / "ephemera" / "pulumi" / ".pulumi" / "stacks" / "shop" / f"{ephemera.stack('data')}.json"
    ).read_text()
    assert shown not in state
    assert ephemera("down").code == 0
    assert ephemera.left() == []


def test_nothing_is_published_when_so_asked(ephemera: Ephemera) -> None:
    done = ephemera("up", "data", "--expose", "none", "--output", "json")
    assert done.code == 0, done.err
    endpoint = done.json["services"]["postgres"]["endpoints"]["postgres"]
    assert (endpoint["url"], endpoint["internal_url"]) == (None, "postgresql://postgres:5432/shop")
    assert ephemera("status").code == 0
    assert ephemera("ls", "--output", "json").json[0]["endpoints"] == []
    refused = ephemera("up", "web", "--expose", "none")
    assert refused.code == 2, refused.err
    assert "service 'web' publishes nothing, and its probe asks from outside" in refused.err
    assert ephemera("down", ephemera.stack("data")).code == 0
    assert ephemera.left() == []


def test_free_ports_when_so_asked_stay_over_a_restart(ephemera: Ephemera) -> None:
    done = ephemera("up", "web", "--expose", "dynamic", "--output", "json")
    url = done.json["services"]["web"]["endpoints"]["http"]["url"]
    assert url.startswith("http://127.0.0.1:")
    assert ephemera("restart", "web").code == 0
    assert ephemera("up", "web", "--output", "json").json["services"]["web"]["endpoints"]["http"]["url"] == url
    assert ephemera("down").code == 0
    assert ephemera.left() == []
