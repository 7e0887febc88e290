"""The formats of other tools, held against what these document."""

import json
import math
from dataclasses import replace

import pytest
from test_answers import LARGE, MEMORY, SMALL, cell, report, subject

from bench_core.errors import BenchCoreError
from bench_core.records.report import Measured
from bench_core.records.run import Interval
from bench_core.report.exports import LONGEST_BENCHMARK, bencher, github_action_benchmark

BENCHER = {
    "type": "object",
    "patternProperties": {
        ".+": {
            "type": "object",
            "patternProperties": {
                ".+": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "number"},
                        "lower_value": {"type": "number"},
                        "upper_value": {"type": "number"},
                    },
                    "required": ["value"],
                }
            },
        }
    },
}
"""https://bencher.dev/bmf.json"""

CUSTOM = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "value": {"type": "number"},
            "unit": {"type": "string"},
            "range": {"type": "string"},
            "extra": {"type": "string"},
        },
        "required": ["name", "value", "unit"],
        "additionalProperties": False,
    },
}
"""What src/extract.ts of github-action-benchmark reads."""


def holding(*cells):
    """A report with these cells."""
    found = subject()
    first = next(iter(found.cells.values()))
    return report(replace(found, cells={one.name: Measured(one, first.run, None, "", "") for one in cells}))


TRACKED = cell("edits.Edit.track_size", {}, 7.5, kind="track", unit="elements", known=False)
UNITLESS = cell("edits.Edit.track_loss", {}, 0.5, kind="track", unit="", known=False)
ALL = holding(SMALL, LARGE, MEMORY, TRACKED, UNITLESS)


def test_times_are_latencies_in_nanoseconds_and_memory_is_in_bytes():
    found = json.loads(bencher(ALL))
    assert found[SMALL.name]["latency"] == pytest.approx({"value": 1000, "lower_value": 900, "upper_value": 1100})
    assert found[MEMORY.name] == {"memory": {"value": 3 << 20}}
    assert found[TRACKED.name] == {"elements": {"value": 7.5}}
    assert found[UNITLESS.name] == {"value": {"value": 0.5}}


def test_the_other_format_has_a_range_where_there_is_an_interval():
    found = {one["name"]: one for one in json.loads(github_action_benchmark(ALL))}
    assert found[SMALL.name] == {"name": SMALL.name, "unit": "ns", "value": pytest.approx(1000), "range": "± 100"}
    assert found[MEMORY.name] == {"name": MEMORY.name, "unit": "bytes", "value": 3 << 20}


@pytest.mark.parametrize(("form", "schema"), [(bencher, BENCHER), (github_action_benchmark, CUSTOM)])
def test_each_format_is_as_its_tool_documents_it(form, schema):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(form(ALL)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"x": {"latency": {}}} if form is bencher else [{}], schema)


def test_a_name_that_is_too_long_for_bencher_is_cut_and_stays_unique():
    long = [cell("a.A.time_a", {"x": "µ" * 600 + end}, 1e-6) for end in "12"]
    names = list(json.loads(bencher(holding(*long))))
    assert len(names) == 2
    assert all(len(name.encode()) <= LONGEST_BENCHMARK for name in names)


def test_a_value_that_is_no_number_is_left_out():
    none = replace(SMALL, value=Interval(math.nan, math.nan, math.nan, 0.99))
    assert json.loads(bencher(holding(none))) == {}
    assert json.loads(github_action_benchmark(holding(none))) == []


@pytest.mark.parametrize("form", [bencher, github_action_benchmark])
def test_several_machines_are_refused_with_the_cure(form):
    with pytest.raises(BenchCoreError, match="choose one with --machine"):
        form(report(subject(), subject("other")))
