"""Tables in Markdown and in the terminal.

A letter describes each column: ``lrr`` is a column of text and two of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

_RULES = {"l": "---", "r": "---:"}


def markdown(columns: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table.

    Args:
        columns: a letter for each column: ``l`` aligns it to the left, ``r`` to the right.
        rows: Markdown. `bench_core.texts` escapes other text.
    """
    for fields in (headings, [_RULES[letter] for letter in columns], *rows):
        yield f"| {' | '.join(fields)} |"


def terminal(
    columns: str, headings: Sequence[str], rows: Iterable[Sequence[RenderableType]] = (), *, title: str = ""
) -> Table:
    """A table without a frame, to which rows can be added.

    Args:
        columns: a letter for each column: ``l`` is left and folds long text, ``r`` is right and never breaks a line.
        rows: of markup; a `rich.text.Text` is shown as it is.
    """
    table = Table(
        title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim"
    )
    for letter, heading in zip(columns, headings, strict=True):
        if letter == "r":
            table.add_column(heading, justify="right", no_wrap=True)
        else:
            table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
