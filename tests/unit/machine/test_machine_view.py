"""Progress: plain lines for a file, lines that renew themselves for a terminal."""

from __future__ import annotations

import io

import pytest

from ephemera.machine import view


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_say_start_and_end() -> None:
    stream = io.StringIO()
    plain = view.view_for(stream)
    plain.started("engine")
    plain.said("engine", "compiling")
    plain.refresh()
    plain.finished("engine", None)
    first, last = stream.getvalue().splitlines()
    assert first == "engine: started"
    assert last.startswith("engine: done after ")


def test_a_long_step_is_heard_of_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "_PLAIN_EVERY_SECONDS", 0)
    stream = io.StringIO()
    plain = view.view_for(stream)
    plain.started("engine")
    plain.said("engine", "compiling")
    plain.refresh()
    assert stream.getvalue().splitlines()[1] == "engine: 0 s, compiling"


def test_a_terminal_shows_each_step_on_a_line_of_its_own() -> None:
    stream = Terminal()
    live = view.view_for(stream)
    live.started("engine")
    live.started("docker")
    live.said("engine", "compiling\x1b[31m")
    live.refresh()
    drawn = stream.getvalue().rpartition("\x1b[2A")[2]
    engine, docker = drawn.rstrip("\n").split("\n")
    assert engine.startswith("\r\x1b[2K… engine")
    assert engine.endswith("compiling [31m")
    assert "docker" in docker


def test_a_line_is_cut_to_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    stream = Terminal()
    live = view.view_for(stream)
    live.started("engine")
    live.said("engine", "x" * 200)
    live.refresh()
    assert len(stream.getvalue().rpartition("\x1b[2K")[2].rstrip("\n")) == 49


def test_failed_and_done_are_told_apart() -> None:
    stream = Terminal()
    live = view.view_for(stream)
    for name in ("engine", "docker"):
        live.started(name)
    live.finished("engine", None)
    live.finished("docker", "no network")
    engine, docker = stream.getvalue().rpartition("\x1b[2A")[2].rstrip("\n").split("\n")
    assert "✓ engine" in engine
    assert "✗ docker" in docker
