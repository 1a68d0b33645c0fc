from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ephemera.docker import address as module
from ephemera.docker.address import DEFAULT_HOST, Address, Tls, configured
from ephemera.model.errors import MachineError


@pytest.fixture(autouse=True)
def _runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def _docker(**document: object) -> Path:
    folder = Path(os.environ["DOCKER_CONFIG"])
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def _context(name: str, host: str, *files: str, **endpoint: Any) -> Path:
    """A context as `docker context create` writes it; where its certificates are."""
    folder = Path(os.environ["DOCKER_CONFIG"]) / "contexts"
    identifier = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "meta" / identifier
    meta.mkdir(parents=True)
    document = {"Name": name, "Endpoints": {"docker": {"Host": host, **endpoint}}}
    (meta / "meta.json").write_text(json.dumps(document))
    material = folder / "tls" / identifier / "docker"
    if files:
        material.mkdir(parents=True)
    for file in files:
        (material / file).write_text("")
    return material


def test_local_socket_without_any_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured() == Address(url="unix:///var/run/docker.sock")
    assert configured().reach == "here"


def test_rootless_engine_is_found_where_the_systems_is_none_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEFAULT_HOST", f"unix://{tmp_path}/system.sock")
    assert configured().url == f"unix://{tmp_path}/system.sock"
    (tmp_path / "docker.sock").touch()
    assert configured().url == f"unix://{tmp_path}/docker.sock"
    (tmp_path / "system.sock").touch()
    assert configured().url == f"unix://{tmp_path}/system.sock"


def test_variable_wins_over_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    _docker(currentContext="far")
    _context("far", "tcp://far:2376")
    monkeypatch.setenv("DOCKER_HOST", "tcp://near:2375")
    assert configured().url == "tcp://near:2375"


def test_current_context_of_the_docker_configuration() -> None:
    _docker(currentContext="far")
    _context("other", "tcp://other:2376")
    _context("far", "tcp://far:2376")
    assert configured() == Address(url="tcp://far:2376")
    assert configured().reach == "network"
    assert configured().hostname == "far"


def test_context_variable_wins_over_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    _docker(currentContext="far")
    _context("rootless", "unix:///run/user/1000/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "rootless")
    assert configured().url == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert configured().url == DEFAULT_HOST


def test_context_that_is_not_there_is_refused() -> None:
    _docker(currentContext="gone")
    with pytest.raises(MachineError, match="Docker context 'gone' is not there"):
        configured()


def test_configuration_that_cannot_be_read_counts_as_none() -> None:
    (_docker() / "config.json").write_text("{")
    assert configured().url == DEFAULT_HOST


def test_certificates_of_a_context() -> None:
    _docker(currentContext="far")
    folder = _context("far", "tcp://far:2376", "ca.pem", "cert.pem", "key.pem")
    files = {key: str(folder / f"{key}.pem") for key in ("ca", "cert", "key")}
    assert configured().tls == Tls(**files, verify=True)


def test_context_that_skips_verification() -> None:
    _docker(currentContext="far")
    _context("far", "tcp://far:2376", SkipTLSVerify=True)
    assert configured().tls == Tls(ca=None, cert=None, key=None, verify=False)


@pytest.mark.parametrize(("verify", "expected"), [("1", True), ("", False)])
def test_certificates_of_the_variables(
    verify: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    monkeypatch.setenv("DOCKER_HOST", "tcp://far:2376")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", verify)
    tls = configured().tls
    assert tls is not None
    assert tls.verify is expected
    assert tls.folder == str(tmp_path)


def test_certificates_are_dockers_own_unless_a_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _docker()
    (folder / "ca.pem").touch()
    monkeypatch.setenv("DOCKER_HOST", "tcp://far:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert configured().tls == Tls(ca=str(folder / "ca.pem"), cert=None, key=None, verify=True)


@pytest.mark.parametrize(("there", "lacking"), [((), "ca.pem, cert.pem, key.pem"), (("ca.pem", "cert.pem"), "key.pem")])
def test_certificates_that_are_not_there_are_named(
    there: tuple[str, ...], lacking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in there:
        (tmp_path / name).touch()
    monkeypatch.setenv("DOCKER_HOST", "tcp://far:2376")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(MachineError, match=f"holds no {lacking}"):
        configured()


def test_a_socket_has_no_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert configured().tls is None


@pytest.mark.parametrize(
    ("url", "reach"),
    [
        ("unix:///var/run/docker.sock", "here"),
        ("tcp://127.0.0.1:2375", "here"),
        ("tcp://127.9.9.9:2375", "here"),
        ("tcp://[::1]:2375", "here"),
        ("tcp://localhost:2375", "here"),
        ("tcp://198.51.100.7:2376", "network"),
        ("tcp://docker:2375", "network"),
        ("ssh://me@127.0.0.1:22", "ssh"),
        ("ssh://build-box", "ssh"),
    ],
)
def test_what_this_machine_shares_with_the_engines(url: str, reach: str) -> None:
    assert Address(url=url).reach == reach


@pytest.mark.parametrize("endpoints", [[], None, {"docker": []}, {"docker": {"Host": 3}}, {}])
def test_damaged_context_is_one_clear_error(endpoints: Any) -> None:
    _context("far", "tcp://far:2375")
    (meta,) = _docker(currentContext="far").rglob("meta.json")
    meta.write_text(json.dumps({"Name": "far", "Endpoints": endpoints}))
    with pytest.raises(MachineError, match=r"meta\.json is damaged: it names no Docker engine"):
        configured()


def test_fifo_is_taken_for_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    path = module.client_config_file()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    meta = path.parent / "contexts/meta/x/meta.json"
    meta.parent.mkdir(parents=True)
    os.mkfifo(meta)
    assert module.client_config() == {}
    assert module.damaged_config() is None
    assert configured().url.startswith("unix://")
    monkeypatch.setenv("DOCKER_CONTEXT", "work")
    with pytest.raises(MachineError, match="'work' is not there"):
        configured()


def test_configuration_that_would_never_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(MachineError, match=f"{path} is not a regular file: move it away"):
            module.refuse_irregular_config(str(path))
    for harmless in (None, os.devnull, str(tmp_path), str(tmp_path / "nowhere")):
        module.refuse_irregular_config(harmless)
