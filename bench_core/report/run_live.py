"""Shows the progress of a run: a live table on a terminal, a line for each round elsewhere."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from bench_core import tables
from bench_core.records.rounds import RoundsProgress
from bench_core.report.display import Display


class RunLive(Display):
    """A context in which `update` shows the progress of a run."""

    def update(self, state: RoundsProgress) -> None:
        """Show `state`, unless the last update was too recent."""
        if not self._is_due(state.seconds):
            return
        self._shown = state.seconds
        if self._live is None:
            known, precise, cells = (sum(counts[place] for counts in state.read.values()) for place in range(3))
            self._say(
                f"{state.seconds:.0f} s: round {state.round}, {known} of {cells} cells have a time, {precise} to "
                f"within 2 %, at most {state.left:.0f} s left"
            )
        else:
            self._draw(_table(state))


def _table(state: RoundsProgress) -> RenderableType:
    table = tables.terminal("lrrr", ["", "timed", "to within 2 %", "cells"])
    for family, counts in state.read.items():
        table.add_row(Text(family), *(str(count) for count in counts))
    return Group(
        Text(
            f"round {state.round}; {state.seconds:.0f} s, at most {state.left:.0f} s left. Each round "
            "times every cell that is not yet known to within 2 %."
        ),
        table,
    )
