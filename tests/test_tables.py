import pytest
from rich.console import Console
from rich.text import Text

from bench_core import tables


def test_markdown_has_a_head_a_rule_and_the_rows_aligned_as_asked():
    lines = list(tables.markdown("lr", ["cell", "time"], [["`a`", "1 s"], ["`b`", ""]]))
    assert lines == ["| cell | time |", "| --- | ---: |", "| `a` | 1 s |", "| `b` |  |"]


def test_a_column_of_numbers_is_never_broken_and_one_of_text_is():
    console = Console(width=12, record=True, color_system=None)
    console.print(tables.terminal("lr", ["", "time"], [[Text("long.name.of"), "123.4 ms"]], title="family"))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert [line for line in lines if "123.4 ms" in line]
    assert len(lines) > 3


def test_every_column_has_a_letter():
    with pytest.raises(ValueError, match="longer"):
        tables.terminal("l", ["cell", "time"])
