"""The health document: what is down, what that means, and that slow answers do not pile up."""

import asyncio

import pytest
from olav.health import Prober


async def up() -> None:
    await asyncio.sleep(0)


async def down() -> None:
    raise ConnectionRefusedError("postgresql://olav:hunter2@db refused")


async def test_everything_is_up() -> None:
    health = await Prober("production", {"postgres": up, "redis": up}).health()
    assert (health.status, health.environment) == ("healthy", "production")
    assert list(health.dependencies) == ["postgres", "redis"]
    for dependency in health.dependencies.values():
        assert (dependency.status, dependency.required, dependency.error) == ("up", True, None)
        assert dependency.latency_ms is not None


@pytest.mark.parametrize("name", ["postgres", "redis", "opensearch"])
async def test_one_that_is_required_is_down(name: str) -> None:
    health = await Prober("development", {"postgres": up, "redis": up, "llm": up, name: down}).health()
    assert health.status == "unhealthy"
    assert health.dependencies[name].status == "down"
    assert health.dependencies[name].latency_ms is None
    assert [n for n, d in health.dependencies.items() if d.status == "down"] == [name]


async def test_the_model_is_not_required() -> None:
    health = await Prober("development", {"postgres": up, "llm": down}).health()
    assert health.status == "degraded"
    assert not health.dependencies["llm"].required


async def test_what_is_shown_to_anybody_names_the_kind_of_error_alone() -> None:
    health = await Prober("development", {"postgres": down}).health()
    assert health.dependencies["postgres"].error == "ConnectionRefusedError"


async def test_one_that_is_silent_is_asked_once_however_many_ask() -> None:
    asked = 0
    answer = asyncio.Event()

    async def silent() -> None:
        nonlocal asked
        asked += 1
        await answer.wait()

    prober = Prober("development", {"llm": silent})
    for health in await asyncio.gather(*(prober.health() for _ in range(5))):
        assert health.dependencies["llm"].error == "no answer in 0.5 s"
    assert (await prober.health()).status == "degraded"
    assert asked == 1
    answer.set()
    assert (await prober.health()).status == "healthy"
    assert (await prober.health()).status == "healthy"
    assert asked == 2
