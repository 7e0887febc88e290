"""Pages of the documentation that are drawn from measurements: each names its command and its machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from bench_core.report import units
from bench_core.timing.pairs import Agreement, Slowdown

STILL_SLOW = 1.1
"""The ratio from which a reported slowdown is still called one: the lower end of its interval must lie above."""


def verdict(found: Slowdown) -> str:
    """Whether the slowdown is there on this machine and torch, never stronger than its interval allows."""
    if found.ratio.low > STILL_SLOW:
        return "still slow"
    if found.ratio.high < STILL_SLOW:
        return "not slow here"
    return "cannot be told from noise here"


def slowdowns_table(rows: Sequence[Slowdown]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("reported in", "slow", "instead", "ratio", "95 % interval", ""):
        table.add_column(heading, justify="left" if heading in ("reported in", "") else "right")
    for row in sorted(rows, key=lambda row: -row.ratio.middle):
        table.add_row(
            row.report.source,
            units.time(row.slow_seconds),
            units.time(row.fast_seconds),
            units.ratio(row.ratio.middle),
            _range(row.ratio.low, row.ratio.high),
            verdict(row),
        )
    return table


def slowdowns_page(rows: Sequence[Slowdown], machine: str) -> str:
    """``docs/known-slowdowns.md``."""
    ordered = sorted(rows, key=lambda row: -row.ratio.middle)
    parts = [
        "# Known slowdowns of parameter operations",
        "",
        "Users of public projects met these. Each is a pair of cells of this suite, measured in turn in one process: "
        "the slow way, and the way round it for the same job.",
        "",
        f"Drawn by `bench-core known --markdown docs/known-slowdowns.md` on {machine}. Ratios are medians of pairs of "
        "neighbouring samples with their 95 % intervals.",
        "",
        "| slow way | reported in | slow | way round | ratio | |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    parts += [
        f"| {row.report.what} | {_links(row.report.source)} | {units.time(row.slow_seconds)} | "
        f"{units.time(row.fast_seconds)} | **{units.ratio(row.ratio.middle)}** "
        f"({_range(row.ratio.low, row.ratio.high)}) | {verdict(row)} |"
        for row in ordered
    ]
    for heading, wanted in (("## Still slow, and the way round", True), ("## Not slow here any more", False)):
        chosen = [row for row in ordered if (row.ratio.low > STILL_SLOW) == wanted]
        if chosen:
            parts += ["", heading]
        for row in chosen:
            parts += [
                "",
                f"**{row.report.what}** ({_links(row.report.source)}). Instead: {row.report.instead}.",
                f"Time it again: `bench-core run '{row.slow.split('(')[0]}'`, cells `{row.slow}` and `{row.fast}`.",
            ]
    return "\n".join(parts) + "\n"


def agreement_table(rows: Sequence[Agreement]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("cell", "our time", "ours / torch's", "95 % interval", ""):
        table.add_column(heading, justify="left" if heading in ("cell", "") else "right", overflow="fold")
    for row in rows:
        table.add_row(
            row.cell,
            units.time(row.seconds),
            f"{row.ratio.middle:.4f}",
            _range(row.ratio.low, row.ratio.high, digits=4),
            "agrees" if row.agrees else "[red]differs[/]",
        )
    return table


def agreement_page(rows: Sequence[Agreement], machine: str) -> str:
    """``docs/agreement.md``."""
    agreeing = sum(row.agrees for row in rows)
    parts = [
        "# Do our times agree with torch's own timer?",
        "",
        "Cells from the fastest to over 10 ms, each timed by our sampling and by "
        "`torch.utils.benchmark.Timer.blocked_autorange` in turn, in one process. A cell agrees if the median of the "
        "ratios lies within 0.99 and 1.01.",
        "",
        f"Drawn by `bench-core agree --markdown docs/agreement.md` on {machine}. "
        f"{agreeing} of {len(rows)} cells agree.",
        "",
        "| cell | our time | ours / torch's | 95 % interval | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    parts += [
        f"| `{row.cell}` | {units.time(row.seconds)} | {row.ratio.middle:.4f} | "
        f"{_range(row.ratio.low, row.ratio.high, digits=4)} | {'agrees' if row.agrees else 'differs'} |"
        for row in rows
    ]
    return "\n".join(parts) + "\n"


def _range(low: float, high: float, digits: int = 2) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return "?"
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _links(source: str) -> str:
    """``pytorch/pytorch#182116`` as a link; a part that is only ``#42941`` belongs to the repository before it."""
    repository = ""
    links = []
    for part in source.replace(";", ",").split(","):
        project, _, number = part.strip().partition("#")
        repository = project or repository
        links.append(f"[{repository}#{number}](https://github.com/{repository}/issues/{number})")
    return ", ".join(links)
