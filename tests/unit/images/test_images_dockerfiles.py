"""What is added to a Dockerfile, and what a build is told about the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ephemera.images import dockerfiles
from ephemera.images.dockerfiles import labelled, machine_arguments


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().endswith("_PROXY") or name.startswith(("PIP_", "MAVEN_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(dockerfiles, "_pip_configuration", dict)


def test_every_stage_is_labelled() -> None:
    text = "ARG BASE\nFROM ${BASE} AS build\nRUN echo \\\n  FROM here\n\nfrom build\nCMD x"
    assert labelled(text, "app") == (
        'ARG BASE\nFROM ${BASE} AS build\nLABEL ephemera.image="app"\nRUN echo \\\n  FROM here\n\n'
        'from build\nLABEL ephemera.image="app"\nCMD x\n'
    )


def test_a_comment_inside_an_instruction_does_not_end_it() -> None:
    text = "RUN a && \\\n# why\nFROM nowhere\nFROM x \\\n  AS y\nCMD z\n"
    assert labelled(text, "app").count("LABEL") == 1
    assert 'FROM x \\\n  AS y\nLABEL ephemera.image="app"\n' in labelled(text, "app")


def test_proxies_are_always_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    assert machine_arguments("FROM x") == {"HTTPS_PROXY": "http://proxy.example:3128", "no_proxy": "localhost"}


def test_an_index_is_passed_only_where_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerfiles, "_pip_configuration", lambda: {"index-url": "https://index.example/simple"})
    assert machine_arguments("FROM x") == {}
    declared = "FROM x\n  arg PIP_INDEX_URL=\n"
    assert machine_arguments(declared) == {"PIP_INDEX_URL": "https://index.example/simple"}
    monkeypatch.setenv("PIP_INDEX_URL", "https://other.example/simple")
    assert machine_arguments(declared) == {"PIP_INDEX_URL": "https://other.example/simple"}


def test_an_index_with_credentials_is_never_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://a.example/simple https://user:secret@b.example/simple")
    assert machine_arguments("FROM x\nARG PIP_EXTRA_INDEX_URL\n") == {}


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
    assert machine_arguments(_DECLARED) == {}
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(_MAVEN.format(of=of, url=url))
    assert machine_arguments(_DECLARED) == ({"MAVEN_REPOSITORY": url} if passed else {})
    assert machine_arguments("FROM x") == {}
    monkeypatch.setenv("MAVEN_REPOSITORY", "https://other.example")
    assert machine_arguments(_DECLARED) == {"MAVEN_REPOSITORY": "https://other.example"}


def test_settings_of_maven_that_cannot_be_read_say_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text("<settings>")
    assert machine_arguments(_DECLARED) == {}
