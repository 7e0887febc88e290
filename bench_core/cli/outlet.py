"""The edge of the terminal: what is printed goes through one of these classes, so that it is text and nothing else."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Span, Text

from bench_core import texts

KEPT = 40
"""The characters of the current line that are kept to recognize a command that is written in several pieces."""


class Outlet(io.TextIOBase):
    """A stream in which no line is a command to a CI service, whoever writes to it.

    Args:
        inner: where the text goes.
        controls: whether control characters are passed on, since they are our own, and not shown as escapes.
        padded: whether blanks before the end of a line are passed on: a table fills its lines with them.
    """

    def __init__(self, inner: TextIO, *, controls: bool = False, padded: bool = True) -> None:
        self.inner = inner
        self._controls = controls
        self._padded = padded
        self._line = ""

    def write(self, text: str) -> int:
        shown = text if self._controls else "\n".join(texts.visible(line.expandtabs()) for line in text.split("\n"))
        if not self._padded:
            *whole, last = shown.split("\n")
            shown = "\n".join([*(line.rstrip(" ") for line in whole), last])
        self.inner.write(texts.harmless(shown, self._line))
        _, end, last = shown.rpartition("\n")
        line = last if end else self._line + last
        line = f" {line.lstrip()}" if line[:1].isspace() else line
        self._line = line if len(line) <= KEPT else f"-{line[-KEPT:]}"
        return len(text)

    def flush(self) -> None:
        self.inner.flush()

    def isatty(self) -> bool:
        return self.inner.isatty()

    def fileno(self) -> int:
        return self.inner.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.inner.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.inner.errors

    @property
    def buffer(self) -> Any:
        return self.inner.buffer


@contextmanager
def outlets() -> Iterator[None]:
    """Inside the block, standard output and error are an `Outlet`: also for what a suite prints as it is imported, and
    for warnings, which quote its lines."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (Outlet(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class Terminal(Console):
    """A console that shows texts as they are: without markup or emoji, and with control characters and line ends as
    escapes. Several lines are several renderables. In a file or a pipe, no line ends in blanks."""

    def __init__(self, **options: Any) -> None:
        stream: Any = sys.stdout
        inner = stream.inner if isinstance(stream, Outlet) else stream
        file: Any = Outlet(inner, controls=True, padded=inner.isatty())
        super().__init__(highlight=False, markup=False, emoji=False, file=file, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        if isinstance(renderable, str):
            renderable = Text(renderable)
        return super().render(_shown(renderable) if isinstance(renderable, Text) else renderable, options)


def _shown(text: Text) -> Text:
    """The text with escapes (see `bench_core.texts.line`), and with the styles where they were."""
    if text.plain.isprintable() and len(text.plain) <= texts.LONGEST:
        return text
    pieces = map(texts.visible, text.plain)
    places = list(accumulate(map(len, pieces), initial=0))
    found = text.blank_copy(texts.line(text.plain))
    found.spans = [Span(places[span.start], places[min(span.end, len(text.plain))], span.style) for span in text.spans]
    return found
