"""The environment's variables: defaults, refusals, and no key in a message."""

import pytest
from chassis.settings import SettingsError, load
from llm.settings import MODELS, Settings


def test_defaults() -> None:
    settings = load(Settings, {"LLM_DOUBLE_KEY": "", "UNRELATED": "x"})
    assert (settings.key, settings.models, settings.port, settings.log_level) == (None, MODELS, 8080, "info")


def test_models_are_a_comma_list() -> None:
    assert load(Settings, {"LLM_DOUBLE_MODELS": "one, two/three:7b,"}).models == ("one", "two/three:7b")


def test_the_key_is_not_shown() -> None:
    assert "sk-secret" not in repr(load(Settings, {"LLM_DOUBLE_KEY": "sk-secret"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("LLM_DOUBLE_MODELS", ","), ("LLM_DOUBLE_MODELS", "a b"), ("LLM_DOUBLE_PORT", "0"), ("LOG_LEVEL", "loud")],
)
def test_a_bad_variable_is_named_and_no_key_is_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        load(Settings, {"LLM_DOUBLE_KEY": "sk-secret", name: value})
    assert "sk-secret" not in str(caught.value)
