import io
import math
import re
import shlex
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from bench_core.records.gate import (
    Cause,
    CellEvidence,
    Change,
    Effect,
    GateRecord,
    GateSettings,
    GateVerdict,
    Instructions,
    Judgement,
    Noise,
)
from bench_core.records.results import Tally
from bench_core.records.run import Interval
from bench_core.records.version import Commit, Install, WorkingTree
from bench_core.report import gate
from bench_core.report.gate.words import LARGEST, version

COMMAND = gate.Commands("bench-core gate main --full")
NOISE = Noise(0.004, 0.005, 0.02, 0.001, 0.0, 0.3)


def cell(name, base=1e-6, head=1e-6, pairs=12, unit="seconds", **named):
    effects = tuple(Effect(i, i // 3, math.log(head / base), base, head, 40) for i in range(pairs))
    return CellEvidence(name, name.partition("(")[0], {}, "time", unit, effects, 1.5, **named)


def judged(verdict, low, middle, high, reason="", detectable=0.031, unit="pair"):
    return Judgement(Interval(low, middle, high, 0.98), verdict, reason, detectable, unit)


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
    record = replace(RECORD, cells=tuple(cell for cell, _ in cells), **changes)
    controls = (judged("pass", 0.99, 1.0, 1.01),) * len(record.controls)
    suite = judged("inconclusive", 0.995, 1.004, 1.012)
    return record, GateVerdict(verdict, reason, tuple(j for _, j in cells), controls, suite, False, NOISE)


def text(record, verdict, command=COMMAND, width=100, **named):
    console = Console(width=width, file=io.StringIO())
    console.print(gate.summary(record, verdict, command, **named), crop=False)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


SUMMARY = r"""
REGRESSION  2 of 9 cells slower
head working tree (3 files changed) against base main 1a2b3c4d, 58.2 s, seed 123

Failing with head
  fills.Fill.time_zero
    head: setup: KeyError: 1
    bench-core gate main --full --fresh --bench '^fills\.Fill\.time_zero$'

Slower
  reads.Read.peakmem_read(cpu, mmap-2)
    +200.0 % (+190.0 … +210.0 %), 1.00 MiB → 3.00 MiB, 12 pairs, judged as 4 parent processes
    bench-core gate main --full --fresh --bench '^reads\.Read\.peakmem_read\(cpu, mmap-2\)$'
  fills.Fill.time_fill(cpu, 8x4)
    +5.2 % (+4.1 … +6.3 %), 1.23 µs → 1.30 µs, 12 pairs
    bench-core gate main --full --fresh --bench '^fills\.Fill\.time_fill\(cpu, 8x4\)$'

Inconclusive
  ties.Tie.time_tie(a)
    +2.0 % (at least -2.0 %), 5 pairs
    noise: pairs scatter by 4.0 %, 5 pairs; smallest slowdown that would have been red: +7.2 %
  ties.Tie.time_tie(b)
    budget: never measured; smallest slowdown that would have been red: none

Not compared
  fills.Fill.time_one
    does not answer

Faster
  ties.Tie.time_untie
    -50.0 % (-51.0 … -49.0 %), 2.00 ms → 1.00 ms, 12 pairs

2 pass, each at most +2.9 %
suite as a whole: +0.4 % (-0.5 … +1.2 %), inconclusive
control: 2 cells of base against itself, none rejects; 212 controls so far, 1 rejected (0.0 to 2.6 %)
noise: within a pair 0.4 %, between pairs 0.3 %, between parents 2.0 %, order 0.1 %, forked first 0.0 %; pairs of one parent are alike by 0.30 of 1
  all pairs of one parent process share its speed: only more parent processes help (a larger --budget, or fewer cells)
left out: 2 cells: needs cuda
left out: 1 cell: only on base
"""  # noqa: E501


def test_the_summary():
    assert text(*of(), tally=Tally(30, 212, 1, 0.0001, 0.026)) == SUMMARY.strip()


def test_lines_to_copy_are_never_broken():
    lines = text(*of(), width=30).splitlines()
    assert r"    bench-core gate main --full --fresh --bench '^fills\.Fill\.time_fill\(cpu, 8x4\)$'" in lines


def test_the_command_selects_its_cell_and_no_other():
    name = "a.b(it's, $HOME|`x`, [1.5], 'q' - c)"
    *_, option, pattern = shlex.split(gate.reproducing(COMMAND.gate, name))
    assert option == "--bench"
    assert re.search(pattern, name)
    assert not re.search(pattern, name.replace("1.5", "1x5"))


def test_the_command_starts_anew_because_a_red_cell_is_decided_already():
    assert "--fresh" in shlex.split(gate.reproducing(COMMAND.gate, "a.b"))


def test_names_are_no_markup():
    row = (cell("a.time_x([red], [/])", 1.0, 2.0), SLOWER[1])
    assert "a.time_x([red], [/])" in text(*of([row]))


def test_passing_cells_are_listed_when_asked_for():
    assert "fills.Same.time_b" not in text(*of())
    assert "fills.Same.time_b" in text(*of(), verbose=True)


CAUSE = Cause(
    "fills.Fill.time_fill(cpu, 8x4)",
    "2 more aten::normal_ (1 → 3)",
    operators=(Change("aten::normal_", "calls", 1, 3),),
    without="valgrind is not installed",
)


def test_the_cause_of_a_red_cell_stands_below_it():
    lines = text(*of(causes=(CAUSE,))).splitlines()
    place = lines.index("    2 more aten::normal_ (1 → 3)")
    assert lines[place - 3].strip() == CAUSE.cell
    assert lines[place + 2].split() == ["aten::normal_", "1", "3", "+2", "calls"]


def test_a_cell_that_is_explained_for_a_suite_that_is_red_as_a_whole_is_listed_with_its_cause():
    explained = replace(CAUSE, cell="fills.Same.time_a")
    record, verdict = of([*PASSED, UNKNOWN], causes=(explained,))
    lines = text(record, verdict).splitlines()
    place = lines.index(LARGEST)
    assert lines[place + 1] == "  fills.Same.time_a"
    assert lines[place + 3] == f"    {CAUSE.sentence}"
    page = gate.markdown(record, verdict, COMMAND)
    assert page.index(f"### {LARGEST}") < page.index("### Why")


def test_a_red_cell_is_listed_once():
    assert LARGEST not in text(*of(causes=(CAUSE,)))


def test_instructions_stand_beside_the_times_the_largest_difference_first():
    counted = (
        Instructions("fills.Same.time_a", 1000.0, 1000.0, "same work"),
        Instructions("fills.Fill.time_fill(cpu, 8x4)", 2000.0, 2100.0, "more work"),
        Instructions("ties.Tie.time_untie", math.nan, math.nan, "it runs on cuda"),
    )
    lines = text(*of(instructions=counted)).splitlines()
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


def test_two_installs_are_named_with_their_code_and_what_else_differs():
    install = Install("torch==2.11.0", "d", ("torch",))
    besides = tuple(f"x{number} 1 → 2" for number in range(8))
    shown = text(*of(base=install, head=replace(install, name="torch==2.13.0"), code=RECORD.base, besides=besides))
    assert "head torch==2.13.0 against base torch==2.11.0, with main 1a2b3c4d, 58.2 s" in shown
    assert "differs, too: x0 1 → 2, " in shown
    assert "and 2 more; --json FILE keeps them all" in " ".join(shown.split())


def test_pairs_that_were_taken_over_are_counted():
    assert "taken over from earlier gates on these versions: 7 pairs" in text(*of(resumed=7))


def test_a_control_that_rejects_takes_the_belief_in_reds_away():
    record, verdict = of(verdict="inconclusive")
    rejecting = replace(verdict, controls=(SLOWER[1], verdict.controls[1]), control_rejects=True)
    assert "no red of this gate can be believed" in text(record, rejecting, width=200)
    assert "2 cells of base against itself, 1 rejects" in text(record, rejecting)
    assert "no red of this gate can be believed" in gate.markdown(record, rejecting, COMMAND)
    title = "::warning title=bench-core gate%3A control rejects"
    assert gate.workflow_commands(record, rejecting)[-3].startswith(title)


def test_controls_that_failed_are_counted():
    record, verdict = of()
    assert ", none rejects, 1 failed" in text(record, replace(verdict, controls=(FAILED[1], verdict.controls[1])))


def test_a_commit_is_named_once():
    assert version(replace(BASE, name="1a2b3c4d0")) == "1a2b3c4d"
    assert version(Install("torch==2.11.0", "d", ("torch",))) == "torch==2.11.0"


@pytest.mark.parametrize(
    ("noise", "advice"),
    [
        (Noise(0.02, 0.02, 0.0, 0.0, 0.0, 0.0), "something else uses this machine"),
        (Noise(0.01, 0.03, 0.0, 0.0, 0.0, 0.0), "more pairs do"),
        (Noise(0.01, 0.01, 0.02, 0.0, 0.0, 0.0), "only more parent processes help"),
        (Noise(0.01, 0.01, math.nan, 0.03, 0.0, 0.0), "what is sampled second differs"),
        (Noise(0.01, 0.01, math.nan, 0.0, 0.03, 0.0), "what is forked first differs"),
    ],
)
def test_advice_follows_from_the_largest_cause_of_noise(noise, advice):
    record, verdict = of()
    assert advice in text(record, replace(verdict, noise=noise))


OLDER = replace(BASE, name="v1.2")


def crept(cells, verdict="regression", gates=PASSED):
    """A gate whose head is compared with a third version, too."""
    record, judged = of(gates, verdict, "since v1.2, 1 of 3 cells slower")
    past, found = of(cells, verdict, judged.reason, base=OLDER)
    return replace(record, creep=replace(past, controls=())), replace(judged, creep=replace(found, controls=()))


SINCE = gate.Commands("bench-core gate main --full", "bench-core gate v1.2 --full")


def test_the_summary_says_what_crept_in_and_how_to_measure_it_alone():
    shown = text(*crept([SLOWER, *PASSED, FAILED]), SINCE)
    red = shown.partition("Slower since v1.2 1a2b3c4d\n")[2]
    assert "+5.2 % (+4.1 … +6.3 %)" in red.splitlines()[1]
    assert "bench-core gate v1.2 --full --fresh --bench" in red.splitlines()[2]
    assert "since v1.2 1a2b3c4d: 1 slower, 2 pass, each at most +2.9 %" in shown
    assert "4 cells cannot be compared with it; --json FILE says why" in shown


def test_the_summary_says_what_small_steps_add_up_to_where_all_is_green():
    shown = text(*crept(PASSED, "pass"), SINCE)
    assert "since v1.2 1a2b3c4d: 2 pass, each at most +2.9 %\n  suite as a whole: +0.4 % (-0.5 … +1.2 %)" in shown


def test_what_crept_in_is_in_every_form():
    record, verdict = crept([SLOWER, *PASSED])
    page = gate.markdown(record, verdict, SINCE)
    assert "### Slower since v1.2 1a2b3c4d" in page
    assert "bench-core gate v1.2 --full --fresh" in page
    assert any("since v1.2, 1 of 3 cells slower" in line for line in gate.workflow_commands(record, verdict))
    case = ElementTree.fromstring(gate.junit(record, verdict)).find(".//testcase[@name='creep']/failure")
    assert case.get("message") == "since v1.2, 1 of 3 cells slower"


def test_noise_below_the_noise_floor_needs_no_advice():
    record, verdict = of()
    assert "--budget" not in text(record, replace(verdict, noise=Noise(0.004, 0.005, 0.009, 0.001, 0.0, 0.3)))


def test_noise_that_cannot_be_told_is_not_shown():
    record, verdict = of()
    assert "noise: within" not in text(record, replace(verdict, noise=Noise(*[math.nan] * 6)))


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        ((0.0, math.nan, math.inf), "n/a"),
        ((0.0, 1.05, math.inf), "+5.0 % (?)"),
        ((0.0, 1.05, 1.1), "+5.0 % (at most +10.0 %)"),
        ((0.99999, 0.99999, 1.0), "+0.0 % (+0.0 … +0.0 %)"),
        ((5.0, 12.0, 13.0), "12x (+400.0 % … 13x)"),
    ],
)
def test_an_effect_shows_what_is_known_of_it(ratio, shown):
    assert gate.effect(Interval(*ratio, 0.98)) == shown


# The self-test.


def self_tested(plants, **changes):
    console = Console(width=200, file=io.StringIO())
    console.print(gate.self_test(*of([SLOWER, *PASSED], **changes), plants))
    return console.file.getvalue()


def test_a_self_test_counts_what_it_found_and_what_it_should_not_have():
    planted = {SLOWER[0].name: 0.05, PASSED[0][0].name: 0.05}
    assert "self-test: 1 of 2 planted slowdowns found, 0 of 1 others red" in self_tested(planted)
    assert "self-test: 0 of 1 planted slowdowns found, 1 of 2 others red" in self_tested({PASSED[0][0].name: 0.05})


def test_an_interrupted_self_test_says_so():
    assert "self-test, interrupted: 1 of 1" in self_tested({SLOWER[0].name: 0.05}, interrupted=True)


def test_names_in_a_self_test_are_no_markup():
    row = (cell("a.time_x([red], [/])", 1.0, 2.0), SLOWER[1])
    console = Console(width=200, file=io.StringIO())
    console.print(gate.self_test(*of([row]), {}))
    assert "a.time_x([red], [/])" in console.file.getvalue()


# Markdown.

MARKDOWN = r"""
## bench-core gate: regression

**2 of 9 cells slower**

head working tree (3 files changed) against base main 1a2b3c4d, 58.2 s, seed 123

### Failing with head

| cell | error |
| --- | --- |
| `fills.Fill.time_zero` | `head: setup: KeyError: 1` |

### Slower

| cell | effect | base | head | pairs |
| --- | --- | --- | --- | --- |
| `fills.Fill.time_fill(cpu, 8x4)` | +5.2 % (+4.1 … +6.3 %) | 1.23 µs | 1.30 µs | 12 pairs |

To measure one of them alone:

```sh
bench-core gate main --full --fresh --bench '^fills\.Fill\.time_zero$'
bench-core gate main --full --fresh --bench '^fills\.Fill\.time_fill\(cpu, 8x4\)$'
```

### Inconclusive

| cell | effect | smallest red | why |
| --- | --- | --- | --- |
| `ties.Tie.time_tie(b)` | n/a | none | budget: never measured |

1 pass, each at most +2.9 %.

suite as a whole: +0.4 % (-0.5 … +1.2 %), inconclusive

control: 2 cells of base against itself, none rejects

left out: 2 cells: needs cuda

left out: 1 cell: only on base

<details><summary>All cells</summary>

| cell | verdict | effect | base | head | pairs |
| --- | --- | --- | --- | --- | --- |
| `fills.Fill.time_zero` | error | n/a | n/a | n/a | 0 |
| `fills.Fill.time_fill(cpu, 8x4)` | regression | +5.2 % (+4.1 … +6.3 %) | 1.23 µs | 1.30 µs | 12 |
| `ties.Tie.time_tie(b)` | inconclusive | n/a | n/a | n/a | 0 |
| `fills.Same.time_a` | pass | +0.0 % (-2.0 … +2.9 %) | 1.00 µs | 1.00 µs | 12 |

</details>
"""


def test_the_markdown():
    record, verdict = of([PASSED[0], NEVER, SLOWER, BROKEN])
    page = gate.markdown(record, replace(verdict, noise=Noise(*[math.nan] * 6)), COMMAND)
    assert page == MARKDOWN.lstrip("\n")


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
    [("a|b", r"`a\|b`"), ("a`b", "`` a`b ``"), ("a``b\nc", "``` a``b c ```")],
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


def test_reds_are_errors_and_what_is_inconclusive_warns():
    assert gate.workflow_commands(*of([SLOWER, BROKEN, UNKNOWN, FASTER, *PASSED])) == [
        "::error title=bench-core gate%3A fails with head::fills.Fill.time_zero: head: setup: KeyError: 1",
        "::error title=bench-core gate%3A +5.2 %25 (+4.1 … +6.3 %25)::fills.Fill.time_fill(cpu, 8x4): "
        "+5.2 %25 (+4.1 … +6.3 %25), 1.23 µs → 1.30 µs, 12 pairs",
        "::warning title=bench-core gate%3A inconclusive::ties.Tie.time_tie(a): noise: pairs scatter by 4.0 %25, "
        "5 pairs",
    ]


def test_an_unfair_pair_warns():
    (line,) = gate.workflow_commands(*of([], unfair=("numpy's BLAS: mkl on base, none on head",)))
    assert line == "::warning title=bench-core gate%3A not a fair pair::numpy's BLAS: mkl on base, none on head"


def test_a_line_end_cannot_begin_a_command_of_its_own():
    row = (BROKEN[0], replace(BROKEN[1], reason="a\r\n::set-env::"))
    (line,) = gate.workflow_commands(*of([row]))
    assert line.endswith("a%0D%0A::set-env::")


@pytest.mark.parametrize(("number", "last"), [(10, "::warning title=bench-core gate%3A inc"), (14, "and 5 more")])
def test_no_more_annotations_than_github_shows(number, last):
    lines = gate.workflow_commands(*of([UNKNOWN] * number))
    assert len(lines) == 10
    assert last in lines[-1]


def test_a_suite_that_is_slower_as_a_whole_is_an_error():
    record, verdict = of(PASSED)
    slower = replace(verdict, suite=judged("regression", 1.007, 1.01, 1.013))
    assert gate.workflow_commands(record, slower) == [
        "::error title=bench-core gate%3A suite as a whole::suite as a whole: +1.0 %25 (+0.7 … +1.3 %25)"
    ]
    assert ElementTree.fromstring(gate.junit(record, slower)).find("testsuite").get("failures") == "1"


def test_a_gate_that_measured_nothing_is_an_error():
    nothing = of([FAILED], "error", "nothing was measured")
    assert gate.workflow_commands(*nothing) == ["::error title=bench-core gate%3A error::nothing was measured"]
    assert ElementTree.fromstring(gate.junit(*nothing)).find("testsuite").get("errors") == "1"


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
        "suite": [],
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


def test_what_xml_does_not_allow_is_removed():
    row = (BROKEN[0], replace(BROKEN[1], reason="a\x00\x1b[31m\ufffe\ud800b < & \" '"))
    assert parsed(*of([row])).find("testcase/error").get("message") == "a[31mb < & \" '"


def test_the_same_gate_gives_the_same_xml():
    assert gate.junit(*of()) == gate.junit(*of())
