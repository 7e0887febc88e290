"""Shows the progress of a gate: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bench_core import units
from bench_core.records.gate import GateSettings, Progress
from bench_core.records.run import Interval
from bench_core.report.display import Display
from bench_core.report.gate import effect


class Live(Display):
    """A context in which `update` shows the progress of the gate.

    Args:
        families: the families of the measured cells.
        total: the number of cells.
    """

    def __init__(self, console: Console, families: Sequence[str], settings: GateSettings, total: int) -> None:
        super().__init__(console)
        self._total = total
        self._title = (
            f"{units.plural(total, 'cell')} of {', '.join(families)}: noise floor "
            f"{units.percent(settings.noise_floor)}, limit {units.percent(settings.limit)}, "
            f"budget {settings.budget:g} s, seed {settings.seed}"
        )
        self._quarters = 0

    def __enter__(self) -> Live:
        if self._live is None:
            self._say(self._title)
        return super().__enter__()

    def update(self, state: Progress) -> None:
        """Show `state`, unless the last update was too recent."""
        due = self._is_due(state.seconds)
        quarters = 4 * state.decided // max(1, self._total)
        if not due and quarters == self._quarters:
            return
        self._shown, self._quarters = state.seconds, quarters
        if self._live is None:
            self._say(self._line(state))
        else:
            self._draw(self._table(state))

    def _line(self, state: Progress) -> str:
        cells = f"{state.decided} of {units.plural(self._total, 'cell')}"
        parts = [f"{state.seconds:.0f} s: {cells} decided", units.plural(state.pairs, "pair")]
        parts += [f"{state.errors} failed"] if state.errors else []
        return f"{', '.join(parts)}, {_outlook(state)}"

    def _table(self, state: Progress) -> RenderableType:
        bar = Table.grid(expand=True)  # outside a table, a bar has no line end
        bar.add_row(ProgressBar(total=max(1, self._total), completed=state.decided))
        pairs = f"{units.plural(state.pairs, 'pair')} of {units.plural(state.parents, 'parent')}"
        counts = (
            f"{state.decided} decided, {state.open} open, {state.errors} failed; {pairs}; {units.time(state.seconds)}, "
            f"{_outlook(state)}"
        )
        parts: list[RenderableType] = [_cut(self._title, "bold"), bar, Text(counts)]
        if state.worst:
            parts += [_cut("Open, largest change first", "dim"), _slowest(state)]
        parts += [_cut(f"lane {number}: {what}", "dim") for number, what in enumerate(state.lanes, 1)]
        return Group(*parts)


def _outlook(state: Progress) -> str:
    """How long it will take: at the pace of the pairs so far, once that is known, and at most."""
    if state.needed is None or not state.left:
        return f"at most {state.left:.0f} s left"
    if state.needed <= state.left:
        return f"{state.needed:.0f} to {state.left:.0f} s left"
    return (
        f"{state.left:.0f} s left, too few to decide all cells: --budget {state.seconds + state.needed:.0f}s or more, "
        "or --bench for fewer cells"
    )


def _slowest(state: Progress) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
    for name, middle, low, high in state.worst:
        table.add_row(Text(name), effect(Interval(low, middle, high, 0.0)))
    return table


def _cut(text: str, style: str) -> Text:
    """One line, which is cut if the terminal is narrow: a table whose height changes flickers."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
