"""A table whose cells are neither folded nor cut, so that what stands in them can be copied."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ephemera.contract.text import printable

_GAP = 2


class Columns:
    """Rows of cells in rich's markup. Where a terminal is too narrow, columns go, the least important first; if what
    is left is still wider, its lines are longer than the terminal's. Elsewhere than on a terminal nothing goes.

    ``titles``: none for a table without a head. ``dispensable``: titles of columns that may go, the first one first.
    """

    def __init__(self, *titles: str, dispensable: Sequence[str] = ()) -> None:
        self._titles = titles
        self._dispensable = dispensable
        self._rows: list[tuple[str, ...]] = []

    def add_row(self, *cells: str) -> None:
        """Add a row; a cell is one line."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        head = [[Text(title, style="bold") for title in self._titles]] if any(self._titles) else []
        terminal = console.file.isatty()
        rows = [*head, *([_cell(cell, filtered=terminal) for cell in row] for row in self._rows)]
        widths = [max(cell_len(cell.plain) for cell in column) for column in zip(*rows, strict=True)]
        shown = self._that_fit(widths, console.width if terminal else None)
        for row in rows:
            line = Text(no_wrap=True, overflow="ignore")
            for at in shown:
                line.append_text(row[at])
                if at != shown[-1]:
                    line.append(" " * (widths[at] - cell_len(row[at].plain) + _GAP))
            line.rstrip()
            yield line

    def _that_fit(self, widths: Sequence[int], room: int | None) -> list[int]:
        shown = list(range(len(widths)))
        for title in self._dispensable:
            if room is None or sum(widths[at] + _GAP for at in shown) - _GAP <= room:
                break
            shown.remove(self._titles.index(title))
        return shown


def _cell(markup: str, *, filtered: bool) -> Text:
    # Before rich, which takes some characters out of a control sequence and leaves the rest of it to be seen.
    return Text.from_markup(" ".join((printable(markup) if filtered else markup).split("\n")), emoji=False)
