"""Converts records to JSON and back by their types, for files and for messages between processes.

JSON has neither NaN nor infinity: NaN becomes null, infinity the text ``"inf"`` or ``"-inf"``. Reading is strict: a
number is no text, ``1`` is not ``true``, and no field may be missing. Unknown keys are ignored, so that older readers
can read newer files.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from cattrs import BaseValidationError, Converter, transform_error
from cattrs.cols import homogenous_tuple_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn

T = TypeVar("T")

Hook = Callable[[Any, Any], Any]
"""A function of cattrs that reads a value. It takes the value and the wanted type."""

LATER = "later"
"""A key in the metadata of fields that older files lack. For these files, the field's default is used."""


class MalformedError(ValueError):
    """Data are not of the wanted type. The text names the place and the value found there."""


def to_json(value: object) -> Any:
    """A record as input for `json.dumps`, also with ``allow_nan=False``. Tuples become lists."""
    return _CONVERTER.unstructure(value)


def from_json(kind: type[T], content: Any) -> T:
    """The inverse of `to_json`.

    Args:
        kind: a dataclass, or a type that is built from them.
        content: what `json.loads` returned.

    Raises:
        MalformedError: if the content is not of that type.
    """
    with _one_complaint():
        return _CONVERTER.structure(content, kind)


@contextmanager
def _one_complaint() -> Iterator[None]:
    """Turn the errors of cattrs into a `MalformedError` on the first fault."""
    try:
        yield
    except BaseValidationError as error:
        raise MalformedError(_first(error)) from error
    except (ValueError, TypeError) as error:  # for a type that is no class, cattrs names no place
        raise MalformedError(f"its top level: {error}") from error


def stored_as(union: Any, flat: type[T], flattened: Callable[[Any], T], unflattened: Callable[[T], Any]) -> None:
    """Store several dataclasses in one form, that of another dataclass.

    Args:
        union: the dataclasses, ``One | Other``.
        flat: the dataclass that is written and read instead.
        flattened: converts one of the dataclasses to `flat`.
        unflattened: converts `flat` back.
    """
    kinds = set(get_args(union))
    for kind in kinds:
        _CONVERTER.register_unstructure_hook(kind, lambda value: _CONVERTER.unstructure(flattened(value)))
    _CONVERTER.register_structure_hook_func(
        lambda kind: set(get_args(kind)) - {type(None)} == kinds,
        lambda value, kind: (
            None if value is None and type(None) in get_args(kind) else unflattened(_CONVERTER.structure(value, flat))
        ),
    )


class Tagged(Generic[T]):
    """Messages: one of several dataclasses (`kinds`: a dataclass, or a union ``One | Other``), each with its class name
    as a tag. Readers and writers are made when the first message is read or written, which takes 1 ms per kind."""

    def __init__(self, kinds: Any) -> None:
        self.kinds: tuple[type, ...] = get_args(kinds) or (kinds,)

    @functools.cached_property
    def _readers(self) -> dict[str, tuple[Hook, type]]:
        made = {part: _CONVERTER.get_structure_hook(part) for kind in self.kinds for part in _dataclasses_in(kind)}
        return {kind.__name__: (made[kind], kind) for kind in self.kinds}

    @functools.cached_property
    def _writers(self) -> dict[type, Callable[[Any], Any]]:
        return {part: _CONVERTER.get_unstructure_hook(part) for kind in self.kinds for part in _dataclasses_in(kind)}

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
        try:
            content = json.loads(line)
        except ValueError as error:
            raise MalformedError(f"not JSON: {error}") from error
        tag = content.get(TAG) if isinstance(content, dict) else None
        if not isinstance(tag, str) or tag not in self._readers:
            raise MalformedError(f"{TAG} is {json.dumps(tag)[:40]}, not one of {', '.join(self._readers)}")
        reader, kind = self._readers[tag]
        with _one_complaint():
            found: T = reader(content, kind)
        return found


def _dataclasses_in(kind: Any) -> Iterator[type]:
    if is_dataclass(kind) and isinstance(kind, type):
        yield kind
    for part in get_type_hints(kind).values() if is_dataclass(kind) else get_args(kind):
        yield from _dataclasses_in(part)


TAG = "message"
"""The key of the name of a message's class."""


def _first(error: BaseException) -> str:
    """The first fault, with its place."""
    found: list[str] = transform_error(error, path="", format_exception=lambda one, _: str(one))
    said, _, place = found[0].partition(" @ ")
    return f"{place.lstrip('.') or 'its top level'}: {said}"


def _wrong(value: Any, wanted: str) -> ValueError:
    return ValueError(f"{json.dumps(value, default=str)[:40]} is not of type {wanted}")


def _exactly(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise _wrong(value, kind.__name__)
    return value


def _float(value: Any, _: object) -> float:
    if value is None:
        return math.nan
    if value in ("inf", "-inf") or type(value) in (int, float):
        return float(value)
    raise _wrong(value, "float")


def _json_float(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _converter() -> Converter:
    made = Converter(unstruct_collection_overrides={tuple: list, frozenset: sorted})
    for kind in (str, int, bool):
        made.register_structure_hook(kind, _exactly)
    made.register_structure_hook(float, _float)
    made.register_unstructure_hook(float, _json_float)
    # By default, cattrs accepts any iterable as a tuple, even a text, and replaces missing fields by their defaults.
    made.register_structure_hook_factory(_made_of(tuple), _only(list, _tuple))
    made.register_structure_hook_factory(_made_of(Mapping, dict), _only(dict, mapping_structure_factory))
    made.register_structure_hook_factory(is_dataclass, _only(dict, _whole))
    made.register_structure_hook_func(_made_of(Literal), _one_of)
    return made


def _made_of(*origins: Any) -> Callable[[Any], bool]:
    return lambda kind: get_origin(kind) in origins


def _one_of(value: Any, kind: Any) -> Any:
    if value not in get_args(kind):
        raise _wrong(value, " or ".join(map(json.dumps, get_args(kind))))
    return value


def _tuple(kind: Any, converter: Converter) -> Hook:
    """``tuple[T, ...]``, or a tuple with a type for each of its items."""
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        return homogenous_tuple_structure_factory(kind, converter)
    hooks = [converter.get_structure_hook(one) for one in kinds]

    def read(value: Any, _: Any) -> Any:
        if len(value) != len(kinds):
            raise ValueError(f"{len(value)} items, not {len(kinds)}")
        return tuple(hook(item, one) for hook, item, one in zip(hooks, value, kinds, strict=True))

    return read


def _only(of_json: type, made_by: Callable[[Any, Any], Any]) -> Any:
    """The hooks of `made_by`, restricted to one JSON type."""

    def factory(kind: Any, converter: Converter) -> Any:
        usual = made_by(kind, converter)

        def read(value: Any, kind: Any) -> Any:
            if not isinstance(value, of_json):
                raise _wrong(value, getattr(kind, "__name__", str(kind)))
            return usual(value, kind)

        return read

    return factory


def _whole(kind: Any, converter: Converter) -> Hook:
    """A dataclass. Only fields with `LATER` may be missing."""
    needed = [field.name for field in fields(kind) if not field.metadata.get(LATER)]
    usual: Hook = make_dict_structure_fn(kind, converter)

    def read(value: Any, kind: Any) -> Any:
        if missing := [name for name in needed if name not in value]:
            raise ValueError(f"lacks {', '.join(missing)}")
        return usual(value, kind)

    return read


_CONVERTER = _converter()
