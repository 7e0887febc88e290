"""Shows the progress of `bench-core model`: a line that is drawn over on a terminal, and lines elsewhere."""

from __future__ import annotations

from rich.text import Text

from bench_core.records.model import ModelProgress
from bench_core.report.display import Display


class ModelLive(Display):
    """A context in which `update` shows the progress."""

    def update(self, state: ModelProgress) -> None:
        """Show `state`. Of the ways that a round goes, those that follow the last update too soon are left out; any
        other step may take long, and is shown."""
        if state.round and not self._is_due(state.seconds):
            return
        self._shown = state.seconds
        text = f"{state.seconds:.0f} s: {state.doing}"
        if state.round:
            over = state.needed > state.left
            left = f"two rounds need about {state.needed:.0f} s more" if over else f"about {state.left:.0f} s left"
            text = f"{state.seconds:.0f} s: round {state.round}, {state.doing}; {left}"
        if self._live is None:
            self._say(text)
        else:
            self._draw(Text(text))
