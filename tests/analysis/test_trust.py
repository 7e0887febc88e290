import math
from dataclasses import replace

from bench_core.analysis.trust import trust
from bench_core.records.report import RunKey, TrustedRun
from bench_core.records.results import Circumstances, Store, Tally

NOTHING = Store(())


def cells(make_cell, *spreads):
    return [make_cell("f.C.time_it", {"way": str(index)}, 1, spread=spread) for index, spread in enumerate(spreads)]


def said(commit, date, *findings):
    return Circumstances(date, commit * 40, {}, findings)


def test_noise_is_the_quartiles_of_the_half_widths(make_cell, make_subject):
    found = trust(make_subject(cells(make_cell, 0.01, 0.02, 0.03, 0.04, 0.05)), NOTHING)
    assert [round(quartile, 6) for quartile in found.noise] == [0.02, 0.03, 0.04]


def test_values_without_an_interval_have_no_noise(make_cell, make_subject):
    assert all(math.isnan(quartile) for quartile in trust(make_subject(cells(make_cell, math.inf)), NOTHING).noise)


def test_one_value_is_its_own_quartiles(make_cell, make_subject):
    assert [round(quartile, 6) for quartile in trust(make_subject(cells(make_cell, 0.02)), NOTHING).noise] == [0.02] * 3


def test_uncertain_cells_are_named(make_cell, make_subject):
    found = trust(make_subject(cells(make_cell, 0.09, 0.11, math.inf)), NOTHING)
    assert found.unsure == ("f.C.time_it(1)",)


def test_cells_without_an_interval_are_counted_beside_those_whose_noise_is_known(make_cell, make_subject):
    found = trust(make_subject(cells(make_cell, 0.01, 0.02, math.inf)), NOTHING)
    assert (found.known, found.unknown) == (2, 1)


BUSY = ("warning", "It is busy.", "Wait.")
HOT = ("warning", "It is hot.", "Open a window.")


def test_the_doctors_findings_of_a_run_do_not_count_for_another_run_of_the_same_commit(make_cell, make_subject):
    subject = make_subject(cells(make_cell, 0.01, 0.01, 0.01, 0.01))
    dates = ("2026-01-02T03:00:00+00:00", "2026-01-09T03:00:00+00:00", "2026-01-16T03:00:00+00:00")
    keys = [RunKey("cccccccc-env.json", date) for date in dates]
    values = zip(subject.cells.items(), [*keys, keys[0]], strict=True)
    subject = replace(subject, cells={name: replace(each, run=key) for (name, each), key in values})
    lines = (said("c", dates[0], BUSY, HOT), said("c", dates[1]), said("d", dates[2], HOT))
    assert trust(subject, Store((), circumstances={"box": lines})).runs == (
        TrustedRun(keys[2], "c" * 40, 1, None),
        TrustedRun(keys[1], "c" * 40, 1, ()),
        TrustedRun(keys[0], "c" * 40, 2, (BUSY, HOT)),
    )


def test_the_doctors_findings_on_another_machine_do_not_count(make_cell, make_subject):
    store = Store((), circumstances={"other": (said("c", "2026-01-02T03:00:00+00:00", BUSY),)})
    (run,) = trust(make_subject(cells(make_cell, 0.01)), store).runs
    assert run.doctor is None


def test_the_controls_are_those_of_the_machines_gates(make_cell, make_subject):
    subject = make_subject(cells(make_cell, 0.01))
    tally = Tally(7, 40, 1, 0, 0.1)
    assert trust(subject, Store((), ledgers={"box": tally})).controls == tally
    assert trust(subject, Store((), ledgers={"other": tally})).controls is None


def test_the_method_counts_the_samples(make_cell, make_subject):
    few, many = cells(make_cell, 0.01, 0.01)
    found = trust(make_subject([replace(few, samples=5), replace(many, samples=100)]), NOTHING)
    assert "(5 to 100 a cell, median 52.5)" in found.method[0]


def test_the_method_says_nothing_of_what_was_not_measured(make_cell, make_subject):
    times = trust(make_subject(cells(make_cell, 0.01)), NOTHING).method
    assert not any("Memory" in sentence or "tracked" in sentence for sentence in times)
    memory = trust(make_subject([make_cell("f.C.peakmem_it", {}, 1, kind="peakmemory", unit="bytes")]), NOTHING).method
    assert memory == ("Memory is measured once, without an interval.",)
