import math
from dataclasses import replace

from bench_core.analysis.trust import trust
from bench_core.results.gate_file import Tally
from bench_core.results.store import Circumstances, Store

NOTHING = Store(())


def cells(make_cell, *spreads):
    return [make_cell("f.C.time_it", {"way": str(index)}, 1, spread=spread) for index, spread in enumerate(spreads)]


def said(commit, *findings):
    return Circumstances("2026-01-01T00:00:00+00:00", commit * 40, {}, findings)


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


def test_what_doctor_said_of_the_values_commits_is_kept_once(make_cell, make_subject):
    frequency, load = ("warning", "The governor is powersave.", "Set it."), ("warning", "It is busy.", "Wait.")
    store = Store((), circumstances={"box": (said("c", frequency), said("d", load), said("c", load, frequency))})
    subject = make_subject(cells(make_cell, 0.01), commit="c" * 40)
    assert trust(subject, store).doctor == (load, frequency)


def test_what_doctor_said_of_other_commits_is_left_out(make_cell, make_subject):
    store = Store((), circumstances={"box": (said("d", ("warning", "It is busy.", "Wait.")),)})
    assert trust(make_subject(cells(make_cell, 0.01)), store).doctor == ()


def test_the_controls_of_the_machines_gates_are_counted(make_cell, make_subject):
    subject = make_subject(cells(make_cell, 0.01))
    assert trust(subject, Store((), ledgers={"box": Tally(7, 40, 1, 0, 0.1)})).controls == (7, 1)
    assert trust(subject, Store((), ledgers={"other": Tally(7, 40, 1, 0, 0.1)})).controls is None


def test_the_method_counts_the_samples(make_cell, make_subject):
    few, many = cells(make_cell, 0.01, 0.01)
    found = trust(make_subject([replace(few, samples=5), replace(many, samples=100)]), NOTHING)
    assert "(5 to 100 a cell, 52.5 in the middle)" in found.method[0]


def test_the_method_says_nothing_of_what_was_not_measured(make_cell, make_subject):
    times = trust(make_subject(cells(make_cell, 0.01)), NOTHING).method
    assert not any("Memory" in sentence or "tracked" in sentence for sentence in times)
    memory = trust(make_subject([make_cell("f.C.peakmem_it", {}, 1, kind="peakmemory", unit="bytes")]), NOTHING).method
    assert memory == ("Memory is read once, without an interval.",)
