import functools
import itertools

import pytest
from asv_runner.benchmarks._base import _unique_param_ids, _validate_params

from bench_core.timing.parameters import names, ordered, read_once, text


class Thing:
    def method(self):
        pass


STABLE = [1, 0.5, None, True, "a", b"b", [1, "x at 0xff"], (1,), (1, 2), {"b": 1, "a": {2: 3}}, int, len, {}, set(), ""]


@pytest.mark.parametrize("values", [STABLE, [1, 1, "a"], [[], []], [Thing, Thing]])
def test_where_asvs_names_are_stable_they_are_used(values):
    assert names([values]) == _unique_param_ids([values])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (functools.partial(Thing.method, 1), "functools.partial(<function Thing.method>, 1)"),
        (Thing().method, f"<bound method Thing.method of <{__name__}.Thing object>>"),
        ([Thing.method, (Thing.method,)], "[<function Thing.method>, (<function Thing.method>,)]"),
        ({"f": Thing.method}, "{'f': <function Thing.method>}"),
        ("a function at 0xff", "'a function at 0xff'"),
        (["at 0xff", Thing.method], "['at 0xff', <function Thing.method>]"),
        ({"b", "a"}, "{'a', 'b'}"),
        ([frozenset("ba")], "[frozenset({'a', 'b'})]"),
    ],
)
def test_a_name_has_no_address_and_sets_are_in_order(value, shown):
    assert text(value) == shown


def test_values_that_differ_by_their_address_alone_are_numbered():
    same = "<bound method Thing.method of <" + __name__ + ".Thing object>>"
    assert names([[Thing().method, Thing().method, 1]]) == [[f"{same} (0)", f"{same} (1)", "1"]]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        (iter([1]), "a list_iterator"),
        ([[1, 2], map(str, [1])], "a map"),
        (itertools.count(), "a count"),
    ],
)
def test_parameters_that_can_be_read_only_once_say_what_to_write_instead(declared, kind):
    assert read_once(declared) == f"params has {kind}, which can be read only once: make it a list"


@pytest.mark.parametrize("declared", [[], [1, 2], ([1], ("a", "b")), [{1, 2}, [3]], {"a": 1}.keys(), range(3), "ba"])
def test_parameters_with_an_order_keep_it(declared):
    assert read_once(declared) == ""
    values, _ = _validate_params(declared, [], "x")
    assert ordered(declared, values) == values


@pytest.mark.parametrize("kind", [set, frozenset])
def test_the_values_of_a_set_are_in_the_order_of_their_names(kind):
    letters = kind("hgfedcba")
    assert ordered(letters, [list(letters)]) == [sorted(letters)]
    assert ordered([[2, 1], letters], [[2, 1], list(letters)]) == [[2, 1], sorted(letters)]
