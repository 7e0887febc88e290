"""Shows the progress of a run: a live table on a terminal, a line for each round elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich import live
from rich.console import Console, Group, RenderableType
from rich.text import Text

from bench_core import tables
from bench_core.records.rounds import Progress
from bench_core.report.gate_live import EVERY, LINE_EVERY


class Live:
    """A context in which `update` shows the progress."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = live.Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._shown = -LINE_EVERY

    def __enter__(self) -> Live:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def update(self, state: Progress) -> None:
        """Show `state`, unless the last update was too recent."""
        if state.seconds - self._shown < (LINE_EVERY if self._live is None else EVERY):
            return
        self._shown = state.seconds
        if self._live is None:
            known, precise, cells = (sum(counts[place] for counts in state.read.values()) for place in range(3))
            self._console.print(
                Text(
                    f"{state.seconds:.0f} s: round {state.round}, {known} of {cells} cells have a time, {precise} to "
                    f"within 2 %, at most {state.left:.0f} s left"
                ),
                soft_wrap=True,
            )
        else:
            self._live.update(_table(state), refresh=True)


def _table(state: Progress) -> RenderableType:
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
