import io
from pathlib import Path

from rich.console import Console

from bench_core.records.results import CellResult, ResultFile
from bench_core.records.run import Interval
from bench_core.report import table


def test_a_benchmark_has_its_pretty_name_beside_its_own_and_a_long_name_is_cut():
    value = Interval(1.0, 1.0, 1.0, 0.99)
    cell = CellResult("a.B.track_x", {"n": "x" * 3000}, "track", "unit", value, 1, 1, 0, 0, None, title="The thing")
    console = Console(width=300, file=io.StringIO())
    console.print(table.printed(table.results(ResultFile(Path("x"), None, {}, (cell,), ()))))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert "B.track_x  (The thing)" in lines
    assert max(map(len, lines)) < 200
