"""The data of Redis: keys of every type, in every database, and functions; clients stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from ephemera.components.redis_data import DATA
from ephemera.model.data import DataError
from tests.data.server import ADDRESS, Service, running

_READY_SECONDS = 30.0
_PASSWORD = "s3cret"  # noqa: S105
_SERVE = "exec redis-server --requirepass $REDISCLI_AUTH --save ''"
_BINARY = bytes(range(256))


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    variables = {"REDISCLI_AUTH": _PASSWORD}
    with running("redis", 6379, environment=variables, command=["sh", "-c", _SERVE], tmpfs={"/data": ""}) as server:
        yield server.service("redis", {"password": _PASSWORD})


@pytest.fixture
def client(service: Service) -> Iterator[redis.Redis]:
    with _connect(service) as found:
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                found.flushall()
                break
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        found.function_flush()
        yield found


def _connect(service: Service, database: int = 0) -> redis.Redis:
    endpoint = service.outputs.endpoint()
    assert endpoint.port is not None
    return redis.Redis(host=ADDRESS, port=endpoint.port, password=_PASSWORD, db=database)


def _everything(service: Service) -> dict[Any, Any]:
    """What every key holds, whatever its type, and what is known of streams."""
    found: dict[Any, Any] = {}
    for number in range(16):
        with _connect(service, number) as database:
            for key in database.keys():  # noqa: SIM118 - no mapping
                # The dump of a set has no order of its own.
                value = database.smembers(key) if database.type(key) == b"set" else database.dump(key)
                found[number, key] = value, database.ttl(key) > 0
    with _connect(service) as database:
        found["functions"] = database.function_list()
    return found


def _fill(service: Service, client: redis.Redis) -> None:
    client.set(_BINARY, _BINARY)
    client.set("brief", "x", ex=1000)
    client.rpush("list", *range(1000))
    client.hset("hash", mapping={"a b": 'c"d', "e\nf": "'"})
    client.sadd("set", *range(600))
    client.zadd("scores", {"a": 1.5, "b": float("-inf")})
    client.xadd("stream", {"a": 1})
    client.xadd("stream", {"a": 2})
    client.xgroup_create("stream", "group", "0")
    client.xreadgroup("group", "consumer", {"stream": ">"}, count=1)
    client.pfadd("log", "x", "y")
    client.function_load("#!lua name=lib\nredis.register_function('f', function() return 'hi\\n\"' end)")
    with _connect(service, 9) as other:
        other.set("", "key without a name")


@pytest.mark.parametrize("filled", [True, False])
def test_everything_comes_back(service: Service, client: redis.Redis, filled: bool) -> None:
    if filled:
        _fill(service, client)
    before = _everything(service)
    remembered = DATA.remember(service)
    client.flushall()
    client.function_flush()
    client.set("list", "of another type now")
    client.function_load("#!lua name=more\nredis.register_function('g', function() return 1 end)")
    with _connect(service, 3) as other:
        other.set("more", 1)
    for _ in range(2):
        assert DATA.restore(service, remembered) == f"{len(before) - 1} keys put back"
        assert _everything(service) == before


def test_time_to_live_counts_from_when_it_was_remembered(service: Service, client: redis.Redis) -> None:
    client.set("brief", "x", px=700)
    remembered = DATA.remember(service)
    deadline = time.monotonic() + 5
    while client.exists("brief"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    DATA.restore(service, remembered)
    assert 0 < client.pttl("brief") <= 700


def test_clients_stay_and_see_all_of_it_or_nothing(service: Service, client: redis.Redis) -> None:
    client.mset({"a": 1, "b": 1})
    client.xadd("stream", {"a": 1})
    client.xgroup_create("stream", "group", "$")
    remembered = DATA.remember(service)
    seen: set[Any] = set()
    errors: list[Exception] = []
    ended = threading.Event()

    def read() -> None:
        with _connect(service) as reader:
            while not ended.is_set():
                seen.add(tuple(reader.mget("a", "b")))

    def wait() -> None:
        with _connect(service) as waiter:
            try:
                read_all.append(waiter.xreadgroup("group", "me", {"stream": ">"}, block=10_000))
            except redis.RedisError as error:
                errors.append(error)

    read_all: list[Any] = []
    threads = [threading.Thread(target=read), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    try:
        before = client.client_id()
        for _ in range(5):
            DATA.restore(service, remembered)
        client.xadd("stream", {"a": 2})
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert client.client_id() == before
    assert seen == {(b"1", b"1")}
    assert errors == []
    assert read_all[0][0][1][0][1] == {b"a": b"2"}


def test_users_and_configuration_are_left_alone(service: Service, client: redis.Redis) -> None:
    remembered = DATA.remember(service)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.acl_setuser("clerk", enabled=True, nopass=True)
    DATA.restore(service, remembered)
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert "clerk" in client.acl_users()
    service.exec(["redis-cli", "ACL", "DELUSER", "clerk"])


@pytest.mark.parametrize("remembered", ["FLUSHALL\nRESTORE a 0 nonsense", "FLUSHALL\nNONSENSE", "FLUSHALL\nSELECT x"])
def test_what_is_refused_is_told(service: Service, client: redis.Redis, remembered: str) -> None:
    with pytest.raises(DataError, match=r"the data of 'redis': (ERR|EXECABORT) "):
        DATA.restore(service, remembered)


def test_server_that_does_not_answer_is_told(service: Service, client: redis.Redis) -> None:
    outputs = service.outputs.model_copy(update={"credentials": {"password": SecretStr("wrong")}})
    elsewhere = Service(service.client, service.container, outputs, {"REDISCLI_AUTH": "wrong"})
    with pytest.raises(DataError, match="the data of 'redis': "):
        DATA.remember(elsewhere)
    with pytest.raises(DataError, match="the data of 'redis': "):
        DATA.restore(elsewhere, "FLUSHALL")
    assert _PASSWORD not in DATA.remember(service)
