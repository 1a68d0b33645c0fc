from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import psutil
import pytest

from ephemera.docker import ports


@pytest.fixture
def listener() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[:2]


def test_holder_is_the_process_that_listens(listener: tuple[str, int]) -> None:
    assert ports.holder(*listener) == f"{psutil.Process().name()} (pid {os.getpid()})"
    assert not ports.is_free(*listener)


def test_port_is_free_on_every_other_loopback_address(listener: tuple[str, int]) -> None:
    _, port = listener
    assert ports.holder("127.83.250.250", port) is None
    assert ports.is_free("127.83.250.250", port)


def test_listener_on_all_addresses_holds_the_port_of_each() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - that is what is tested
        port = server.getsockname()[1]
        assert f"pid {os.getpid()}" in (ports.holder("127.83.250.250", port) or "")
        assert not ports.is_free("127.83.250.250", port)


def test_port_that_only_root_may_bind_is_free_while_nobody_listens(
    listener: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unprivileged(socket.socket):
        def bind(self, _address: object) -> None:
            raise PermissionError

    free = ports.free_port(listener[0])
    monkeypatch.setattr(socket, "socket", Unprivileged)
    assert ports.is_free(listener[0], free)
    assert not ports.is_free(*listener)


def test_free_port_can_be_bound() -> None:
    port = ports.free_port("127.83.250.250")
    assert ports.is_free("127.83.250.250", port)
    assert ports.holder("127.83.250.250", port) is None


def test_port_is_free_again_right_after_its_listener_closed(listener: tuple[str, int]) -> None:
    address, _ = listener
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((address, port)) as connection:
            server.accept()[0].close()
            connection.recv(1)
    assert ports.is_free(address, port)


def test_holder_that_may_not_be_looked_at_is_said_to_be_another_users() -> None:
    assert ports._describe(None) == "a process of another user"
    assert ports._describe(2**22 + 1) == f"pid {2**22 + 1}"


def test_udp_and_tcp_do_not_hold_each_others_ports(listener: tuple[str, int]) -> None:
    address, port = listener
    assert ports.is_free(address, port, "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((address, 0))
        port = bound.getsockname()[1]
        assert not ports.is_free(address, port, "udp")
        assert ports.is_free(address, port)
        assert f"pid {os.getpid()}" in (ports.holder(address, port, "udp") or "")
        assert ports.holder(address, port) is None
    assert ports.is_free(address, port, "udp")


def test_port_that_is_picked_is_the_same_while_it_may_be() -> None:
    address = "127.83.250.250"
    first = ports.pick(address, "shop-main/web.ws", ())
    assert ports.pick(address, "shop-main/web.ws", ()) == first
    with socket.create_server((address, first)):
        second = ports.pick(address, "shop-main/web.ws", ())
        assert second not in (first, ports.pick(address, "shop-main/web.ws", {second}))
    assert ports.pick(address, "shop-main/web.ws", (), "udp") == first
    assert ports.picked_first("shop-main/web.ws", [second, 8000, first]) == first


def test_port_is_found_also_when_all_of_those_that_are_picked_are_taken() -> None:
    assert ports.pick("127.83.250.250", "shop-main/web.ws", range(61_001, 65_536)) < 61_001
