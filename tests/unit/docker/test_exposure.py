from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ephemera.docker import exposure as module
from ephemera.docker.address import Address
from ephemera.docker.exposure import Exposure, exposure, refuse_unreachable
from ephemera.model.errors import InputError
from ephemera.model.settings import Settings

_HERE = Address(url="unix:///nowhere/docker.sock")
_SSH = Address(url="ssh://build-box")
_NETWORK = Address(url="tcp://docker:2375")


class _Client:
    """An engine that says that of itself."""

    def __init__(self, **told: Any) -> None:
        self._told = told

    def info(self) -> dict[str, Any]:
        return self._told


_ROOTLESS = _Client(SecurityOptions=["name=seccomp,profile=default", "name=rootless"])
_DESKTOP = _Client(OperatingSystem="Docker Desktop")
_ROOTS = _Client(SecurityOptions=["name=seccomp,profile=default"])


def _exposure(address: Address, client: Any = _ROOTS, **given: Any) -> Exposure:
    return exposure(Settings(system="shop", branch="main", **given), address, client)


@pytest.mark.parametrize(
    ("address", "client", "mode"),
    [
        (_HERE, _ROOTS, "loopback"),
        (Address(url="tcp://127.0.0.1:2375"), _ROOTS, "loopback"),
        (Address(url="tcp://127.0.0.1:2375"), _ROOTLESS, "dynamic"),
        (Address(url="tcp://localhost:2375"), _DESKTOP, "dynamic"),
        (_SSH, _ROOTS, "loopback"),
        (_SSH, _ROOTLESS, "dynamic"),
    ],
)
def test_mode_where_none_is_asked_for(address: Address, client: Any, mode: str) -> None:
    found = _exposure(address, client)
    assert found.mode == mode
    assert (found.bind, found.host) == ("127.0.0.1", "127.0.0.1")
    assert found.forwarded is (address is _SSH)


def test_socket_of_an_ordinary_user_is_a_rootless_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "docker.sock"
    socket.touch()
    monkeypatch.setattr(module, "_owner", lambda path: 1000 if path == socket else 0)
    assert _exposure(Address(url=f"unix://{socket}")).mode == "dynamic"
    monkeypatch.setattr(module, "_owner", lambda _: 0)
    assert _exposure(Address(url=f"unix://{socket}")).mode == "loopback"


@pytest.mark.parametrize("mode", ["loopback", "dynamic", "fixed", "none"])
def test_what_is_asked_for_is_taken(mode: Any) -> None:
    assert _exposure(_HERE, _ROOTLESS, expose=mode).mode == mode


@pytest.mark.parametrize("mode", ["auto", "loopback", "dynamic", "fixed"])
def test_ports_on_the_loopback_of_a_machine_across_the_network_are_refused(mode: Any) -> None:
    with pytest.raises(InputError, match=r"tcp://docker:2375 publishes .* cannot be reached") as caught:
        refuse_unreachable(Settings(system="shop", branch="main", expose=mode), _NETWORK)
    for way_out in ("ssh://", "EPHEMERA_PUBLISH_HOST", "EPHEMERA_EXPOSE=none"):
        assert way_out in caught.value.remedy


def test_nothing_published_needs_no_way() -> None:
    assert _exposure(_NETWORK, expose="none").mode == "none"


@pytest.mark.parametrize(
    ("address", "bind", "host"),
    [
        (_NETWORK, "10.0.0.7", "10.0.0.7"),
        (_NETWORK, "0.0.0.0", "docker"),  # noqa: S104 - what is tested
        (_HERE, "0.0.0.0", "127.0.0.1"),  # noqa: S104
    ],
)
def test_address_to_publish_on_is_asked_for(address: Address, bind: str, host: str) -> None:
    assert _exposure(address, publish_host=bind) == Exposure(mode="dynamic", bind=bind, host=host)


@pytest.mark.parametrize("mode", ["loopback", "fixed"])
def test_address_to_publish_on_goes_with_no_other_mode(mode: Any) -> None:
    with pytest.raises(InputError, match="goes with expose: dynamic"):
        _exposure(_NETWORK, publish_host="10.0.0.7", expose=mode)


def test_low_ports_are_for_root_here_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert _exposure(_HERE).low_ports, "the engine binds them, and is root"
    assert not _exposure(_SSH).low_ports, "ssh binds them here, and is not"
    assert not _exposure(Address(url="tcp://localhost:1"), _ROOTLESS).low_ports
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert _exposure(_SSH).low_ports
