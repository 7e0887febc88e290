"""Pages of the documentation that are drawn from measurements: each names its command and its machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from bench_core import units
from bench_core.records.run import Agreement, Interval, Slowdown

STILL_SLOW = 1.1
"""The ratio from which a reported slowdown is still called one: the lower end of its interval must lie above."""

SECTIONS = {
    "torch": ("In torch as installed", "What the installed torch does, against a way round it."),
    "usage": ("In how code uses torch", "No release will mend these: the slow way does more work than the job needs."),
    "mended": ("Mended in torch", "What an older torch did, done again, against the installed one."),
}

SLOWDOWNS_LEGEND = "still slow: torch as installed is; slow: this way of using torch is; mended: an older torch was."
"""What `verdict` says, in one line."""


def verdict(found: Slowdown) -> str:
    """What the interval allows to say of the slowdown, and no more."""
    if found.ratio.low > STILL_SLOW:
        return {"torch": "still slow", "usage": "slow", "mended": "mended"}[found.where]
    return "not slow here" if found.ratio.high < STILL_SLOW else "cannot be told from noise here"


def slowdowns_table(rows: Sequence[Slowdown]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("what is slow, and the way round it")
    for heading in ("slow", "instead", "ratio", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for row in _slowest_first(rows):
        table.add_row(
            Text(f"{row.what} ({row.source})"),
            units.time(row.slow_seconds),
            units.time(row.fast_seconds),
            units.ratio(row.ratio.middle),
            _ratios(row),
            verdict(row),
        )
        table.add_row(Text(f"  instead: {row.instead}", style="green"))
    return table


def slowdowns_page(rows: Sequence[Slowdown], machine: str) -> str:
    """``docs/known-slowdowns.md``."""
    parts = [
        "# Known slowdowns of parameter operations",
        "",
        "Users of public projects met these. Each is a pair of cells of this suite, measured in turn in one process:",
        "the slow way, and the way round it for the same job.",
        "",
        f"Drawn by `bench-core known --markdown docs/known-slowdowns.md` on {machine}.",
        "Both sides are set up several times and sampled in turn, in one process; each setup gives one ratio, and the",
        "intervals are of their median, at 95 %.",
    ]
    for where, (title, meaning) in SECTIONS.items():
        chosen = _slowest_first(row for row in rows if row.where == where)
        if chosen:
            parts += ["", f"## {title}", "", meaning, ""]
            parts += [
                "| what is slow | the way round | slow | instead | ratio | |",
                "| --- | --- | ---: | ---: | ---: | --- |",
            ]
            parts += [
                f"| {row.what} ({_links(row.source)}) | {row.instead} | "
                f"{units.time(row.slow_seconds)} | {units.time(row.fast_seconds)} | "
                f"**{units.ratio(row.ratio.middle)}** ({_ratios(row)}) | {verdict(row)} |"
                for row in chosen
            ]
    parts += ["", "## The cells", "", "`bench-core run 'NAME'` times one again.", ""]
    parts += [f"- {_links(row.source)}: `{row.slow}` against `{row.fast}`" for row in _slowest_first(rows)]
    return "\n".join(parts) + "\n"


def _slowest_first(rows: Iterable[Slowdown]) -> list[Slowdown]:
    return sorted(rows, key=lambda row: -row.ratio.middle)


def _ratios(row: Slowdown) -> str:
    if not row.ratio.known:
        return "?"
    return " to ".join(units.ratio(end).removesuffix("x") for end in (row.ratio.low, row.ratio.high))


def agreement_table(rows: Sequence[Agreement]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("cell", "our time", "ours / torch's", "95 % interval", ""):
        table.add_column(heading, justify="left" if heading in ("cell", "") else "right", overflow="fold")
    for row in rows:
        table.add_row(
            row.cell,
            units.time(row.seconds),
            f"{row.ratio.middle:.4f}",
            _range(row.ratio),
            "agrees" if row.agrees else "[red]differs[/]",
        )
    return table


def agreement_page(rows: Sequence[Agreement], machine: str) -> str:
    """``docs/agreement.md``."""
    agreeing = sum(row.agrees for row in rows)
    parts = [
        "# Do our times agree with torch's own timer?",
        "",
        "Cells from the fastest to over 10 ms, each timed by our sampling and by",
        "`torch.utils.benchmark.Timer.blocked_autorange` in turn, in one process, set up anew every few rounds. A cell",
        "agrees if the median of the ratios lies within 0.99 and 1.01. (asv sets a cell up before every sample; times",
        "through asv are those of the first 5 ms after a setup, when caches may be colder.)",
        "",
        f"Drawn by `bench-core agree --markdown docs/agreement.md` on {machine}.",
        f"{agreeing} of {len(rows)} cells agree.",
        "",
        "| cell | our time | ours / torch's | 95 % interval | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    parts += [
        f"| `{row.cell}` | {units.time(row.seconds)} | {row.ratio.middle:.4f} | "
        f"{_range(row.ratio)} | {'agrees' if row.agrees else 'differs'} |"
        for row in rows
    ]
    return "\n".join(parts) + "\n"


def _range(ratio: Interval) -> str:
    return f"{ratio.low:.4f} to {ratio.high:.4f}" if ratio.known else "?"


def _links(source: str) -> str:
    """``pytorch/pytorch#182116`` as a link; a part that is only ``#42941`` belongs to the repository before it."""
    repository = ""
    links = []
    for part in source.replace(";", ",").split(","):
        project, _, number = part.strip().partition("#")
        repository = project or repository
        links.append(f"[{repository.split('/')[-1]}#{number}](https://github.com/{repository}/issues/{number})")
    return ", ".join(links)
