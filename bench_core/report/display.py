"""A display of progress: drawn over and over on a terminal, lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from rich import live
from rich.console import Console, RenderableType
from rich.text import Text

Self = TypeVar("Self", bound="Display")

EVERY = 0.25
"""The seconds between two updates on a terminal. No thread draws in between, since it would take time from a core that
measures."""

LINE_EVERY = 10.0
"""The seconds between two lines if the output is not a terminal."""


class Display:
    """A context in which progress is shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = live.Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._shown = -LINE_EVERY

    def __enter__(self: Self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def _is_due(self, seconds: float) -> bool:
        """Whether the last update was long enough ago, `seconds` after the beginning."""
        return seconds - self._shown >= (LINE_EVERY if self._live is None else EVERY)

    def _draw(self, picture: RenderableType) -> None:
        assert self._live is not None
        self._live.update(picture, refresh=True)

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)
