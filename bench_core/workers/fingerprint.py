"""Tells whether two code objects do the same, wherever in their files they stand.

The fingerprint of a *function* covers all of it, nested functions included. The fingerprint of a *scope*, the code of a
module or of the body of a class, covers what runs when the scope runs: of each function that it defines, it covers only
what can be seen without running the function (`_outline`). So two modules have the same fingerprint if they differ in
the bodies of functions only.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import sys
from types import CodeType
from typing import Any

from bench_core.compat import exception_table, qualname

HAS_DOCSTRING = 0x4000000
"""The flag of a function with a docstring, from Python 3.14 on. Earlier, a text as the first constant is one."""

DEFERRED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
"""The flags of functions whose call only makes an object, which holds the frame."""

SILENT = sys.version_info >= (3, 12)
"""Whether such a call goes unrecorded if nothing takes the first value. Earlier, profilers saw it."""

FIRST_LINE = "__firstlineno__"
"""The attribute in which a class keeps its first line, from Python 3.13 on."""


def is_function(code: CodeType) -> bool:
    """Whether the code is that of a function, a lambda, a comprehension or a generator, and not of a scope."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED)


def fingerprint(code: CodeType) -> str:
    """What tells the code from any other, as a short text. Absolute line numbers and the name of the file have no
    influence; how the lines of a function lie to each other has."""
    content = _function(code, code.co_firstlineno) if is_function(code) else _scope(code)
    return hashlib.blake2b(repr(content).encode(errors="surrogatepass"), digest_size=9).hexdigest()


def _function(code: CodeType, first: int) -> tuple[Any, ...]:
    """All of a function. `first` is the line from which lines are counted."""
    lines = [(start, end, line and line - first) for start, end, line in code.co_lines()]
    return (
        *_outline(code),
        code.co_code,
        [_function(one, first) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts],
        (code.co_names, code.co_varnames, code.co_cellvars, code.co_stacksize, exception_table(code)),
        lines,
    )


def _outline(code: CodeType) -> tuple[Any, ...]:
    """What can be seen of a function without running it: its name, how it can be called, its docstring, the names that
    it takes from around it, and the size of the frame that a generator keeps. Its defaults, annotations and decorators
    belong to the scope."""
    arguments = code.co_argcount + code.co_kwonlyargcount
    arguments += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    names = (code.co_name, qualname(code), code.co_varnames[:arguments], code.co_freevars)
    unseen = SILENT and code.co_flags & DEFERRED
    frame = (code.co_nlocals, len(code.co_cellvars), code.co_stacksize) if unseen else ()
    return (*names, counts, code.co_flags, _docstring(code), frame)


def _docstring(code: CodeType) -> str | None:
    first = code.co_consts[0] if code.co_consts else None
    marked = sys.version_info < (3, 14) or bool(code.co_flags & HAS_DOCSTRING)
    return first if marked and isinstance(first, str) else None


def _scope(code: CodeType) -> tuple[Any, ...]:
    consts = [_inner(one) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts]
    if FIRST_LINE in code.co_names:  # a constant that moves with the class
        return (code.co_name, qualname(code), *_without_first_line(code), exception_table(code))
    return (code.co_name, qualname(code), code.co_code, consts, code.co_names, exception_table(code))


def _inner(code: CodeType) -> tuple[Any, ...]:
    return _outline(code) if is_function(code) else _scope(code)


def _without_first_line(code: CodeType) -> tuple[Any, ...]:
    """The instructions of a class body, without the line that it stores."""
    found: list[tuple[str, Any]] = []
    for one in dis.get_instructions(code):
        if one.opname == "STORE_NAME" and one.argval == FIRST_LINE:
            found.pop()
            continue
        value = one.argval
        found.append((one.opname, _inner(value) if isinstance(value, CodeType) else _constant(value)))
    return (found,)


def _constant(value: object) -> Any:
    """A constant, so that equal texts mean equal constants: 1, 1.0 and True are three."""
    if isinstance(value, tuple):
        return ("tuple", [_constant(one) for one in value])
    if isinstance(value, frozenset):
        return ("frozenset", sorted(repr(_constant(one)) for one in value))
    if isinstance(value, slice):  # from Python 3.14 on
        return ("slice", [_constant(one) for one in (value.start, value.stop, value.step)])
    return (type(value).__name__, repr(value))
