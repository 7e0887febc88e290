import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench_core.records.results import CellResult, ResultFile
from bench_core.records.run import Interval
from bench_core.report import table


def cell(benchmark, params, seconds, *, spread=0.01, reads=0, writes=0, rivals=None, kind="time", unit="seconds"):
    interval = Interval(seconds * (1 - spread), seconds, seconds * (1 + spread), 0.99)
    return CellResult(benchmark, params, kind, unit, interval, 10, 100, reads, writes, rivals)


def masked(idiom, seconds, **options):
    params = {"device": "cpu", "idiom": idiom, "size": "1024x1024"}
    return cell("initialization.Masked.time_initialize", params, seconds, writes=1, rivals="idiom", **options)


FILL = cell("limits.Memory.time_fill", {"device": "cpu", "size": "1024x1024"}, 100e-6, writes=1)
SMALL_FILL = cell("limits.Memory.time_fill", {"device": "cpu", "size": "8x4"}, 1e-6, writes=1)
CUDA_FILL = cell("limits.Memory.time_fill", {"device": "cuda", "size": "1024x1024"}, 1e-6, writes=1)
UPDATE = cell("limits.Memory.time_update", {"device": "cpu", "size": "1024x1024"}, 100e-6, reads=1, writes=1)
EDIT = cell("initialization.Edit.time_add", {"device": "cpu", "size": "1024x1024"}, 200e-6, reads=1, writes=1)
NORM = cell("initialization.Signal.track_norm", {"depth": "16"}, -20.5, kind="track", unit="log10 ratio")
MEMORY = cell("initialization.Build.peakmem_build", {}, 3 << 20, kind="peakmemory", unit="bytes")

CELLS = (
    FILL,
    SMALL_FILL,
    CUDA_FILL,
    UPDATE,
    masked("where", 400e-6),
    masked("mask", 200e-6, spread=0.3),
    EDIT,
    NORM,
    MEMORY,
)


def rows_of(cells):
    return table.results(ResultFile(Path("x"), "f" * 40, {}, tuple(cells), ()))


def shown(cells):
    console = Console(width=100, file=io.StringIO())
    console.print(table.printed(rows_of(cells)))
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


def test_the_table_of_a_family():
    lines = shown(CELLS)
    assert lines[: lines.index("limits")] == [
        "initialization",
        "                            value        ±   GB/s  of limit  vs best",
        "Build.peakmem_build",
        "  peakmem_build          3.00 MiB",
        "Edit.time_add",
        "  cpu, 1024x1024           200 µs   ±1.0 %   41.9      50 %",
        "Masked.time_initialize",
        "  cpu, where, 1024x1024    400 µs   ±1.0 %   10.5      25 %   ~2.00x",
        "  cpu, mask, 1024x1024     200 µs  ±30.0 %   21.0      50 %   ~1.00x",
        "Signal.track_norm  in log10 ratio",
        "  16                        -20.5",
    ]


def test_a_way_that_unties_is_marked_beside_its_rivals():
    (line,) = [line for line in shown([replace(masked("assign", 1e-6), unties=True)]) if "assign" in line]
    assert line.startswith("  cpu, assign, 1024x1024  (unties)  1.00 µs")


def test_a_share_of_a_yardstick_of_another_size_is_marked():
    larger = replace(masked("where", 1600e-6), params={"device": "cpu", "idiom": "where", "size": "2048x2048"})
    (line,) = [line for line in shown([*CELLS[:4], larger]) if "where" in line]
    assert line.split()[-2:] == ["~25", "%"]


def test_the_machine_is_named_with_its_hardware_and_versions():
    machine = {
        "cpu": "AMD EPYC",
        "num_cpu": "2",
        "ram": str(24 << 30),
        "os": "Linux 6",
        "python": "3.11",
        "torch": "2.13",
    }
    assert table.described(machine) == "AMD EPYC, 2 cores, 24 GiB, Linux 6, Python 3.11, torch 2.13"
