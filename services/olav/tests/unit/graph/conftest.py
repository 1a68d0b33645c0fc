"""Fixtures: a model behind real HTTP, and settings that name it."""

from collections.abc import Iterator

import pytest
from chassis.settings import load
from doubles.model_server import ModelServer, model_server
from olav.settings import Settings
from tenacity import wait_none


@pytest.fixture(scope="session")
def running_model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def model(running_model: ModelServer) -> ModelServer:
    fresh = ModelServer()
    for name in ("label", "pieces", "faults", "failing", "asked", "gate"):
        setattr(running_model, name, getattr(fresh, name))
    return running_model


@pytest.fixture
def settings(model: ModelServer) -> Settings:
    return load(
        Settings,
        {"LLM_PROVIDER": "openai", "LLM_API_KEY": "key", "POSTGRES_PASSWORD": "password", "LLM_BASE_URL": model.url},
    )


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model itself asks for is waited for; our own pauses would only make tests slow."""
    monkeypatch.setattr("olav.model._PAUSES", wait_none())
