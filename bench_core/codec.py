"""Converts records to JSON and back by their types, for files and for messages between processes.

JSON has neither NaN nor infinity: NaN becomes null, infinity the text ``"inf"`` or ``"-inf"``. Reading is strict: a
number is no text, ``1`` is not ``true``, and no field may be missing. Unknown keys are ignored, so that older readers
can read newer files.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

Reader = Callable[[Any], Any]
"""Makes a value of one type from what `json.loads` returned."""

Writer = Callable[[Any], Any]
"""The inverse of a reader."""

LATER = "later"
"""A key in the metadata of fields that older files lack. For these files, the field's default is used."""


class MalformedError(ValueError):
    """Data are not of the wanted type. The text names the place and the value found there."""


class _WrongError(ValueError):
    """A fault, and where it is: the names and indices that lead to it, the innermost first."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.place: list[str] = []


LARGEST = 1 << 63
"""Integers are smaller than this. JSON has larger ones, with which arithmetic on floats fails."""


def loads(text: str | bytes) -> Any:
    """The content of a JSON text.

    Raises:
        MalformedError: if it is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from error


def require_schema(content: Any, newest: int, *, older: bool = False) -> None:
    """Check the schema of a file or a line, a number under the key ``schema``.

    Args:
        content: what `loads` returned.
        newest: the newest readable schema. The first one is 1.
        older: whether content without a schema is readable, since earlier versions of bench_core wrote none.

    Raises:
        MalformedError: if it cannot be read.
    """
    if not isinstance(content, dict):
        raise MalformedError("its top level is no object")
    found = content.get("schema", 1 if older else None)
    if type(found) is not int or found < 1:
        raise MalformedError(f"its schema is {json.dumps(found)[:40]}, and this version of bench_core reads {newest}")
    if found > newest:
        raise MalformedError(f"a newer bench_core wrote it (schema {found}, this one reads {newest}): upgrade")


def to_json(value: object) -> Any:
    """A record as input for `json.dumps`, also with ``allow_nan=False``. Tuples become lists."""
    return _of_any(value)


def from_json(kind: type[T], content: Any) -> T:
    """The inverse of `to_json`.

    Args:
        kind: a dataclass, or a type that is built from them.
        content: what `json.loads` returned.

    Raises:
        MalformedError: if the content is not of that type.
    """
    reader = _reader(kind)
    with _one_complaint():
        found: T = reader(content)
    return found


@contextmanager
def _one_complaint() -> Iterator[None]:
    """Turn a fault into a `MalformedError` with its place."""
    try:
        yield
    except _WrongError as error:
        place = "".join(reversed(error.place)).lstrip(".") or "its top level"
        raise MalformedError(f"{place}: {error}") from error


class _Stored:
    """Dataclasses that are stored in the form of another one: see `stored_as`."""

    def __init__(self) -> None:
        self.flat: dict[frozenset[type], tuple[type, Callable[[Any], Any]]] = {}
        self.flattened: dict[type, Callable[[Any], Any]] = {}


_STORED = _Stored()


def stored_as(union: Any, flat: type[T], flattened: Callable[[Any], T], unflattened: Callable[[T], Any]) -> None:
    """Store several dataclasses in one form, that of another dataclass.

    Args:
        union: the dataclasses, ``One | Other``.
        flat: the dataclass that is written and read instead.
        flattened: converts one of the dataclasses to `flat`.
        unflattened: converts `flat` back.
    """
    kinds = frozenset(get_args(union))
    _STORED.flat[kinds] = (flat, unflattened)
    _STORED.flattened.update(dict.fromkeys(kinds, flattened))


class Tagged(Generic[T]):
    """Messages: one of several dataclasses (`kinds`: a dataclass, or a union ``One | Other``), each with its class name
    as a tag. Readers and writers are made when the first message is read or written."""

    def __init__(self, kinds: Any) -> None:
        self.kinds: tuple[type, ...] = get_args(kinds) or (kinds,)

    @functools.cached_property
    def _readers(self) -> dict[str, Reader]:
        return {kind.__name__: _reader(kind) for kind in self.kinds}

    @functools.cached_property
    def _writers(self) -> dict[type, Writer]:
        return {kind: _writer(kind) for kind in self.kinds}

    def prepare(self) -> None:
        """Make all readers and writers, so that forked processes inherit them."""
        _ = self._readers, self._writers

    def line(self, message: T) -> str:
        """A message as one line of JSON, without a line end."""
        kind = type(message)
        return json.dumps({TAG: kind.__name__, **self._writers[kind](message)}, allow_nan=False)

    def read(self, line: str | bytes) -> T:
        """The inverse of `line`.

        Raises:
            MalformedError: if the line is none of these messages. The text quotes it.
        """
        try:
            return self._read(line)
        except MalformedError as error:
            text = line.decode(errors="replace") if isinstance(line, bytes) else line
            raise MalformedError(f"{error}; received {text.strip()[:80]!r}") from error

    def _read(self, line: str | bytes) -> T:
        content = loads(line)
        tag = content.get(TAG) if isinstance(content, dict) else None
        if not isinstance(tag, str) or tag not in self._readers:
            raise MalformedError(f"{TAG} is {json.dumps(tag)[:40]}, not one of {', '.join(self._readers)}")
        with _one_complaint():
            found: T = self._readers[tag](content)
        return found


TAG = "message"
"""The key of the name of a message's class."""


# Readers


def _reader(kind: Any) -> Reader:
    """What reads values of a type."""
    if isinstance(kind, type) and is_dataclass(kind):
        return _read_record(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _read_union(inner)
    if origin is Literal:
        return functools.partial(_one_of, inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        return _read_fixed(tuple(map(_reader, inner)))
    if origin in (tuple, list):
        return _read_items(origin, _reader(inner[0]))
    if origin in (Mapping, dict):
        return _read_mapping(getattr(origin, "__name__", str(origin)), *map(_reader, inner))
    if kind in (str, int, bool):
        return functools.partial(_exactly, kind)
    if kind is float:
        return _float
    if kind is Any:
        return _as_it_is
    raise TypeError(f"no reader for {kind}")


def _wrong(value: Any, wanted: str) -> _WrongError:
    return _WrongError(f"{json.dumps(value, default=str)[:40]} is not of type {wanted}")


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind or (isinstance(value, int) and abs(value) >= LARGEST):
        raise _wrong(value, kind.__name__)
    return value


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if value is None:
        return math.nan
    if value in ("inf", "-inf") or (type(value) is int and abs(value) < LARGEST):
        return float(value)
    raise _wrong(value, "float")


def _as_it_is(value: Any) -> Any:
    return value


def _one_of(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed:
        raise _wrong(value, " or ".join(map(json.dumps, allowed)))
    return value


def _read_union(kinds: tuple[Any, ...]) -> Reader:
    """``One | None``, or dataclasses that are stored in one form."""
    others = tuple(kind for kind in kinds if kind is not type(None))
    if len(others) == 1:
        inner = _reader(others[0])
    else:
        flat, unflattened = _STORED.flat[frozenset(others)]
        stored = _reader(flat)
        inner = lambda value: unflattened(stored(value))  # noqa: E731 - no name would say more
    if len(others) == len(kinds):
        return inner
    return lambda value: None if value is None else inner(value)


def _items(reader: Reader, values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    try:
        for value in values:
            found.append(reader(value))  # the number of those before is the place of a fault
    except _WrongError as error:
        error.place.append(f"[{len(found)}]")
        raise
    return found


def _read_items(kind: type, reader: Reader) -> Reader:
    """A tuple of any length, or a list."""

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(value, kind.__name__)
        return kind(_items(reader, value))

    return read


def _read_fixed(readers: tuple[Reader, ...]) -> Reader:
    """A tuple with a type for each of its items."""

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(value, "tuple")
        if len(value) != len(readers):
            raise _WrongError(f"{len(value)} items, not {len(readers)}")
        pairs = zip(readers, value, strict=True)
        return tuple(_items(lambda pair: pair[0](pair[1]), pairs))

    return read


def _read_mapping(name: str, of_key: Reader, of_value: Reader) -> Reader:
    def read(content: Any) -> Any:
        if not isinstance(content, dict):
            raise _wrong(content, name)
        found = {}
        for key, value in content.items():
            try:
                found[of_key(key)] = of_value(value)
            except _WrongError as error:
                error.place.append(f"[{key!r}]")
                raise
        return found

    return read


@functools.cache
def _read_record(kind: Any) -> Reader:
    """A dataclass. Only fields with `LATER` may be missing."""
    declared = fields(kind)
    needed = [field.name for field in declared if not field.metadata.get(LATER)]
    readers: list[tuple[str, Reader]] = []

    def read(content: Any) -> Any:
        if not isinstance(content, dict):
            raise _wrong(content, kind.__name__)
        if missing := [name for name in needed if name not in content]:
            raise _WrongError(f"lacks {', '.join(missing)}")
        found = {}
        name = ""
        try:
            for name, reader in readers:
                if name in content:
                    found[name] = reader(content[name])
        except _WrongError as error:
            error.place.append(f".{name}")
            raise
        try:
            return kind(**found)
        except ValueError as error:  # of its `__post_init__`
            raise _WrongError(str(error)) from error

    types = get_type_hints(kind)
    for field in declared:
        # A record may hold one of its own kind, whose reader is not known yet.
        own = kind in (types[field.name], *get_args(types[field.name]))
        readers.append((field.name, _optional(read) if own else _reader(types[field.name])))
    return read


def _optional(read: Reader) -> Reader:
    return lambda value: None if value is None else read(value)


# Writers


def _writer(kind: Any) -> Writer:
    """What writes values of a type."""
    if kind in (str, int, bool) or get_origin(kind) is Literal:
        return _as_it_is
    if kind is float:
        return _json_float
    if isinstance(kind, type) and is_dataclass(kind):
        return _write_record(kind)
    inner = get_args(kind)
    if get_origin(kind) in (tuple, list) and (len(inner) == 1 or inner[-1] is Ellipsis):
        of_item = _writer(inner[0])
        return list if of_item is _as_it_is else lambda value: [of_item(item) for item in value]
    return _of_any


def _json_float(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _of_any(value: Any) -> Any:
    """Write a value of any type."""
    if isinstance(value, float):
        return _json_float(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _write_record(type(value))(value)
    if isinstance(value, (tuple, list)):
        return [_of_any(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return {key: _of_any(inner) for key, inner in value.items()}
    return value


@functools.cache
def _write_record(kind: Any) -> Writer:
    if flattened := _STORED.flattened.get(kind):
        return lambda value: _of_any(flattened(value))
    writers: list[tuple[str, Writer]] = []

    def write(value: Any) -> Any:
        return {name: writer(getattr(value, name)) for name, writer in writers}

    types = get_type_hints(kind)
    for field in fields(kind):
        own = kind in (types[field.name], *get_args(types[field.name]))
        writers.append((field.name, _of_any if own else _writer(types[field.name])))
    return write
