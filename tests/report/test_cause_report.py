import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench_core.records.gate import Cause, Change
from bench_core.report import cause as report

CAUSE = Cause(
    "fills.Fill.time_fill(8x4)",
    "1 more aten::normal_ (1 → 2); instructions +99.0 %: more work",
    (1000.0, 1990.0),
    functions=(Change("at::fill|x", "instructions", 100.0, 1090.5),),
    operators=(
        Change("aten::normal_", "calls", 1.0, 2.0),
        Change("aten::normal_", "seconds", 1e-3, 2e-3),
        Change("aten::empty", "bytes", 2.0**21, 2.0**20),
    ),
)


def shown(cause):
    console = Console(file=io.StringIO(), width=100)
    for line in report.lines(cause):
        console.print(line, crop=False)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_sentence_comes_first_and_below_the_cell():
    assert shown(CAUSE)[0] == f"    {CAUSE.sentence}"
    assert all(line.startswith("    much") for line in shown(Cause("a", "much " * 40 + "more"))[:2])


def test_every_change_has_its_unit_and_sign():
    text = " ".join(" ".join(shown(CAUSE)).split())
    assert "aten::normal_ 1 2 +1 calls" in text
    assert "aten::normal_ 1.00 ms 2.00 ms +1.00 ms" in text
    assert "aten::empty 2.00 MiB 1.00 MiB -1.00 MiB" in text
    assert "at::fill|x 100 1,090 +990 instructions" in text


@pytest.mark.parametrize("form", [lambda cause: "\n".join(shown(cause)), report.markdown])
def test_of_each_table_a_few_rows_are_shown(form):
    many = Cause("a", "more", calls=tuple(Change(f"f{number}", "calls", 0, 1) for number in range(9)))
    text = form(many)
    assert "f5" in text
    assert "f6" not in text


@pytest.mark.parametrize("form", [lambda cause: "\n".join(shown(cause)), report.markdown])
def test_what_is_missing_is_shown(form):
    assert "ithout instructions: valgrind is not installed" in form(
        Cause("a", "x", without="valgrind is not installed")
    )


def test_the_wording(snapshot):
    cause = replace(CAUSE, without="valgrind is not installed")
    assert "\n".join(shown(cause)) == snapshot(name="terminal")
    assert report.markdown(cause) == snapshot(name="Markdown")


def test_nothing_in_markdown_ends_a_cell_of_a_table():
    assert r"| <code>at::fill\|x</code> | 100 |" in report.markdown(CAUSE)
