from __future__ import annotations

import pytest
from docker.errors import APIError

from ephemera.home import identity
from ephemera.lifecycle import removal
from ephemera.lifecycle.removal import Found
from ephemera.model import labels
from ephemera.model.errors import EngineError
from tests.unit.doubles import FakeClient, marks, refusal


@pytest.fixture
def engine(client: FakeClient) -> FakeClient:
    """An engine with our stack's objects, a second stack of ours, and all kinds of foreign ones."""
    ours, foreign = identity.backend_id(), "another"
    for stack, backend in (("shop-a", ours), ("shop-a-b", ours), ("shop-a", foreign)):
        prefix = stack if backend == ours else f"foreign-{stack}"
        client.api.add("container", f"{prefix}-db", marks(stack, backend, "db"), State="exited")
        client.api.add("container", f"{prefix}-api", marks(stack, backend, "api"))
        client.api.add("network", prefix, marks(stack, backend))
        client.api.add("volume", f"{prefix}-data", marks(stack, backend))
    client.api.add("container", "somebodys", {})
    client.api.add("container", "run-by-hand", labels.of_image("api", ours))  # as it inherits them
    client.api.listed_networks.append({"Name": "bridge", "Labels": None})
    client.api.listed_volumes.append({"Name": "theirs", "Labels": None})
    return client


_OURS = {
    Found(kind="container", name="shop-a-db", stack="shop-a"),
    Found(kind="container", name="shop-a-api", stack="shop-a"),
    Found(kind="network", name="shop-a", stack="shop-a"),
    Found(kind="volume", name="shop-a-data", stack="shop-a"),
}


def test_objects_of_a_stack_are_found_stopped_ones_too(engine: FakeClient) -> None:
    assert set(removal.find(engine, "shop-a")) == _OURS


def test_without_a_stack_all_of_this_backend_are_found(engine: FakeClient) -> None:
    found = removal.find(engine)
    assert {item.stack for item in found} == {"shop-a", "shop-a-b"}
    assert len(found) == 8


def test_another_backend_is_only_looked_at_when_it_is_asked_for(engine: FakeClient) -> None:
    assert {item.name for item in removal.find(engine, backend="another")} == {
        "foreign-shop-a-db",
        "foreign-shop-a-api",
        "foreign-shop-a",
        "foreign-shop-a-data",
    }


def test_remove_takes_all_of_the_stack_and_nothing_else(engine: FakeClient) -> None:
    assert set(removal.remove(engine, "shop-a")) == _OURS
    assert set(engine.api.removed) == {item.name for item in _OURS}
    assert removal.find(engine, "shop-a") == []
    assert len(removal.find(engine, "shop-a-b")) == 4


def test_containers_go_before_what_they_hold(engine: FakeClient) -> None:
    removal.remove(engine, "shop-a")
    assert set(engine.api.removed[:2]) == {"shop-a-db", "shop-a-api"}


def test_it_is_over_after_two_empty_passes(client: FakeClient) -> None:
    assert removal.remove(client, "shop-a") == []
    assert client.api.calls == 2


def test_object_that_appears_between_two_passes_is_taken(engine: FakeClient) -> None:
    """A killed engine's request may still be at work when the first pass looks."""
    original = engine.api.containers

    def containers(**arguments: object) -> list[dict[str, object]]:
        if engine.api.calls == 1:
            engine.api.add("container", "shop-a-late", marks("shop-a", identity.backend_id(), "late"))
        return original(**arguments)  # type: ignore[arg-type]

    engine.api.containers = containers  # type: ignore[method-assign, assignment]
    found = removal.remove(engine, "shop-a")
    assert "shop-a-late" in {item.name for item in found}
    assert "shop-a-late" in engine.api.removed


@pytest.mark.parametrize("status", [409, 403], ids=["in progress", "in use, as Docker 20.10 says it"])
def test_conflict_is_tried_again_and_told_once(engine: FakeClient, status: int) -> None:
    engine.api.refusals = {"shop-a": [refusal(status), refusal(status)], "shop-a-db": [refusal(status)]}
    found = removal.remove(engine, "shop-a")
    assert len(found) == len(set(found)) == 4
    assert removal.find(engine, "shop-a") == []


def test_object_that_will_not_go_is_told_of(engine: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "_DEADLINE_SECONDS", 0.1)
    engine.api.refusals = {"shop-a": [refusal(409) for _ in range(100_000)]}
    with pytest.raises(EngineError, match="network shop-a of shop-a cannot be removed"):
        removal.remove(engine, "shop-a")


def test_any_other_refusal_is_raised(engine: FakeClient) -> None:
    engine.api.refusals = {"shop-a-data": [refusal(500)]}
    with pytest.raises(APIError):
        removal.remove(engine, "shop-a")
