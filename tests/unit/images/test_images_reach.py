"""What a build is told about the network of this machine."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from ephemera.docker.address import damaged_config
from ephemera.images import reach
from ephemera.model.errors import InputError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("PIP_", "MAVEN_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(reach, "_pip_settings", dict)


def test_proxies_are_always_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    assert reach.arguments("FROM x") == {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost"}


def test_an_index_is_passed_only_where_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_pip_settings", lambda: {"PIP_INDEX_URL": "https://index.example/simple"})
    assert reach.arguments("FROM x") == {}
    declared = "FROM x\n  arg PIP_INDEX_URL=\n"
    assert reach.arguments(declared) == {"PIP_INDEX_URL": "https://index.example/simple"}
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/simple")
    assert reach.arguments(declared) == {"PIP_INDEX_URL": "https://other.example/simple"}


def test_an_index_with_credentials_is_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example/simple https://user:secret@b.example/simple")
    assert reach.arguments("FROM x\nARG PIP_EXTRA_INDEX_URL\n") == {}


_DECLARED = "FROM x\nARG MAVEN_REPOSITORY=https://repo1.maven.org/maven2\n"
_MAVEN = """<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors>
  <mirror><mirrorOf>others</mirrorOf><url>https://others.example</url></mirror>
  <mirror><mirrorOf>{of}</mirrorOf><url> {url} </url></mirror>
</mirrors></settings>"""


@pytest.mark.parametrize(
    ("of", "url", "passed"),
    [
        ("*", "https://maven.example/all", True),
        ("snapshots, central", "https://maven.example/central", True),
        ("*,!central", "https://maven.example/rest", False),
        ("central", "https://user:secret@maven.example", False),
    ],
)
def test_mavens_mirror_is_passed_where_it_is_declared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, of: str, url: str, passed: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reach.arguments(_DECLARED) == {}
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(_MAVEN.format(of=of, url=url))
    assert reach.arguments(_DECLARED) == ({"MAVEN_REPOSITORY": url} if passed else {})
    assert reach.arguments("FROM x") == {}
    monkeypatch.setenv("MAVEN_REPOSITORY", "https://other.example")
    assert reach.arguments(_DECLARED) == {"MAVEN_REPOSITORY": "https://other.example"}


def test_settings_of_maven_that_cannot_be_read_say_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text("<settings>")
    assert reach.arguments(_DECLARED) == {}


def test_proxies_of_dockers_configuration_are_passed_unless_the_environment_has_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxies = {"default": {"httpsProxy": "http://proxy.example:3128", "noProxy": "*.example"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert reach.arguments("FROM x") == {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "https_proxy": "http://proxy.example:3128",
        "NO_PROXY": "localhost",
        "no_proxy": "*.example",
    }


def test_user_without_a_home_has_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", "relative")
    assert reach.arguments("FROM x\nARG MAVEN_REPOSITORY\n") == {}
    assert damaged_config() is None


@pytest.mark.parametrize("proxies", [7, [], {"default": "x"}, {"default": {"httpProxy": 7}}])
def test_proxies_of_another_kind_say_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, proxies: object) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert reach.arguments("FROM x") == {}


def test_builds_run_in_the_engines_own_network_unless_another_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reach.network() == "bridge"
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "host")
    assert reach.network() == "host"
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "loopback")
    with pytest.raises(InputError, match="EPHEMERA_BUILD_NETWORK is 'loopback': use bridge, host, none"):
        reach.network()


@pytest.mark.parametrize(
    ("instruction", "refused"),
    [
        ("ADD http://127.0.0.1:8000/x /x", True),
        ("add --chown=1 HTTP://user@LOCALHOST/x /x", True),
        ('ADD ["http://[::1]:1/x", "/x"]', True),
        ("ARG HOST=localhost\nADD http://${HOST}:$PORT/x /x", True),
        ("ADD http://localhost/$UNKNOWN /x", True),
        ("ADD https://files.example/127.0.0.1 /x", False),
        ("ADD localhost /x", False),
        ("RUN curl http://127.0.0.1/", False),
    ],
)
def test_add_from_the_engines_loopback_is_refused_unless_builds_are_in_its_network(
    monkeypatch: pytest.MonkeyPatch, instruction: str, refused: bool
) -> None:
    text, given = f"FROM x\nARG PORT\n{instruction}\n", {"PORT": "80"}
    with (
        pytest.raises(InputError, match=r"loopback .*COPY the file, or set EPHEMERA_BUILD_NETWORK=host")
        if refused
        else nullcontext()
    ):
        reach.refuse_loopback(text, given)
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "host")
    reach.refuse_loopback(text, given)


@pytest.mark.parametrize(
    ("output", "given", "told"),
    [
        (["Could not connect to 127.0.0.1:3142"], {}, True),
        (["Failed to connect to localhost port 8081"], {}, True),
        (["exit 1"], {"PIP_INDEX_URL": "http://[::1]:3141/root"}, True),
        (["exit 1"], {"HTTPS_PROXY": "http://127.1.2.3:1"}, True),
        (["exit 1"], {"no_proxy": "localhost,127.0.0.1"}, False),
        (["no such host: mylocalhost.example"], {"HTTP_PROXY": "http://proxy.example"}, False),
    ],
)
def test_failed_build_that_needs_loopback_is_told_how_to_reach_it(
    monkeypatch: pytest.MonkeyPatch, output: list[str], given: dict[str, str], told: bool
) -> None:
    assert ("EPHEMERA_BUILD_NETWORK=host" in reach.remedy(output, given)) == told
    monkeypatch.setenv("EPHEMERA_BUILD_NETWORK", "host")
    assert reach.remedy(output, given) == ""
