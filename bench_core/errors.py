"""The errors that a user can cause. Only the command line exits."""

from __future__ import annotations

import difflib
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from bench_core import texts

BUG = 70
"""The exit code of every command after an error that is a bug of ours: EX_SOFTWARE of sysexits.h. Python's own would be
1, which means a regression."""

READER_GONE = 141
"""The exit code after the reader of our output has gone, as in ``bench-core list | head``: what a shell reports for
SIGPIPE."""


class BenchCoreError(Exception):
    """A message for a user: what was found, what is allowed, and how to fix it."""

    exit_code = 2


class InterruptedBeforeError(BenchCoreError):
    """Ctrl-C came before there was anything to keep."""

    exit_code = 130


def require_writable(folder: Path) -> None:
    """Make `folder`, and check that it can be written, before minutes of measuring.

    Raises:
        BenchCoreError: if it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another command may have removed it meanwhile
    except OSError as error:
        raise BenchCoreError(
            f"results cannot be stored in {folder}: {error.strerror}. Make the folder writable, or set results_dir in "
            "asv.conf.json to one that is."
        ) from error


class UnknownNameError(BenchCoreError):
    """An unknown name. The message lists similar known names.

    Args:
        kind: what the name stands for, e.g. ``"device"``.
        found: the name as given.
        known: the allowed names.
    """

    def __init__(self, kind: str, found: str, known: Iterable[str]) -> None:
        names = sorted({brief(name) for name in known})
        near = difflib.get_close_matches(brief(found), names, n=3, cutoff=0.5)
        super().__init__(f"unknown {kind} {brief(found)!r}.{did_you_mean(near)} Known: {shortened(names)}.")


def did_you_mean(near: Sequence[str]) -> str:
    """A space and a question with the similar names; "" without any."""
    return f" Did you mean {', '.join(repr(name) for name in near)}?" if near else ""


LONGEST = 200
"""The longest name, in characters, that is shown whole."""


def brief(name: str) -> str:
    """A name for a screen, on one line and without control characters (`bench_core.texts.line`). A long one is cut, and
    ends in a part of its hash, which tells it from others. A pattern of the command line that is such a name selects
    its cell."""
    return texts.line(name, LONGEST)


def inside(file: str) -> str:
    """A file of Python by its place in its package: ``textkit/codes.py``; by its name alone if it is in none."""
    path = Path(file)
    top = path.parent
    with suppress(OSError, ValueError):  # the name may be anything, such as <string>
        while path.is_absolute() and top != top.parent and (top / "__init__.py").is_file():
            top = top.parent
        return path.relative_to(top).as_posix()
    return path.name


def named(error: BaseException) -> str:
    """An exception as Python shows it, on one line: ``KeyError: 'x'``, or ``MemoryError`` without a text. Of another
    process's traceback, which asv_runner passes on, the last line is kept. A file that is no Python is named by its
    place in its package, since a suite and a package often have files of one name."""
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except Exception:  # noqa: BLE001 - the exceptions of a suite are its own
        lines = ["(its text cannot be made)"]
    passed_on = any("Traceback (most recent call last)" in line for line in lines)
    text = " ".join(lines[-1:] if passed_on else lines)
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        text = text.replace(f"({os.path.basename(error.filename)}, line ", f"({inside(error.filename)}, line ")  # noqa: PTH119 - as Python does it
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def advised(error: str, advice: str) -> str:
    """An error with what can be done about it, if that is known: ``KeyError: 'SIZE' (SIZE is in the matrix)``."""
    return f"{error} ({advice})" if advice else error


def brief_in(text: str, names: Iterable[str]) -> str:
    """The text with the names as by `brief`."""
    for name in names:
        if (shown := brief(name)) != name:
            text = text.replace(name, shown)
    return text


def shortened(names: Sequence[str]) -> str:
    """The first 12 names, and the number of the others."""
    return (", ".join(names[:12]) or "none") + (f", and {len(names) - 12} more" if len(names) > 12 else "")


SIMILAR = 0.7
"""How similar a word of a pattern must be to one of the names to be suggested; 1 is the same word."""


class NothingSelectedError(BenchCoreError):
    """A pattern that selects no cell. The message lists words similar to those of the pattern.

    Args:
        names: the names of all cells.
        config: the configuration of the suite, for the command that lists them; None for the default one.
    """

    def __init__(self, pattern: str, names: Iterable[str], config: Path | None = None) -> None:
        known = sorted({brief(name) for name in names})
        words = sorted({word for name in known for word in _WORD.findall(name)})
        near = {
            f"{match!r} for {word!r}"
            for word in _WORD.findall(brief(pattern))
            if word not in words
            for match in difflib.get_close_matches(word, words, n=1, cutoff=SIMILAR)
        }
        hint = f" Did you mean {', '.join(sorted(near))}?" if near else ""
        listing = shlex.join(["bench-core", "list", *(["--suite", str(config)] if config else [])])
        super().__init__(
            f"no cell matches {brief(pattern)!r}.{hint} The pattern is a regular expression searched in names such as "
            f"{known[0] if known else '(there are no cells)'}; `{listing}` prints them all."
        )


_WORD = re.compile(r"\w+")


class TooOldError(BenchCoreError):
    """An installed package that is too old."""

    def __init__(self, package: str, found: str, needed: str) -> None:
        super().__init__(
            f"{package} {found} is installed, but {package} >= {needed} is needed. Upgrade it with: "
            f"pip install '{package}>={needed}'"
        )
