"""What the oldest supported Python (3.10) lacks. When it is dropped, this module is too."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["WITH_QUALNAMES", "add_note", "chdir", "exception_table", "isolated", "qualname", "tomllib"]

WITH_QUALNAMES = sys.version_info >= (3, 11)
"""Whether the code of a function knows its qualified name."""


def qualname(code: CodeType) -> str:
    """The qualified name of a code object; before Python 3.11, its name."""
    if sys.version_info >= (3, 11):
        return code.co_qualname
    return code.co_name


def exception_table(code: CodeType) -> bytes:
    """Where a code object handles exceptions. Before Python 3.11, its instructions say that."""
    if sys.version_info >= (3, 11):
        return code.co_exceptiontable
    return b""


def add_note(error: BaseException, note: str) -> None:
    """Let a traceback end with a note. Before Python 3.11, only pytest shows it."""
    if sys.version_info >= (3, 11):
        error.add_note(note)
    else:
        vars(error).setdefault("__notes__", []).append(note)


@contextlib.contextmanager
def chdir(folder: str | Path) -> Iterator[None]:
    """Work in another folder inside the block, as `contextlib.chdir` does."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def isolated(interpreter: str, program: str) -> list[str]:
    """The command that runs a program without the current folder in the import path, as ``python -P -c`` does.

    Args:
        interpreter: any supported one.
        program: statements on one line.
    """
    return [interpreter, "-c", f"import sys; sys.path[:1] == [''] and sys.path.pop(0); {program}"]
