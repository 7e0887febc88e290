"""The file beside asv's results."""

import json
import math
from pathlib import Path

import pytest

from bench_core.errors import BenchCoreError
from bench_core.records.rounds import Group, Rounds, Visit
from bench_core.results.rounds import RoundsFile, beside, read_rounds, require_rounds, run_of, write_rounds

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


def add(path, *runs):
    for one in runs:
        write_rounds(path, one)


def test_runs_come_back_as_they_were_written(path):
    runs = (
        run(1.0e-7 / 3, 2e-6, name=ODD),
        run(1e-6, readings={"f.track": math.inf}, failed={"a": "b"}, notes=("n",), interrupted=True),
    )
    add(path, *runs)
    assert read_rounds(path) == RoundsFile(runs)
    assert beside(path).name == "abc-env.rounds.jsonl"  # asv reads every .json
    assert len(beside(path).read_text().splitlines()) == 2


def test_without_a_file_there_are_no_runs(path):
    assert read_rounds(path) == RoundsFile()


def test_a_run_replaces_its_own_line_and_no_other(path):
    add(path, run(1e-6), run(2e-6))
    write_rounds(path, run(2e-6, 2e-6), instead=run(2e-6))
    assert read_rounds(path).runs == (run(1e-6), run(2e-6, 2e-6))
    write_rounds(path, run(3e-6), alone=True)
    assert read_rounds(path).runs == (run(3e-6),)


def test_a_last_line_that_was_cut_off_is_named_and_the_others_are_read(path):
    add(path, run(1e-6), run(2e-6))
    text = beside(path).read_text()
    found = read_rounds(written(path, text[:-20]))
    assert found.runs == (run(1e-6),)
    assert found.damaged[0].startswith("line 2 cannot be used")


def test_a_last_line_without_its_end_is_whole_and_so_is_the_next(path):
    add(path, run(1e-6))
    written(path, beside(path).read_text().rstrip())
    add(path, run(2e-6))
    assert read_rounds(path) == RoundsFile((run(1e-6), run(2e-6)))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: "{", "Expecting"),
        (lambda content: "[1]", "its top level is no object"),
        (lambda content: json.dumps({**content, "schema": None}), "its schema is null"),
        (
            lambda content: json.dumps(content | {"schema": 2}),
            "a newer bench_core wrote it (schema 2, this one reads 1): upgrade",
        ),
        (lambda content: json.dumps(content | {"groups": 3}), "groups"),
        (lambda content: json.dumps({key: value for key, value in content.items() if key != "seconds"}), "seconds"),
        (lambda content: json.dumps(content).replace("1e-06", "0"), "0 s is no time of f.time_it"),
        (lambda content: json.dumps(content).replace("1e-06", "-1"), "-1 s is no time of f.time_it"),
        (lambda content: json.dumps(content).replace("1e-06", "null"), "nan s is no time of f.time_it"),
        (lambda content: "[" * 100_000, "recursion"),
        (lambda content: "\udcff", "decode"),
    ],
)
def test_a_damaged_line_is_named_with_its_cure_and_kept_and_the_others_are_read(path, damage, complaint):
    add(path, run(2e-6), run(1e-6), run(3e-6))
    first, second, third = beside(path).read_text().splitlines()
    broken = damage(json.loads(second)).encode(errors="surrogateescape")
    beside(path).write_bytes(b"\n".join((first.encode(), broken, third.encode(), b"")))
    found = read_rounds(path)
    assert found.runs == (run(2e-6), run(3e-6))
    (fault,) = found.damaged
    assert fault.startswith("line 2 cannot be used: ")
    assert complaint in fault
    assert fault.endswith(" Restore the line from a copy, or delete it.")
    write_rounds(path, run(4e-6), instead=run(3e-6))
    assert beside(path).read_bytes().splitlines()[1] == broken
    assert read_rounds(path).runs == (run(2e-6), run(4e-6))


def test_what_is_no_file_is_named_on_reading_and_refused_before_writing(path):
    require_rounds(path)  # without a file, one is made
    beside(path).mkdir()
    assert read_rounds(path).damaged == ("it cannot be read: Is a directory. Make it a readable file, or remove it.",)
    for refuse in (require_rounds, lambda path: write_rounds(path, run(1e-6))):
        with pytest.raises(BenchCoreError, match=r"rounds\.jsonl cannot be read and written: Is a directory"):
            refuse(path)


def test_a_cell_belongs_to_the_newest_run_with_its_samples():
    old, new = run(1e-6, 2e-6), run(1e-6, 2e-6)
    assert run_of("f.time_it", [1e-6, 2e-6], [old, new]) is new
    assert run_of("f.time_it", [1e-6, 2e-6], [old, run(3e-6)]) is old
    assert run_of("f.time_it", [1e-6, 2.1e-6], [old, new]) is None
    assert run_of("f.time_other", [1e-6, 2e-6], [old]) is None


OWN = sorted((Path(__file__).parent.parent.parent / "results").rglob("*.rounds.jsonl"))


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.parent.name)
def test_the_runs_that_this_project_keeps_can_be_read(file):
    found = read_rounds(file.with_name(file.name.replace(".rounds.jsonl", ".json")))
    assert found.runs
    assert found == RoundsFile(found.runs), "no line is damaged"
