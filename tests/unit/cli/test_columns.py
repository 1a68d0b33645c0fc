from __future__ import annotations

import io

import pytest
from rich.console import Console

from ephemera.cli.console import Screen, filtering
from ephemera.cli.tables import Columns
from ephemera.model.text import printable

_NAME = "shop-a-branch-with-a-very-long-name-0123456789"
_ADDRESS = "http://127.83.254.251:18080/with/a/path/of/its/own"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(width: int, *, terminal: bool = True) -> list[str]:
    table = Columns("stack", "owner", "age", "endpoint", dispensable=("owner", "age"))
    table.add_row(_NAME, "me@here", "5 min", _ADDRESS)
    table.add_row("b", "[red]you[/]", "1 min", "-")
    file = _Terminal() if terminal else io.StringIO()
    screen = Screen(out=Console(file=file, width=width, color_system=None, highlight=False))
    screen.table(table)
    return file.getvalue().splitlines()


def test_all_of_it_where_there_is_room() -> None:
    head, first, second = _shown(200)
    assert head.split() == ["stack", "owner", "age", "endpoint"]
    assert first.split("  ")[0] == _NAME
    assert first.endswith(_ADDRESS)
    assert second == f"b{' ' * (len(_NAME) + 1)}you      1 min  -"


@pytest.mark.parametrize(
    ("width", "titles"),
    [(112, ["stack", "age", "endpoint"]), (104, ["stack", "endpoint"]), (20, ["stack", "endpoint"])],
)
def test_less_important_columns_go_and_nothing_is_folded_or_cut(width: int, titles: list[str]) -> None:
    head, first, _ = _shown(width)
    assert head.split() == titles
    assert _NAME in first
    assert _ADDRESS in first


def test_in_a_pipe_nothing_goes() -> None:
    assert len(_shown(20, terminal=False)[1].split()) == 5


def test_cell_is_one_line() -> None:
    table = Columns("", "")
    table.add_row("a\nb", "c")
    file = io.StringIO()
    Screen(out=Console(file=file)).table(table)
    assert file.getvalue() == "a b  c\n"


_HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\x9b1md\u202ee"


def test_text_of_others_cannot_steer_a_terminal() -> None:
    table = Columns("x")
    table.add_row(_HOSTILE)
    file = _Terminal()
    screen = Screen(out=filtering(Console(file=file, force_terminal=True, color_system=None)))
    screen.table(table)
    screen.out.print(_HOSTILE, soft_wrap=True, markup=False)
    shown = file.getvalue()
    assert printable(shown) == shown
    assert shown.startswith("x\nabcde\n")
    assert shown.count("cde\n") == 2


def test_elsewhere_it_is_as_it_was() -> None:
    file = io.StringIO()
    text = "\x1b]0;title\x1b\\a\x1b[2Jc\x9b1md\u202ee"
    Screen(out=filtering(Console(file=file, color_system=None))).out.print(text, soft_wrap=True, markup=False)
    assert file.getvalue() == f"{text}\n"
