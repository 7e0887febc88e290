"""Documentation pages made from measurements. Each page names the command that made it and the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from bench_core import tables, units
from bench_core.records.run import Agreement, Slowdown
from bench_core.texts import code, link, plain, prose

AGREEMENT_HEADINGS = ("cell", "our time", "ours / torch's", "95 % interval", "")

STILL_SLOW = 1.1
"""A reported slowdown is confirmed if the lower end of its interval is above this ratio."""

SECTIONS = {
    "torch": (
        "In torch as installed",
        "Slow operations of the installed torch, each with a faster way to do the same job.",
    ),
    "usage": (
        "In how code uses torch",
        "Slow ways of using torch. They do more work than the job needs, so no release of torch will fix them.",
    ),
    "mended": ("Fixed in torch", "What an older torch did, reproduced and compared with the installed torch."),
}
"""Title and introduction for each value of `Slowdown.where`."""

SLOWDOWNS_LEGEND = (
    "still slow: the installed torch is slow; slow: this use of torch is slow; fixed: an older torch was slow."
)


def verdict(found: Slowdown) -> str:
    """The verdict on a slowdown, from its interval."""
    if found.ratio.low > STILL_SLOW:
        return {"torch": "still slow", "usage": "slow", "mended": "fixed"}[found.where]
    return "not slow here" if found.ratio.high < STILL_SLOW else "inconclusive here"


def slowdowns_table(rows: Sequence[Slowdown]) -> Table:
    """For the terminal: two lines for each slowdown, the largest ratio first."""
    table = tables.terminal(
        "lrrrrl", ["what is slow, and a faster way", "slow", "fast", "ratio", "95 % interval", "here"]
    )
    for row in _slowest_first(rows):
        times = units.time(row.slow_seconds), units.time(row.fast_seconds)
        table.add_row(
            Text(f"{row.what} ({row.source})"),
            *times,
            units.ratio(row.ratio.middle),
            units.ends(row.ratio),
            Text(verdict(row), no_wrap=True),
        )
        table.add_row(Text(f"  faster: {row.instead}", style="green"))
    return table


def slowdowns_page(rows: Sequence[Slowdown], machine: str, budget: float) -> str:
    """``docs/known-slowdowns.md``, from so many seconds of timing."""
    parts = [
        "# Known slowdowns of parameter operations",
        "",
        "Users of public projects reported these slowdowns. Each row compares two cells of this suite: the slow way,",
        "and a faster way to do the same job.",
        "",
        f"Made by `bench-core known --budget {budget:g}s --markdown docs/known-slowdowns.md` on {plain(machine)}.",
        "Both cells are sampled in turn in several processes, each of which gives one ratio. All intervals hold",
        "together with 95 %; a question mark stands for one that the rounds are too few or too different for.",
    ]
    for where, (title, meaning) in SECTIONS.items():
        chosen = _slowest_first(row for row in rows if row.where == where)
        if chosen:
            parts += ["", f"## {title}", "", meaning, ""]
            parts += tables.markdown(
                "llrrrl", ["what is slow", "faster way", "slow", "fast", "ratio", ""], map(_slowdown_fields, chosen)
            )
    parts += ["", "## The cells", "", "`bench-core run 'NAME'` measures one of them again.", ""]
    parts += [f"- {_links(row.source)}: {code(row.slow)} against {code(row.fast)}" for row in _slowest_first(rows)]
    return "\n".join(parts) + "\n"


def _slowest_first(rows: Iterable[Slowdown]) -> list[Slowdown]:
    return sorted(rows, key=lambda row: -row.ratio.middle)


def _slowdown_fields(row: Slowdown) -> Sequence[str]:
    return (
        f"{prose(row.what)} ({_links(row.source)})",
        prose(row.instead),
        units.time(row.slow_seconds),
        units.time(row.fast_seconds),
        f"**{units.ratio(row.ratio.middle)}** ({units.ends(row.ratio)})",
        verdict(row),
    )


def agreement_table(rows: Sequence[Agreement]) -> Table:
    table = tables.terminal("lrrrl", AGREEMENT_HEADINGS)
    for row in rows:
        *fields, verdict = _agreement_fields(row)
        table.add_row(*map(Text, fields), Text(verdict, style="red" if row.verdict == "differs" else ""))
    return table


def agreement_page(rows: Sequence[Agreement], machine: str) -> str:
    """``docs/agreement.md``."""
    agreeing = sum(row.verdict == "agrees" for row in rows)
    fields = ([code(name), *others] for name, *others in map(_agreement_fields, rows))
    parts = [
        "# Do our times agree with torch's own timer?",
        "",
        "Each cell is timed in turn by our sampling and by `torch.utils.benchmark.Timer.blocked_autorange`, on one",
        "thread, in several processes. The cells range from the fastest to over 10 ms. A cell agrees if the ratio lies",
        "within 0.99 and 1.01, and differs if its whole interval lies outside. asv sets a cell up before every sample,",
        "so its times are those of the first 5 ms after a setup, when caches may be colder.",
        "[Why another tool's number differs](accuracy.md#why-another-tools-number-differs): threads, spread, caches.",
        "",
        f"Made by `bench-core agree --markdown docs/agreement.md` on {plain(machine)}.",
        f"{agreeing} of {units.plural(len(rows), 'cell')} agree.",
        "",
        *tables.markdown("lrrrl", AGREEMENT_HEADINGS, fields),
    ]
    return "\n".join(parts) + "\n"


def _agreement_fields(row: Agreement) -> Sequence[str]:
    ends = f"{row.ratio.low:.4f} to {row.ratio.high:.4f}" if row.ratio.known else "?"
    return row.cell, units.time(row.seconds), f"{row.ratio.middle:.4f}", ends, row.verdict


def _links(source: str) -> str:
    """``pytorch/pytorch#182116`` as a link. A part such as ``#42941`` belongs to the repository before it."""
    repository = ""
    links = []
    for part in source.replace(";", ",").split(","):
        project, _, number = part.strip().partition("#")
        repository = project or repository
        links.append(link(f"{repository.split('/')[-1]}#{number}", f"https://github.com/{repository}/issues/{number}"))
    return ", ".join(links)
