import json
import math
from dataclasses import dataclass, field
from typing import Literal

import pytest

from bench_core.codec import LATER, MalformedError, Tagged, from_json, to_json


@dataclass(frozen=True)
class Part:
    count: int
    share: float


@dataclass(frozen=True)
class Whole:
    name: str
    parts: tuple[Part, ...]
    kind: Literal["a", "b"] = "a"
    ok: bool = True
    note: str | None = None
    pair: tuple[int, str] = (1, "one")
    added: tuple[str, ...] = field(default=(), metadata={LATER: True})


@dataclass(frozen=True)
class Other:
    name: str


WHOLE = Whole("x", (Part(1, 0.5), Part(2, -math.inf)), added=("y",))


def through_json(value):
    return json.loads(json.dumps(to_json(value), allow_nan=False))


def test_a_record_comes_back_as_it_was():
    assert from_json(Whole, through_json(WHOLE)) == WHOLE


def test_what_is_no_number_comes_back_as_it_was():
    assert math.isnan(from_json(Part, through_json(Part(1, math.nan))).share)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"name": 1}, "name: 1 is not of type str", id="a number for a text"),
        pytest.param({"ok": 1}, "ok: 1 is not of type bool", id="a number for a truth"),
        pytest.param({"parts": "ab"}, 'parts: "ab" is not of type tuple', id="a text for a list"),
        pytest.param({"parts": [5]}, r"parts\[0\]: 5 is not of type Part", id="a number for a record"),
        pytest.param({"parts": [{"count": 1.5, "share": 1}]}, r"parts\[0\].count: 1.5", id="a float for an int"),
        pytest.param({"parts": [{"count": 1}]}, r"parts\[0\]: lacks share", id="a field that is missing"),
        pytest.param({"kind": "c"}, 'kind: "c" is not of type "a" or "b"', id="a name that is not known"),
        pytest.param({"parts": [{"count": 1, "share": 10**400}]}, r"parts\[0\].share: 10", id="too large a number"),
        pytest.param({"pair": [1]}, "pair: 1 items, not 2", id="too few items"),
        pytest.param({"pair": ["one", 1]}, r'pair\[0\]: "one" is not of type int', id="items in another order"),
    ],
)
def test_a_wrong_content_is_named_with_its_place(change, complaint):
    with pytest.raises(MalformedError, match=complaint):
        from_json(Whole, through_json(WHOLE) | change)


def test_a_field_with_a_default_may_not_be_missing_unless_it_was_added_later():
    content = through_json(WHOLE)
    del content["added"]
    assert from_json(Whole, content).added == ()
    del content["ok"]
    with pytest.raises(MalformedError, match="lacks ok"):
        from_json(Whole, content)


def test_keys_that_a_record_does_not_have_are_ignored():
    assert from_json(Whole, {**through_json(WHOLE), "new": 1}) == WHOLE


def test_messages_are_distinguished_by_their_tag():
    messages = Tagged(Whole | Other)
    for message in (WHOLE, Other("z")):
        line = messages.line(message)
        assert "\n" not in line
        assert messages.read(line) == message


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param("{", "not JSON", id="cut off"),
        pytest.param("[]", "message is null, not one of Whole, Other", id="no object"),
        pytest.param('{"message": "Third"}', 'message is "Third", not one of', id="an unknown one"),
        pytest.param('{"message": "Other"}', "lacks name", id="a malformed one"),
    ],
)
def test_what_is_no_message_says_so(line, complaint):
    with pytest.raises(MalformedError, match=complaint):
        Tagged(Whole | Other).read(line)
