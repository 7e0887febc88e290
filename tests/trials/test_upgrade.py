import json
import math
from dataclasses import replace

import pytest

from bench_core.gate.judge.gate import judge
from bench_core.records.gate import Cause, CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.version import Install
from bench_core.results import gate_file
from trials import upgrade


def cell(name, percent, kind="time", unit="seconds", base=1e-3):
    head = base * (1 + percent / 100)
    effects = tuple(Effect(i, i, math.log(head / base) + 1e-5 * (i % 5), base, head, 32) for i in range(30))
    return CellEvidence(name, name.partition("(")[0], {}, kind, unit, effects)


RECORD = GateRecord(
    Install("torch==1", "a", ("torch",)),
    Install("torch==2", "b", ("torch",)),
    GateSettings(start="spawn"),
    {"machine": "tester", "cpu": "Some", "num_cpu": "2", "os": "Linux", "python": "3.11", "ram": "1"},
    "2026-01-02T03:04:05Z",
    60.0,
    (
        cell("a.InPlace.time_initialize(cpu, trunc_normal_, 8x4)", 160),
        cell("a.Edit.time_set(cpu)", -30),
        cell("b.Load.time_load(cpu)", 0),
        cell("b.Load.peakmem_load(cpu)", 10, "peakmemory", "bytes", float(100 << 20)),
    ),
    besides=("sympy 1 → 2",),
)


@pytest.fixture
def drawn(tmp_path):
    def draw(record=RECORD):
        gate_file.write(tmp_path / upgrade.GATE, record, judge(record), 1)
        causes = (Cause("a.InPlace.time_initialize(cpu, trunc_normal_, 8x4)", "2 more aten::normal_: more work"),)
        gate_file.write(tmp_path / upgrade.EXPLAINED, replace(record, causes=causes), judge(record), 1)
        found = [{"what": "one", "seconds": {"base": [1.0] * 9, "head": [2.0] * 9}}]
        (tmp_path / upgrade.BY_HAND).write_text(json.dumps({"date": "2026-01-02", "timed": found}))
        return upgrade.page(tmp_path)

    return draw


def test_what_became_slower_or_faster_or_passed_is_counted_and_listed(drawn):
    page = drawn()
    assert "**1 became slower, 1 became faster, 1 passed**" in page
    slower, _, rest = page.partition("## Slower")[2].partition("## Faster")
    faster, _, passed = rest.partition("## Passed")
    assert "trunc_normal_" in slower
    assert "a.Edit.time_set(cpu)" in faster
    assert "| b | 1 | at most +0.0 % |" in passed


def test_what_is_shown_as_after_agrees_with_the_change(drawn):
    faster = RECORD.cells[1]
    slower_medians = tuple(replace(effect, head=1.1 * effect.base) for effect in faster.effects)
    page = drawn(replace(RECORD, cells=(replace(faster, effects=slower_medians),)))
    assert "| 1.00 ms | 700 µs | -30.0 %" in page


def test_an_upstream_report_is_beside_the_slowdown_that_it_reports(drawn):
    (row,) = (line for line in drawn().splitlines() if line.startswith("| `a.InPlace"))
    assert "pytorch/issues/182116" in row


def test_an_unfair_pair_is_reported(drawn):
    assert "Not a fair pair" not in drawn()
    page = drawn(replace(RECORD, unfair=("torch's build: CPU on base, CUDA on head",)))
    assert "**Not a fair pair**: torch's build: CPU on base, CUDA on head" in page


def test_memory_is_separate_from_time(drawn):
    memory = drawn().partition("## Memory")[2]
    assert "b.Load.peakmem_load(cpu)" in memory
    assert "+10 MiB to +10 MiB" in memory


def test_what_was_timed_by_hand_has_its_ratio(drawn):
    assert "| one | 1.00 s (1.00 s … 1.00 s) | 2.00 s (2.00 s … 2.00 s) | 2.00 (2.00 … 2.00) |" in drawn()


def test_the_cause_of_the_largest_slowdown_is_shown(drawn):
    page = drawn().replace("&#8203;", "")  # which keeps GitHub from making a link or an emoji
    assert "- `a.InPlace.time_initialize(cpu, trunc_normal_, 8x4)`: 2 more aten::normal" in page
