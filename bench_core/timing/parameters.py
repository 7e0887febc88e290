"""The names and the order of parameter values, the same in every process, and what cannot have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def names(values: Sequence[Sequence[Any]]) -> list[list[str]]:
    """asv's names of the values of each parameter. Where asv's would change from process to process, they are stable:
    see `text`. As in asv, values of one name are numbered."""
    return [_numbered([text(value) for value in entry]) for entry in values]


def text(value: Any) -> str:
    """The `repr` of a value without addresses in memory, and with the elements of sets in order."""
    shown = repr(value)
    if isinstance(value, (str, bytes)) or ("{" not in shown and not _ADDRESS.search(shown)):
        return shown
    kind = type(value)
    if kind in (set, frozenset) and value:
        inner = f"{{{', '.join(sorted(map(text, value)))}}}"
        return inner if kind is set else f"frozenset({inner})"
    if kind is list:
        return f"[{', '.join(map(text, value))}]"
    if kind is tuple:
        return f"({', '.join(map(text, value))}{',' if len(value) == 1 else ''})"
    if kind is dict:
        return f"{{{', '.join(f'{text(key)}: {text(one)}' for key, one in value.items())}}}"
    return _ADDRESS.sub("", shown)


def _numbered(found: list[str]) -> list[str]:
    several = {name for name, count in Counter(found).items() if count > 1}
    seen = Counter[str]()
    numbered = []
    for name in found:
        numbered.append(f"{name} ({seen[name]})" if name in several else name)
        seen[name] += 1
    return numbered


def ordered(declared: Any, values: Sequence[list[Any]]) -> list[list[Any]]:
    """The values of each parameter in an order that every process finds again: asv's, and for a set that of the names.

    Args:
        declared: `params` as the suite declares it: a list, or a list of lists.
        values: what asv_runner makes of it.
    """
    entries = [declared] if values and _is_one(declared) else declared
    return [
        sorted(found, key=text) if isinstance(entry, (set, frozenset)) else found
        for entry, found in zip(entries, values, strict=True)
    ]


def _is_one(declared: Any) -> bool:
    """Whether asv takes `params` for the values of one parameter."""
    listed = list(declared)
    return not listed or not isinstance(listed[0], (tuple, list))


def read_once(declared: Any) -> str:
    """Why `params` cannot be read again by the next instance of the class; "" if it can."""
    entries = [declared] if isinstance(declared, Iterator) or _is_one(declared) else [*declared]
    found = next((type(entry).__name__ for entry in entries if isinstance(entry, Iterator)), "")
    return f"params has a {found}, which can be read only once: make it a list" if found else ""
