import io
import math
import re
import shlex
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench_core.errors import brief
from bench_core.gate.judge.cell import judge_evidence
from bench_core.gate.judge.gate import judge
from bench_core.records.gate import (
    Bound,
    Cause,
    CellEvidence,
    Change,
    Effect,
    GateRecord,
    GateSettings,
    GateVerdict,
    Instructions,
    JudgedCell,
    Judgement,
    Noise,
)
from bench_core.records.results import Tally
from bench_core.records.run import Interval
from bench_core.records.version import Commit, Install, WorkingTree
from bench_core.report import gate
from bench_core.report.gate.words import CONTROL_DIFFERS, LARGEST, closing, grouped, version

COMMAND = gate.GateCommands("bench-core gate main --full")
NOISE = Noise(0.004, 0.005, 0.02, 0.001, 0.0, 0.3)


def cell(name, base=1e-6, head=1e-6, pairs=12, unit="seconds", **named):
    effects = tuple(Effect(i, i // 3, math.log(head / base), base, head, 40) for i in range(pairs))
    kinds = {".peakmem_": "peakmemory", ".track_": "track"}
    kind = next((kind for part, kind in kinds.items() if part in name), "time")
    return CellEvidence(name, name.partition("(")[0], {}, kind, unit, effects, 1.5, **named)


def judged(verdict, low, middle, high, reason="", detectable=0.031, unit="pair"):
    at_most = Bound(high, 0.99)
    return Judgement(Interval(low, middle, high, 0.98), verdict, reason, detectable, unit, at_most=at_most)


SLOWER = (cell("fills.Fill.time_fill(cpu, 8x4)", 1.234e-6, 1.298e-6), judged("regression", 1.041, 1.052, 1.063))
SLOWEST = (
    cell("reads.Read.peakmem_read(cpu, mmap-2)", 1 << 20, 3 << 20, unit="bytes"),
    judged("regression", 2.9, 3.0, 3.1, unit="parent"),
)
BROKEN = (
    cell("fills.Fill.time_zero", pairs=0, error="setup: KeyError: 1", error_side="head"),
    judged("error", 0.0, math.nan, math.inf, "head: setup: KeyError: 1", math.inf),
)
FAILED = (
    cell("fills.Fill.time_one", pairs=0, error="does not answer"),
    judged("error", 0.0, math.nan, math.inf, "does not answer", math.inf),
)
UNKNOWN = (
    cell("ties.Tie.time_tie(a)", 1e-3, 1.02e-3, 5),
    judged("inconclusive", 0.98, 1.02, math.inf, "noise: pairs scatter by 4.0 %, 5 pairs", 0.072),
)
NEVER = (
    cell("ties.Tie.time_tie(b)", pairs=0),
    judged("inconclusive", 0.0, math.nan, math.inf, "budget: never measured", math.inf),
)
FASTER = (cell("ties.Tie.time_untie", 2e-3, 1e-3), judged("improvement", 0.49, 0.5, 0.51))
PASSED = [
    (cell("fills.Same.time_a"), judged("pass", 0.98, 1.0, 1.029)),
    (cell("fills.Same.time_b"), judged("pass", 0.98, 0.9999, 1.012)),
]
ALL = [*PASSED, FASTER, NEVER, UNKNOWN, FAILED, SLOWER, BROKEN, SLOWEST]

BASE = Commit("main", "1a2b3c4d" + "0" * 32, "d", "b")
HEAD = WorkingTree("1a2b3c4d" + "0" * 32, ("a", "b", "c"), "e", "b")
RECORD = GateRecord(
    BASE,
    HEAD,
    GateSettings(seed=123),
    {"machine": "tester", "os": "Linux"},
    "2026-01-02T03:04:05+00:00",
    58.2,
    cells=(),
    controls=(cell("fills.Same.time_a"), cell("fills.Same.time_b")),
    left_out={"x.time_x": "needs cuda", "x.time_y": "needs cuda", "x.time_z": "only on base"},
)


def of(cells=ALL, verdict="regression", reason="2 of 9 cells slower", **changes):
    cells = tuple(JudgedCell(*both) for both in cells)
    record = replace(RECORD, cells=tuple(one.evidence for one in cells), **changes)
    controls = tuple(JudgedCell(one, judged("pass", 0.99, 1.0, 1.01)) for one in record.controls)
    suite = judged("inconclusive", 0.995, 1.004, 1.012)
    undecided = [one for one in cells if one.verdict == "inconclusive" and not one.judgement.decided]
    missing = 2.5 * len(undecided)
    return record, GateVerdict(verdict, reason, cells, controls, suite, False, NOISE, missing=missing)


def with_control(verdict, judgement):
    """The verdict with another judgement on its first control."""
    first, *others = verdict.controls
    return replace(verdict, controls=(replace(first, judgement=judgement), *others))


def text(record, verdict, command=COMMAND, width=100, **named):
    console = Console(width=width, file=io.StringIO())
    console.print(gate.summary(record, verdict, command, **named), crop=False)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


OLDER = replace(BASE, name="v1.2")

SINCE = gate.GateCommands("bench-core gate main --full", "bench-core gate v1.2 --full")


def with_past(cells, verdict="regression", gates=PASSED, **changes):
    """A gate whose head is compared with a past version, too."""
    record, judged = of(gates, verdict, "since v1.2, 1 of 3 cells slower", **changes)
    past, found = of(cells, verdict, judged.reason, base=OLDER)
    return replace(record, past=replace(past, controls=())), replace(judged, past=replace(found, controls=()))


CAUSE = Cause(
    "fills.Fill.time_fill(cpu, 8x4)",
    "2 more aten::normal_ (1 → 3)",
    operators=(Change("aten::normal_", "calls", 1, 3),),
    without="valgrind is not installed",
)

INSTRUCTIONS = (
    Instructions("fills.Same.time_a", 1000.0, 1000.0, "same work"),
    Instructions("fills.Fill.time_fill(cpu, 8x4)", 2000.0, 2100.0, "more work"),
    Instructions("ties.Tie.time_untie", math.nan, math.nan, "it runs on cuda"),
)


def unbelievable():
    """A gate whose control found a difference."""
    record, verdict = of([UNKNOWN, *PASSED], "inconclusive", "control: base against itself read +5.2 %")
    return record, replace(with_control(verdict, SLOWER[1]), control_differs=True)


def slower_together():
    """A gate in which only all cells together are slower, and one of them is explained."""
    record, verdict = of(PASSED, "regression", causes=(replace(CAUSE, cell="fills.Same.time_a"),))
    return record, replace(verdict, suite=judged("regression", 1.007, 1.01, 1.013, "at least +0.7 %"))


INSTALL = Install("torch==2.11.0", "d", ("torch",))
BESIDES = tuple(f"x{number} 1 → 2" for number in range(8))


def briefly(record, verdict):
    """Without the lines that every gate has."""
    silent = Noise(*[math.nan] * 6)
    past = record.past and replace(record.past, left_out={})
    return replace(record, left_out={}, past=past), replace(verdict, noise=silent)


GATES = {
    "every verdict": of(),
    "explained": of([SLOWER, FASTER, *PASSED], causes=(CAUSE,), instructions=INSTRUCTIONS, first_pair=7),
    "past version": with_past([SLOWER, UNKNOWN, FASTER, *PASSED, FAILED]),
    "all cells together": slower_together(),
    "control found a difference": unbelievable(),
    "two installs": of(
        PASSED,
        "pass",
        "2 cells, none slower by 5 %; not a fair pair: BLAS: mkl on base, none on head",
        base=INSTALL,
        head=replace(INSTALL, name="torch==2.13.0"),
        code=BASE,
        besides=BESIDES,
        unfair=("BLAS: mkl on base, none on head",),
    ),
    "interrupted": of([NEVER, PASSED[0]], "inconclusive", "1 of 2 cells inconclusive", interrupted=True),
    "nothing measured": of([FAILED], "error", "nothing was measured"),
    "identical": of([], "pass", identical="the code is the same"),
}

FORMS = {
    "terminal": lambda *both: text(*both, SINCE, tally=Tally(30, 212, 1, 0.0001, 0.026)),
    "Markdown": lambda *both: gate.markdown(*both, SINCE),
    "annotations": lambda *both: "\n".join(gate.workflow_commands(*both)),
    "JUnit": lambda *both: gate.junit(*both),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", GATES)
def test_the_wording(name, form, snapshot):
    found = GATES[name] if name == "every verdict" else briefly(*GATES[name])
    assert FORMS[form](*found) == snapshot


def test_tracked_values_are_shown_as_they_were_read():
    row = (cell("a.track_length", 8915, 12915, 4, unit="characters"), judged("regression", 1.44, 1.45, 1.46))
    assert "8,915 characters → 12,915 characters" in text(*of([row]))
    assert "| 8,915 characters | 12,915 characters |" in gate.markdown(*of([row]), COMMAND)


SMALLER = (cell("reads.Read.track_reads", 2, 1, unit="reads"), judged("improvement", 0.49, 0.5, 0.51))
UNSURE = (
    cell("reads.Read.track_retries", 100, 102, 5, unit="retries"),
    judged("inconclusive", 0.99, 1.02, 1.06, "noise: 5 pairs read from -1.0 % to +6.0 %", 0.072),
)


@pytest.mark.parametrize(
    ("cells", "titles"),
    [
        ([SLOWER, FASTER], ["Slower", "Faster"]),
        ([SLOWEST, SMALLER], ["Larger", "Smaller"]),
        ([SLOWER, SLOWEST, SMALLER, FASTER], ["Slower or larger", "Faster or smaller"]),
    ],
    ids=["times", "others", "both"],
)
def test_the_titles_suit_what_was_measured(cells, titles):
    worse, better = titles
    page = gate.markdown(*of(cells), COMMAND).splitlines()
    assert [line for line in text(*of(cells)).splitlines() if line in titles] == titles
    assert [line for line in page if line.startswith("### ")] == [f"### {worse}", f"### {better}"]
    record, verdict = with_past(cells)
    assert f"{worse} since v1.2 1a2b3c4d" in text(record, verdict, SINCE).splitlines()
    assert f"### {worse} since v1.2 1a2b3c4d" in gate.markdown(record, verdict, SINCE).splitlines()
    count = len(cells) // 2
    counted = f"since v1.2 1a2b3c4d: {count} {worse.lower()}, {count} {better.lower()}"
    assert counted in text(record, verdict, SINCE).splitlines()


def test_a_tracked_value_that_is_not_decided_is_not_called_slow():
    shown = text(*of([UNSURE]))
    assert "smallest detectable increase: +7.2 %" in shown
    assert "1 cell seems larger by between the noise floor and the limit (+2.0 % in the median)" in shown
    assert "smallest detectable slowdown: +7.2 %" in text(*of([UNKNOWN]))


READ = [
    (cell("fills.Same.peakmem_a", unit="bytes"), replace(judged("pass", 1.0, 1.0, 1.002), at_most=Bound(1.002))),
    (cell("fills.Same.track_a", unit="entries"), replace(judged("pass", 1.0, 1.0, 1.001), at_most=Bound(1.001))),
]


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (PASSED, "2 pass, each at most +2.9 % (99 %)"),
        (READ, "2 pass, each at most +0.2 %"),
        ([*PASSED, *READ], "4 pass, 2 timed ones each at most +2.9 % (99 %), 2 others each at most +0.2 %"),
        ([PASSED[1], READ[0]], "2 pass, 1 timed one at most +1.2 % (99 %), 1 other at most +0.2 %"),
    ],
    ids=["timed", "others", "both", "one of each"],
)
def test_only_the_bounds_of_timed_cells_have_a_confidence(cells, shown):
    record, verdict = of(cells, "pass")
    assert shown in text(record, verdict).splitlines()
    assert f"\n{shown}.\n" in gate.markdown(record, verdict, COMMAND)
    assert f"since v1.2 1a2b3c4d: {shown}" in text(*with_past(cells, "pass"), SINCE).splitlines()


@pytest.mark.parametrize("form", ["terminal", "Markdown", "JUnit"])
def test_the_seed_is_named_if_something_was_measured(form):
    unmeasured = {"settings": GateSettings(seed=0), "controls": ()}
    assert "seed" in FORMS[form](*of(PASSED, "pass"))
    assert "seed" not in FORMS[form](*of([], "pass", unaffected=("a.time_a",), **unmeasured))
    assert "seed" not in FORMS[form](*of([BROKEN], "error", **unmeasured))


def test_lines_to_copy_are_never_broken():
    lines = text(*of(), width=30).splitlines()
    assert r"    bench-core gate main --full --fresh --bench '^fills\.Fill\.time_fill\(cpu, 8x4\)$'" in lines


def test_the_command_selects_its_cell_and_no_other():
    name = "a.b(it's, $HOME|`x`, [1.5], 'q' - c)"
    *_, option, pattern = shlex.split(gate.reproducing(COMMAND.gate, name))
    assert option == "--bench"
    assert re.search(pattern, name)
    assert not re.search(pattern, name.replace("1.5", "1x5"))


def test_the_command_starts_anew_because_a_slower_cell_is_decided_already():
    assert "--fresh" in shlex.split(gate.reproducing(COMMAND.gate, "a.b"))


def test_names_are_no_markup():
    row = (cell("a.time_x([red], [/])", 1.0, 2.0), SLOWER[1])
    assert "a.time_x([red], [/])" in text(*of([row]))


def test_passing_cells_are_listed_when_asked_for():
    assert "fills.Same.time_b" not in text(*of())
    assert "fills.Same.time_b" in text(*of(), verbose=True)


def test_the_cause_of_a_slower_cell_is_below_it():
    lines = text(*of(causes=(CAUSE,))).splitlines()
    place = lines.index("    2 more aten::normal_ (1 → 3)")
    assert lines[place - 3].strip() == CAUSE.cell
    assert lines[place + 2].split() == ["aten::normal_", "1", "3", "+2", "calls"]


def test_a_cell_that_is_explained_because_only_all_cells_together_are_slower_is_listed_with_its_cause():
    record, verdict = slower_together()
    lines = text(record, verdict).splitlines()
    place = lines.index(LARGEST)
    assert lines[place + 1] == "  fills.Same.time_a"
    assert lines[place + 3] == f"    {CAUSE.sentence}"
    page = gate.markdown(record, verdict, COMMAND)
    assert page.index(f"### {LARGEST}") < page.index("### Why")


def test_a_slower_cell_is_listed_once():
    assert LARGEST not in text(*of(causes=(CAUSE,)))


def test_instructions_stand_beside_the_times_the_largest_difference_first():
    lines = text(*of(instructions=INSTRUCTIONS)).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("instructions a call"))
    rows = [" ".join(line.split()) for line in lines[place + 1 : place + 4]]
    assert rows == [
        "fills.Fill.time_fill(cpu, 8x4) 2,000 2,100 +5.00 % +5.2 % more work",
        "fills.Same.time_a 1,000 1,000 +0.00 % +0.0 % same work",
        "ties.Tie.time_untie n/a n/a n/a -50.0 % it runs on cuda",
    ]


def test_causes_are_in_the_markdown_and_no_markup():
    sentence = "2 more <b>__init__</b>"
    page = gate.markdown(*of(causes=(replace(CAUSE, sentence=sentence),)), COMMAND)
    assert "### Why" in page
    assert r"2 more &lt;b&gt;\_\_init\_\_&lt;/b&gt;" in page


def test_a_long_list_is_cut_with_its_count():
    lines = text(*of([SLOWER] * 25)).splitlines()
    assert lines.count("  fills.Fill.time_fill(cpu, 8x4)") == 20
    assert "  and 5 more; --json FILE keeps them all" in lines


def test_identical_versions_need_one_line():
    assert text(*of([], "pass", identical="the code is the same")) == "identical: the code is the same"


def test_an_interrupted_gate_says_so():
    assert "Interrupted: what was measured is stored" in text(*of(interrupted=True))
    assert "Interrupted" in gate.markdown(*of(interrupted=True), COMMAND)


def test_of_the_other_packages_that_differ_a_few_are_named_and_the_others_counted():
    shown = " ".join(text(*of(besides=BESIDES)).split())
    assert "x5 1 → 2, and 2 more" in shown
    assert "x6" not in shown


def test_a_pair_of_an_earlier_gate_is_counted_once_however_many_cells_it_measured():
    assert "continued from earlier gates on these versions: 7 pairs" in text(*of(first_pair=7))
    assert "continued from" not in text(*of(first_pair=0))


def test_a_control_that_found_a_difference_is_in_every_form_for_people():
    record, verdict = unbelievable()
    assert "2 cells of base against itself, 1 found a difference" in text(record, verdict)
    for shown in (text(record, verdict, width=200), gate.markdown(record, verdict, COMMAND)):
        assert CONTROL_DIFFERS in shown
    (first, *_) = gate.workflow_commands(record, verdict)
    assert first.startswith("::warning title=bench-core gate%3A a control found a difference::")


@pytest.mark.parametrize(("controls", "counted"), [(19, False), (20, True)])
def test_the_share_of_controls_is_given_once_there_are_enough(controls, counted):
    said = text(*of(), tally=Tally(3, controls, 0, 0.0, 0.17, damaged=1))
    assert (f"in all gates here, 0 of {controls} found one (at most 17.0 %)" in said) == counted
    assert "1 line of the ledger cut off" in said


def test_controls_that_failed_are_counted():
    record, verdict = of()
    assert ", no difference found, 1 failed" in text(record, with_control(verdict, FAILED[1]))


UNBOUNDED = judged("inconclusive", 0.0, 1.0, math.inf, "budget: 8 pairs, at least 11 are needed", math.inf)


@pytest.mark.parametrize(
    ("suite", "decided", "shown"),
    [(UNBOUNDED, True, False), (UNBOUNDED, False, True), (judged("pass", 0.99, 1.0, 1.01), True, True)],
    ids=["says nothing", "a cell is open", "has an interval"],
)
def test_all_cells_together_are_not_shown_if_they_say_nothing_and_every_cell_is_decided(suite, decided, shown):
    record, verdict = of([(cell, replace(one, decided=decided)) for cell, one in PASSED], "pass")
    assert ("all cells together" in text(record, replace(verdict, suite=suite))) == shown


def test_a_commit_is_named_once():
    assert version(replace(BASE, name="1a2b3c4d0")) == "1a2b3c4d"
    assert version(Install("torch==2.11.0", "d", ("torch",))) == "torch==2.11.0"


NOISES = {
    "within a pair": Noise(0.02, 0.02, 0.0, 0.0, 0.0, 0.0),
    "between pairs": Noise(0.01, 0.03, 0.0, 0.0, 0.0, 0.0),
    "between parents": Noise(0.01, 0.01, 0.02, 0.0, 0.0, -0.13),
    "order": Noise(0.01, 0.01, math.nan, 0.03, 0.0, 0.0),
    "forked first": Noise(0.01, 0.01, math.nan, 0.0, 0.03, math.nan),
}


@pytest.mark.parametrize("largest", NOISES)
def test_advice_follows_from_the_largest_cause_of_noise(largest, snapshot):
    record, verdict = of([], left_out={}, controls=())
    lines = closing(record, replace(verdict, suite=None, noise=NOISES[largest], control_differs=True), None)
    assert "\n".join(lines) == snapshot


def test_the_regressions_since_the_past_version_are_listed_with_their_own_commands():
    shown = text(*with_past([SLOWER, *PASSED, FAILED]), SINCE)
    name, measured, command = shown.partition("Slower since v1.2 1a2b3c4d\n")[2].splitlines()[:3]
    assert name.strip() == SLOWER[0].name
    assert "+5.2 % (+4.1 … +6.3 %)" in measured
    assert "bench-core gate v1.2 --full --fresh --bench" in command


def test_a_cell_that_fails_with_head_only_counts_among_those_that_cannot_be_compared_with_the_past_version():
    def missing(*cells):
        record, verdict = with_past([*PASSED, *cells])
        found = re.search(r"(\d+) cells? cannot be compared", text(record, verdict, SINCE))
        return int(found[1]) - len(record.past.left_out)

    assert [missing(), missing(FAILED), missing(BROKEN), missing(BROKEN, FAILED)] == [0, 1, 1, 2]


def test_what_small_steps_add_up_to_is_shown_although_everything_passes():
    shown = text(*with_past(PASSED, "pass"), SINCE)
    assert (
        "since v1.2 1a2b3c4d: 2 pass, each at most +2.9 % (99 %)\n  all cells together: +0.4 % (-0.5 … +1.2 %)" in shown
    )


def test_a_regression_since_the_past_version_is_in_every_form():
    record, verdict = with_past([SLOWER, *PASSED])
    page = gate.markdown(record, verdict, SINCE)
    assert "### Slower since v1.2 1a2b3c4d" in page
    assert "bench-core gate v1.2 --full --fresh" in page
    assert any(verdict.past.reason in line for line in gate.workflow_commands(record, verdict))
    (failure,) = parsed(record, verdict).iter("failure")
    assert failure.get("message") == verdict.past.reason


def test_noise_below_the_noise_floor_needs_no_advice():
    record, verdict = of()
    shown = text(record, replace(verdict, noise=Noise(0.004, 0.005, 0.009, 0.001, 0.0, 0.3)))
    assert "larger --budget" not in shown
    assert "correlation of pairs of one parent 0.30\n" in shown


def test_unknown_noise_is_not_shown():
    record, verdict = of()
    assert "noise: within" not in text(record, replace(verdict, noise=Noise(*[math.nan] * 6)))


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        ((0.0, math.nan, math.inf), "n/a"),
        ((0.0, 1.05, math.inf), "+5.0 % (no interval yet)"),
        ((0.0, 1.05, 1.1), "+5.0 % (at most +10.0 %)"),
        ((0.99999, 0.99999, 1.0), "+0.0 % (+0.0 … +0.0 %)"),
        ((8.257, 25.2, 76.4), "25x (8.26x … 76x)"),
        ((0.98, 1.02, 12.0), "1.02x (0.98x … 12x)"),
        ((9.0, 9.5, math.inf), "+850.0 % (at least +800.0 %)"),
        ((0.0, 9.5, 11.0), "9.50x (at most 11x)"),
    ],
)
def test_an_effect_shows_what_is_known_of_it(ratio, shown):
    assert gate.effect(Interval(*ratio, 0.98)) == shown


# The self-test.


def self_tested(plants, cells=(SLOWER, *PASSED), **changes):
    console = Console(width=200, file=io.StringIO())
    console.print(gate.self_test(*of(cells, **changes), plants))
    return console.file.getvalue()


def test_a_self_test_counts_what_it_found_and_what_it_should_not_have():
    planted = {SLOWER[0].name: 0.05, PASSED[0][0].name: 0.05}
    assert "self-test: 1 of 2 planted slowdowns found, 0 of 1 other cells" in self_tested(planted)
    assert "self-test: 0 of 1 planted slowdowns found, 1 of 2 other cells" in self_tested({PASSED[0][0].name: 0.05})


def test_an_interrupted_self_test_says_so():
    assert "self-test, interrupted: 1 of 1" in self_tested({SLOWER[0].name: 0.05}, interrupted=True)


def test_names_in_a_self_test_are_no_markup():
    row = (cell("a.time_x([red], [/])", 1.0, 2.0), SLOWER[1])
    console = Console(width=200, file=io.StringIO())
    console.print(gate.self_test(*of([row]), {}))
    assert "a.time_x([red], [/])" in console.file.getvalue()


# Markdown.


def test_a_page_of_thousands_of_cells_fits_into_a_comment_and_says_what_is_missing():
    long = [(replace(c, name=f"{c.name}{'ä' * 300}"), j) for c, j in ALL for _ in range(300)]
    page = gate.markdown(*of(long), COMMAND)
    assert len(page.encode()) <= 60_000
    assert page.endswith("</details>\n")
    assert re.search(r"\nand [\d,]+ more; --json FILE keeps them all\n\n</details>", page)


def test_a_page_of_endless_names_fits_too():
    long = [(replace(c, name=c.name + "x" * 5_000), j) for c, j in ALL * 20]
    assert len(gate.markdown(*of(long), COMMAND).encode()) <= 60_000


@pytest.mark.parametrize(
    ("name", "cell_of_table"),
    [("a|b", r"<code>a\|b</code>"), ("a`b", "`` a`b ``"), ("a``b\nc", r"``` a``b\nc ```")],
)
def test_a_name_cannot_leave_its_field(name, cell_of_table):
    page = gate.markdown(*of([(cell(name, 1.0, 2.0), SLOWER[1])]), COMMAND)
    assert f"| {cell_of_table} | +5.2 %" in page


def test_a_name_cannot_leave_the_block_of_commands():
    page = gate.markdown(*of([(cell("a```b", 1.0, 2.0), SLOWER[1])]), COMMAND)
    assert "\n````sh\nbench-core" in page


def test_a_reason_is_no_markup():
    page = gate.markdown(*of([(UNKNOWN[0], replace(UNKNOWN[1], reason="<b> *x* [y] a|b"))]), COMMAND)
    assert r"&lt;b&gt; \*x\* \[y\] a\|b |" in page


def test_identical_versions_need_one_paragraph():
    page = gate.markdown(*of([], "pass", identical="the code is the same"), COMMAND)
    assert page == "## bench-core gate: pass\n\nidentical: the code is the same\n"


# Annotations.


def test_regressions_and_failures_are_errors_and_inconclusive_cells_are_warnings():
    lines = gate.workflow_commands(*of([SLOWER, BROKEN, UNKNOWN, FASTER, *PASSED]))
    assert [(line[2:].split()[0], line.rpartition("::")[2].partition(":")[0]) for line in lines] == [
        ("error", BROKEN[0].name),
        ("error", SLOWER[0].name),
        ("warning", UNKNOWN[0].name),
    ]


@pytest.mark.parametrize("form", ["terminal", "markdown", "annotations", "junit"])
def test_a_cell_that_fails_and_a_cell_that_is_slower_are_both_in_every_form(form):
    both = of([*PASSED, SLOWER, BROKEN])
    made = judge(both[0])
    both = (both[0], replace(both[1], reason=made.reason))
    shown = {
        "terminal": lambda: text(*both).splitlines()[0],
        "markdown": lambda: gate.markdown(*both, COMMAND).splitlines()[2].replace("\\", ""),
        "annotations": lambda: " ".join(gate.workflow_commands(*both)),
        "junit": lambda: parsed(*both).find("properties/property[@name='reason']").get("value"),
    }[form]()
    assert all(cell.name in shown for cell, _ in (SLOWER, BROKEN))


def test_an_unfair_pair_warns():
    (line,) = gate.workflow_commands(*of([], unfair=("numpy's BLAS: mkl on base, none on head",)))
    assert line == "::warning title=bench-core gate%3A not a fair pair::numpy's BLAS: mkl on base, none on head"


def test_a_line_end_cannot_begin_another_command():
    row = (BROKEN[0], replace(BROKEN[1], reason="a\r\n::set-env::"))
    (line,) = gate.workflow_commands(*of([row]))
    assert line.endswith(r"a\r\n::set-env::")


@pytest.mark.parametrize(("number", "last"), [(10, "::warning title=bench-core gate%3A inc"), (14, "and 5 more")])
def test_no_more_annotations_than_github_shows(number, last):
    lines = gate.workflow_commands(*of([UNKNOWN] * number))
    assert len(lines) == 10
    assert last in lines[-1]


def test_all_cells_together_being_slower_is_an_error():
    (line,) = gate.workflow_commands(*slower_together())
    assert line.startswith("::error")
    assert "+1.0 %25 (+0.7 … +1.3 %25)" in line
    assert parsed(*slower_together()).get("failures") == "1"


def test_a_gate_that_measured_nothing_is_an_error():
    nothing = of([FAILED], "error", "nothing was measured")
    (line,) = gate.workflow_commands(*nothing)
    assert line.startswith("::error")
    assert parsed(*nothing).get("errors") == "1"


# JUnit.


def parsed(*both):
    return ElementTree.fromstring(gate.junit(*both)).find("testsuite")


def test_every_cell_is_one_test_case_with_its_outcome():
    suite = parsed(*of())
    outcomes = {case.get("name"): [part.tag for part in case] for case in suite.iter("testcase")}
    assert outcomes == {
        "time_a": [],
        "time_b": [],
        "time_untie": [],
        "time_tie(b)": ["skipped"],
        "time_tie(a)": ["skipped"],
        "time_one": ["skipped"],
        "time_fill(cpu, 8x4)": ["failure"],
        "time_zero": ["error"],
        "peakmem_read(cpu, mmap-2)": ["failure"],
        "time_x": ["skipped"],
        "time_y": ["skipped"],
        "time_z": ["skipped"],
        "all cells together": [],
    }
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["13", "2", "1", "6"]


def test_a_test_case_belongs_to_the_class_of_its_benchmark_and_has_its_time():
    case = parsed(*of([SLOWER])).find("testcase")
    assert (case.get("classname"), case.get("time")) == ("fills.Fill", "1.500")
    assert case.find("failure").get("message") == "+5.2 % (+4.1 … +6.3 %), 1.23 µs → 1.30 µs, 12 pairs"


def test_the_parameters_do_not_reach_the_class():
    assert parsed(*of([(cell("a.B.time_x(1.5, c.d)"), PASSED[0][1])])).find("testcase").get("classname") == "a.B"


def test_what_the_gate_was_is_in_the_properties():
    found = {item.get("name"): item.get("value") for item in parsed(*of()).iter("property")}
    assert found["seed"] == "123"
    assert (found["base"], found["head"]) == ("main 1a2b3c4d", "working tree (3 files changed)")
    assert found["machine.machine"] == "tester"


def test_what_xml_does_not_allow_is_shown_as_an_escape():
    row = (BROKEN[0], replace(BROKEN[1], reason="a\x00\x1b[31m\ufffe\ud800b < & \" '"))
    assert parsed(*of([row])).find("testcase/error").get("message") == r"""a\x00\x1b[31m\ufffe\ud800b < & " '"""


def test_the_same_gate_gives_the_same_xml():
    assert gate.junit(*of()) == gate.junit(*of())


def test_a_failure_that_did_not_happen_again_is_shown_with_its_cause():
    stray = (replace(PASSED[0][0], strays=("head: call: OSError: busy",)), PASSED[0][1])
    record, verdict = of([stray], faults=("its parent has ended on base",))
    said = list(closing(record, verdict, None))
    assert f"failed once and not again: {stray[0].name}, head: call: OSError: busy" in said
    assert "failed once and not again: a process, its parent has ended on base" in said


def test_what_a_cache_answers_is_said_with_the_cell_in_which_it_is_most():
    cached = (PASSED[0][0], replace(PASSED[0][1], memoized=20_000.0))
    (said,) = [line for line in closing(*of([cached]), None) if "cache" in line]
    assert cached[0].name in said
    assert "20,000 times as long" in said


def test_first_calls_are_shown_with_their_own_times():
    effects = tuple(replace(one, first_base=1e-3, first_head=2e-3) for one in SLOWER[0].effects)
    slower = (replace(SLOWER[0], effects=effects), replace(judged("regression", 1.9, 2.0, 2.1), of="first call"))
    assert "first call: +100.0 % (+90.0 … +110.0 %), 1.00 ms → 2.00 ms" in text(*of([slower], "regression"))


def test_a_self_test_that_decides_nothing_says_why():
    said = self_tested({UNKNOWN[0].name: 0.05}, [UNKNOWN, NEVER])
    assert "undecided: 1 cell: noise: pairs scatter by 4.0 %, 5 pairs" in said
    assert "noise: within a pair" in said


# What every form says.


LONG = "fills.Fill.time_fill('" + "y" * 3000 + "')"
FORMS_FOR_PEOPLE = ["terminal", "Markdown", "annotations"]


@pytest.mark.parametrize("form", FORMS_FOR_PEOPLE)
def test_a_long_name_is_cut_wherever_a_person_reads_it(form):
    named = [(replace(one, name=LONG + one.name), judgement) for one, judgement in ALL]
    slower = LONG + SLOWER[0].name
    explained = {"causes": (replace(CAUSE, cell=slower),), "instructions": (Instructions(slower, 1.0, 2.0, "more"),)}
    stray = replace(named[0][0], strays=("head: call: OSError: busy",))
    memoized = (replace(FASTER[0], name=LONG), replace(FASTER[1], memoized=2e3))
    record, verdict = of(
        [*named[1:], (stray, named[0][1]), memoized],
        reason=f"1 of 9 cells slower, most of all: {slower}, at least +4.1 %",
        left_out={LONG: "only on base"},
        renamed={LONG: LONG + "1"},
        **explained,
    )
    past_record, past = of(named)
    record, verdict = replace(record, past=past_record), replace(verdict, past=past)
    shown = text(record, verdict, SINCE, verbose=True) if form == "terminal" else FORMS[form](record, verdict)
    assert brief(slower) in shown
    assert not re.search("y{300}", shown)


def test_the_command_for_a_long_name_selects_its_cell_by_the_cut_name():
    *_, option, pattern = shlex.split(gate.reproducing(COMMAND.gate, LONG))
    assert (option, pattern) == ("--bench", brief(LONG))


@pytest.mark.parametrize("form", FORMS)
def test_a_failure_that_did_not_happen_again_is_named_in_every_form(form):
    stray = (replace(PASSED[0][0], strays=("head: call: OSError: busy",)), PASSED[0][1])
    found = FORMS[form](*of([stray], "pass", faults=("its parent has ended",)))
    assert "failed once and not again" in found
    assert "head: call: OSError: busy" in found
    assert "its parent has ended" in found


def test_a_failure_against_the_past_version_that_did_not_happen_again_is_named():
    stray = (replace(PASSED[0][0], strays=("base: call: OSError: busy",)), PASSED[0][1])
    shown = text(*with_past([stray], "pass"), SINCE)
    assert "  failed once and not again: fills.Same.time_a, base: call: OSError: busy" in shown


@pytest.mark.parametrize("form", ["terminal", "Markdown", "JUnit"])
def test_a_note_on_the_environment_is_in_every_form(form):
    found = FORMS[form](*of(PASSED, "pass", notes=("SIZE has several values: set it to 1 or 2.",)))
    assert "SIZE has several values: set it to 1 or 2." in found


def test_what_is_left_out_is_named_for_each_reason():
    shown = text(*of(PASSED, "pass"))
    assert "left out: x.time_x and 1 more: needs cuda" in shown
    assert "left out: x.time_z: only on base" in shown


@pytest.mark.parametrize("form", FORMS)
def test_a_part_that_head_cannot_use_is_named_with_its_cause_and_has_no_command(form):
    part = replace(BROKEN[0], name="suite.helper", benchmark="suite.helper", kind="part", error="does not import: x")
    found = FORMS[form](*of([(part, replace(BROKEN[1], reason="head: does not import: x")), *PASSED], "error"))
    assert "helper" in found
    assert "head: does not import: x" in found
    assert "--bench" not in found


def test_cells_between_the_noise_floor_and_the_limit_are_said_to_need_more_than_the_pace_tells():
    slight = cell("ties.Tie.time_tie(c)"), judged("inconclusive", 1.002, 1.019, 1.03, "slower by about 1.9 %")
    said = " ".join(text(*of([slight, UNKNOWN, *PASSED], "inconclusive")).split())
    assert "of these, 1 cell seems slower by between the noise floor and the limit (+1.9 % in the median)" in said
    assert "between the noise floor" not in text(*of([UNKNOWN, NEVER, *PASSED], "inconclusive"))


def tracked(base, head):
    found = CellEvidence(
        "a.track_misses",
        "a.track_misses",
        {},
        "track",
        "misses",
        tuple(Effect(pair, pair, math.nan, base, head, 1) for pair in range(4)),
    )
    return found, judge_evidence(found, GateSettings(), 1)


def test_values_without_a_ratio_are_shown_in_every_form():
    record, verdict = of([tracked(0.0, 5.0)])
    shown = "+5 misses, 0 misses → 5 misses, 4 pairs"
    assert f"    {shown}\n" in text(record, verdict)
    assert "| `a.track_misses` | +5 misses | 0 misses | 5 misses | 4 pairs |" in gate.markdown(record, verdict, COMMAND)
    assert f'message="{shown}"' in gate.junit(record, verdict)
    assert any(shown in one for one in gate.workflow_commands(record, verdict))


def test_a_reading_that_is_inconclusive_shows_its_values():
    found, judgement = tracked(0.0, 5.0)
    unsure = replace(judgement, verdict="inconclusive", reason="control")
    record, verdict = of([(found, unsure)], verdict="inconclusive")
    shown = "+5 misses, 0 misses → 5 misses, 4 pairs"
    assert f"    {shown}\n" in text(record, verdict)
    assert shown in gate.markdown(record, verdict, COMMAND)


def test_cells_without_a_ratio_do_not_disturb_the_order_of_the_others():
    lower = tracked(-10.0, -20.0)
    found = grouped([JudgedCell(*one) for one in (lower, FASTER, lower)])
    assert found.faster[0].name == FASTER[0].name


def test_a_pass_without_a_ratio_has_a_bound():
    assert "1 pass, at most +0.5 %" in text(*of([tracked(-100.0, -99.5)], verdict="pass"))
