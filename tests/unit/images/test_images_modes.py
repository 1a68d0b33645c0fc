"""Registry or local: asked for, known, or found out once."""

from __future__ import annotations

import json

import pytest

from ephemera.contract.errors import InputError
from ephemera.home.paths import state_dir
from ephemera.images import mode, registries


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "_answers", lambda: pytest.fail("asked"))
    monkeypatch.setenv("EPHEMERA_IMAGES", "registry")
    assert mode() == "registry"
    assert not (state_dir() / "machine.json").exists()


def test_it_is_found_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False])
    monkeypatch.setattr(registries, "_answers", lambda: next(answers))
    monkeypatch.setenv("EPHEMERA_IMAGES", "auto")
    assert [mode(), mode()] == ["local", "local"]


def test_other_facts_of_the_machine_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (state_dir() / "machine.json").write_text('{"other": 1}')
    monkeypatch.setattr(registries, "_answers", lambda: False)
    mode()
    assert json.loads((state_dir() / "machine.json").read_text()) == {"other": 1, "images": "local", "schema": 1}


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"images": "newest"}', '{"images": ["local"]}'])
def test_a_damaged_record_is_made_good(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (state_dir() / "machine.json").write_text(content)
    monkeypatch.setattr(registries, "_answers", lambda: True)
    assert mode() == "registry"


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPHEMERA_IMAGES", "remote")
    with pytest.raises(InputError, match="EPHEMERA_IMAGES is 'remote': use registry, local or auto"):
        mode()
