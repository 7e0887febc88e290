import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.analysis.compare import BETWEEN_RUNS, Stored, chosen, compare, run_of
from bench_core.errors import BenchCoreError
from bench_core.records.gate import Asked
from bench_core.records.results import Run, SideName, Store, StoredGate, Summary
from bench_core.report.compare import markdown


def stored(cells, *, machine="box", commit="a" * 40, torch="2.13.0", name="one"):
    return Stored(name, machine, commit, {"machine": machine, "torch": torch}, {cell.name: cell for cell in cells})


@pytest.fixture
def times(make_cell):
    def of(**values):
        return [make_cell("f.C.time_it", {"way": way}, value) for way, value in values.items()]

    return of


@pytest.fixture
def make_run(times):
    def run(commit, machine="box", torch="2.13.0", environment="env", python="3.11"):
        return Run(
            path=Path("x.json"),
            machine=machine,
            commit=commit.ljust(40, "0"),
            committed="2026-01-02T00:00:00+00:00",
            measured="2026-01-02T01:00:00+00:00",
            environment=environment,
            description={"machine": machine, "torch": torch, "python": python},
            cells=tuple(times(a=1)),
            failed=(),
        )

    return run


def names(cells):
    return [cell.cell for cell in cells]


def test_cells_are_compared_with_the_first_result_slowest_first(times):
    found = compare(stored(times(a=1, b=1, c=1)), stored(times(a=1, b=3, c=0.5), commit="b" * 40))
    assert [(cell.cell, cell.ratio.middle) for cell in found.cells] == [
        ("f.C.time_it(b)", 3),
        ("f.C.time_it(a)", 1),
        ("f.C.time_it(c)", 0.5),
    ]
    assert names(found.slower) == ["f.C.time_it(b)"]
    assert names(found.faster) == ["f.C.time_it(c)"]
    assert found.inconclusive == 1


def test_tracked_values_are_counted_as_larger_or_smaller(times):
    def tracked(**values):
        return stored([replace(cell, kind="track", unit="entries") for cell in times(**values)])

    def counted(first, second):
        return next(line for line in markdown(compare(first, second)).splitlines() if " in both: " in line)

    assert "2 larger in B, 1 smaller, 0 inc" in counted(tracked(a=1, b=1, c=1), tracked(a=2, b=3, c=0.5))
    assert "1 slower in B, 1 faster, 0 inc" in counted(stored(times(a=1, b=1)), stored(times(a=2, b=0.5)))


def test_a_difference_that_two_runs_of_the_same_code_may_have_is_not_reported(times):
    certain = 1.01 / 0.99
    for factor, differs in ((1 + BETWEEN_RUNS - 0.001, False), (1 + BETWEEN_RUNS + 0.001, True)):
        found = compare(stored(times(a=1)), stored(times(a=certain * factor)))
        assert [cell.differs for cell in found.cells] == [differs]


def test_the_geometric_mean_is_of_the_times(times, make_cell):
    memory = [[make_cell("f.C.peakmem_it", {}, value, kind="peakmemory", unit="bytes")] for value in (1, 100)]
    found = compare(stored([*times(a=1, b=1), *memory[0]]), stored([*times(a=2, b=8), *memory[1]]))
    assert found.geometric_mean == pytest.approx(4)


def test_a_value_that_is_not_positive_has_no_ratio(make_cell):
    first, second = (stored([make_cell("f.C.track_it", {}, value, kind="track", unit="steps")]) for value in (0.0, 1.0))
    (cell,) = compare(first, second).cells
    assert math.isnan(cell.ratio.middle)
    assert not cell.differs


@pytest.mark.parametrize(
    ("kind", "unit", "values", "changed"),
    [
        ("peakmemory", "bytes", (100, 200), True),
        ("peakmemory", "bytes", (100, 100.9), False),
        ("track", "loss", (-20.0, -21.0), True),
        ("track", "steps", (0, 1), True),
        ("track", "steps", (0, 0), False),
        ("time", "seconds", (1.0, 1.05), False),
        ("time", "seconds", (1.0, 1.2), True),
    ],
)
def test_what_has_no_interval_changed_where_two_readings_would_not_differ_as_much(
    make_cell, kind, unit, values, changed
):
    first, second = (make_cell("f.C.it", {}, value, kind=kind, unit=unit, spread=math.inf) for value in values)
    found = compare(stored([first]), stored([second]))
    assert [cell.changed for cell in found.cells] == [changed]
    assert (len(found.changed), found.inconclusive) == (changed, not changed)
    assert not found.cells[0].differs


def test_what_has_an_interval_differs_and_is_not_only_changed(times):
    (cell,) = compare(stored(times(a=1)), stored(times(a=2))).cells
    assert (cell.differs, cell.changed) == (True, False)


def test_cells_of_one_side_are_named(times):
    found = compare(stored(times(a=1, b=1)), stored(times(b=1, c=1)))
    assert (found.only_first, found.only_second) == (("f.C.time_it(a)",), ("f.C.time_it(c)",))


def test_two_commits_are_compared_by_a_gate(times):
    found = compare(stored(times(a=1)), stored(times(a=1), commit="b" * 40))
    assert found.gate == "bench-core gate aaaaaaaa bbbbbbbb"


def test_two_versions_of_torch_are_compared_by_a_gate_of_two_installs(times):
    found = compare(stored(times(a=1), torch="2.9.0+cpu"), stored(times(a=1), torch="2.13.0+cpu"))
    assert found.gate == "bench-core gate --versus torch==2.9.0 torch==2.13.0"
    assert found.differences == ("torch: 2.9.0+cpu → 2.13.0+cpu",)
    assert found.tells == "the two versions of torch"


@pytest.mark.parametrize("commit", ["b" * 40, None])
def test_a_gate_of_two_installs_compares_only_torch_if_the_code_may_differ(times, commit):
    found = compare(stored(times(a=1), torch="2.9.0"), stored(times(a=1), torch="2.13.0", commit=commit))
    assert found.tells == "the two versions of torch with the same code"


def test_no_gate_compares_two_machines(times):
    assert compare(stored(times(a=1)), stored(times(a=1), machine="other", commit="b" * 40)).gate == ""


def pick(runs, *asked, **options):
    return [result.name for result in chosen(Store(tuple(runs)), asked, **options)]


def test_a_commit_is_named_by_the_beginning_of_its_hash(make_run):
    assert pick([make_run("abcd1"), make_run("ef012")], "abcd", "ef012") == [
        "abcd1000 on box, torch 2.13.0",
        "ef012000 on box, torch 2.13.0",
    ]


def test_a_commit_is_named_as_git_knows_it(make_run):
    git = {"main": "abcd1".ljust(40, "0"), "old": "ef012".ljust(40, "0")}
    runs = [make_run("abcd1"), make_run("ef012")]
    assert pick(runs, "old", "main", resolve=lambda name: git.get(name, "")) == [
        "ef012000 on box, torch 2.13.0",
        "abcd1000 on box, torch 2.13.0",
    ]


def test_machines_and_versions_are_named_as_they_are(make_run):
    runs = [make_run("abcd1"), make_run("abcd1", machine="other"), make_run("abcd1", torch="2.9.0")]
    assert pick(runs, "box", "other") == ["box, torch 2.13.0, the newest", "other, torch 2.13.0, the newest"]
    assert pick(runs, "torch==2.9.0", "torch==2.13.0") == [
        "box, torch 2.9.0, the newest",
        "box, torch 2.13.0, the newest",
    ]


def test_of_several_results_those_with_most_in_common_are_taken(make_run):
    runs = [
        make_run(commit, machine=machine, torch=torch)
        for commit, machine, torch in (
            ("abcd1", "box", "2.13.0"),
            ("abcd1", "other", "2.9.0"),
            ("ef012", "other", "2.9.0"),
        )
    ]
    assert pick(runs, "abcd1", "ef012") == ["abcd1000 on other, torch 2.9.0", "ef012000 on other, torch 2.9.0"]


def test_two_pairs_that_are_as_alike_need_a_machine(make_run):
    runs = [make_run(commit, machine=machine) for commit in ("abcd1", "ef012") for machine in ("box", "other")]
    with pytest.raises(BenchCoreError, match=r"(?s)ambiguous.*on box.*on other.*--machine"):
        pick(runs, "abcd1", "ef012")
    assert pick(runs, "abcd1", "ef012", machine="other") == [
        "abcd1000 on other, torch 2.13.0",
        "ef012000 on other, torch 2.13.0",
    ]


def test_a_beginning_of_several_hashes_names_them(make_run):
    with pytest.raises(BenchCoreError, match="abcd is the beginning of several commits: abcd1.*, abcd2.*Use a longer"):
        pick([make_run("abcd1"), make_run("abcd2")], "abcd", "abcd1")


def test_an_unknown_name_lists_what_there_is(make_run):
    with pytest.raises(BenchCoreError, match=r"(?s)'nope' is no file.*commits abcd1000; machines box; torch 2\.13\.0"):
        pick([make_run("abcd1")], "nope", "abcd1")


def test_a_commit_without_results_says_so(make_run):
    with pytest.raises(
        BenchCoreError, match=r"the commit main \(99999999\) has no results\. There are results of: commits ab"
    ):
        pick([make_run("abcd1")], "main", "abcd1", resolve=lambda name: "9" * 40)


def gate(base, head, changed=(), **others):
    sides = SideName("old", base.ljust(40, "0"), ()), SideName("new", head.ljust(40, "0"), changed)
    return StoredGate(Path("gates.jsonl"), Summary(*sides, {"machine": "box"}, "", "regression", "", (), **others))


def test_the_command_of_a_gate_that_confined_its_head_confines_it_again(make_run):
    store = Store((make_run("abcd1"),), gates=(gate("abcd1", "99999", asked=Asked(isolated=True)),))
    with pytest.raises(BenchCoreError, match="`bench-core gate abcd1000 99999000 --isolated`"):
        chosen(store, ("main", "abcd1"), resolve=lambda name: "99999".ljust(40, "0"))


def test_a_commit_without_results_that_a_gate_has_judged_says_how_to_see_it(make_run):
    store = Store((make_run("abcd1"),), gates=(gate("abcd1", "99999"), gate("99999", "abcd1")))
    with pytest.raises(
        BenchCoreError, match=r"judged it \(regression against old\).*`bench-core gate abcd1000 99999000`"
    ):
        chosen(store, ("main", "abcd1"), resolve=lambda name: "99999".ljust(40, "0"))


def test_a_gate_on_what_is_not_committed_has_not_judged_the_commit(make_run):
    store = Store((make_run("abcd1"),), gates=(gate("abcd1", "99999", ("a.py",)),))
    with pytest.raises(BenchCoreError, match=r"has no results\. There are results of: "):
        chosen(store, ("main", "abcd1"), resolve=lambda name: "99999".ljust(40, "0"))


def test_one_result_named_twice_asks_for_another(make_run):
    with pytest.raises(
        BenchCoreError, match=r"same result, abcd1000 on .*\. Name two results\. There are results of: c"
    ):
        pick([make_run("abcd1"), make_run("ef012")], "abcd1", "abcd1")


def test_of_a_commits_runs_the_one_measured_last_is_taken(make_run):
    early, late = (replace(make_run("abcd1"), measured=f"2026-01-0{day}", path=Path(f"{day}.json")) for day in (2, 3))
    store = Store((late, early, replace(make_run("ef012"), measured="2026-01-04")))
    assert run_of(store, "abcd").path == Path("3.json")
    assert run_of(store, "main", resolve=lambda name: str(early.commit)).path == Path("3.json")
    with pytest.raises(
        BenchCoreError, match=r"'nope' is no file or folder, and no commit or machine with results\. There are "
    ):
        run_of(store, "nope")


def test_an_unknown_machine_lists_what_there_is(make_run):
    with pytest.raises(BenchCoreError, match=r"of the machine 'nope'\. .*machines box"):
        pick([make_run("abcd1")], "abcd1", "abcd1", machine="nope")


def test_a_result_is_not_compared_with_itself(make_run):
    with pytest.raises(BenchCoreError, match="same result, abcd1000"):
        pick([make_run("abcd1")], "abcd1", "abcd1")


def test_a_file_is_taken_as_it_is(tmp_path):
    declared = {"f.C.time_it": {"name": "f.C.time_it", "param_names": [], "type": "time", "unit": "seconds"}}
    (tmp_path / "benchmarks.json").write_text(json.dumps({**declared, "version": 2}))
    for name, value in (("one.json", 1.0), ("two.json", 2.0)):
        content = {
            "commit_hash": name[0] * 40,
            "params": {"machine": "box"},
            "result_columns": ["result", "params"],
            "results": {"f.C.time_it": [[value], []]},
            "version": 2,
        }
        (tmp_path / name).write_text(json.dumps(content))
    first, second = chosen(Store(()), (str(tmp_path / "one.json"), str(tmp_path / "two.json")))
    assert [(result.name, result.commit) for result in (first, second)] == [
        ("one.json", "o" * 40),
        ("two.json", "t" * 40),
    ]
    assert second.cells["f.C.time_it"].value.middle == 2
