"""Shows the progress of `bench-core model`: a line that is drawn over on a terminal, and lines elsewhere."""

from __future__ import annotations

from rich.text import Text

from bench_core.records.model import ModelProgress
from bench_core.report.display import Display


class ModelLive(Display):
    """A context in which `update` shows the progress."""

    def update(self, state: ModelProgress) -> None:
        """Show `state`, unless the last update was too recent."""
        if not self._is_due(state.seconds):
            return
        self._shown = state.seconds
        of = f"round {state.round}, " if state.round else ""
        left = f"about {state.left:.0f} s left" if state.left > 0 else "the budget is used up, two rounds are needed"
        text = f"{state.seconds:.0f} s: {of}{state.doing}" + (f"; {left}" if state.round else "")
        if self._live is None:
            self._say(text)
        else:
            self._draw(Text(text))
