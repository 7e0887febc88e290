"""The file beside asv's results."""

import json
import math

import pytest

from bench_core.errors import BenchCoreError
from bench_core.records.rounds import Group, Rounds, Visit
from bench_core.results.rounds import beside, read_rounds, run_of, write_rounds

ODD = "f.C.time_it('\u00fc', [red], \"a,b\", '\\n')"


def run(*seconds, name="f.time_it", **changes):
    visits = tuple(Visit(number, {name: value}, 0.01) for number, value in enumerate(seconds))
    group = Group(name, (name,), visits=visits, numbers={name: 10}, samples=16)
    return Rounds("box", "env", "c" * 40, "2026-01-02T03:04:05+00:00", 9.5, 10.0, len(seconds), (group,), **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "abc-env.json"


def written(path, *lines):
    beside(path).write_text("".join(lines))
    return path


def test_runs_come_back_as_they_were_written(path):
    runs = (
        run(1.0e-7 / 3, 2e-6, name=ODD),
        run(1e-6, readings={"f.track": math.inf}, failed={"a": "b"}, notes=("n",), interrupted=True),
    )
    write_rounds(path, runs)
    assert read_rounds(path) == runs
    assert beside(path).name == "abc-env.rounds.jsonl"  # asv reads every .json
    assert len(beside(path).read_text().splitlines()) == 2


def test_without_a_file_there_are_no_runs(path):
    assert read_rounds(path) == ()


def test_a_last_line_that_was_cut_off_is_left_out(path):
    write_rounds(path, [run(1e-6), run(2e-6)])
    text = beside(path).read_text()
    assert read_rounds(written(path, text[:-20])) == (run(1e-6),)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: "{", "cannot be used: Expecting"),
        (lambda content: "[1]", "its schema is None"),
        (lambda content: json.dumps(content | {"schema": 2}), "its schema is 2, and this version reads 1"),
        (lambda content: json.dumps(content | {"groups": 3}), "groups"),
        (lambda content: json.dumps({key: value for key, value in content.items() if key != "seconds"}), "seconds"),
        (lambda content: json.dumps(content).replace("1e-06", "0"), "0 s is no time of f.time_it"),
        (lambda content: json.dumps(content).replace("1e-06", "-1"), "-1 s is no time of f.time_it"),
        (lambda content: json.dumps(content).replace("1e-06", "null"), "nan s is no time of f.time_it"),
        (lambda content: "[" * 100_000, "cannot be used"),
        (lambda content: "\udcff", "cannot be used"),
    ],
)
def test_a_damaged_line_is_one_clear_error_that_names_it(path, damage, complaint):
    write_rounds(path, [run(2e-6), run(1e-6)])
    first, second = beside(path).read_text().splitlines()
    broken = damage(json.loads(second))
    beside(path).write_bytes(f"{first}\n{broken}\n".encode(errors="surrogateescape"))
    with pytest.raises(BenchCoreError) as caught:
        read_rounds(path)
    assert f"{beside(path)}, line 2, cannot be used" in str(caught.value)
    assert complaint in str(caught.value)
    assert "Delete the line, or time that commit again." in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_clear_error(path):
    beside(path).mkdir()
    with pytest.raises(BenchCoreError, match=r"rounds\.jsonl cannot be read: Is a directory"):
        read_rounds(path)


def test_a_cell_belongs_to_the_newest_run_with_its_samples():
    old, new = run(1e-6, 2e-6), run(1e-6, 2e-6)
    assert run_of("f.time_it", [1e-6, 2e-6], [old, new]) is new
    assert run_of("f.time_it", [1e-6, 2e-6], [old, run(3e-6)]) is old
    assert run_of("f.time_it", [1e-6, 2.1e-6], [old, new]) is None
    assert run_of("f.time_other", [1e-6, 2e-6], [old]) is None
