"""Makes every figure that may be published, with its count, its bounds, and its origin."""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

from bench_core import tables, units
from bench_core.errors import BenchCoreError
from bench_core.report.table import described
from bench_core.results.asv_run import description
from bench_core.results.trials import SCHEMA, SUMMARY
from trials import causes, plants, suites, versus
from trials.figures import Figure, share, spread
from trials.files import Line, of_one_protocol, raw, write_json
from trials.gates import covers
from trials.kill import of_kill
from trials.own import of_own
from trials.plain import of_plain
from trials.sidebyside import asvs_own
from trials.soak import of_soak
from trials.table import of_table

VERDICTS = ("regression", "improvement", "pass", "inconclusive", "error")


def of_aa(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for what, chosen in (
        ("all", lines),
        ("other core idle", [line for line in lines if not line["busy"]]),
        ("other core busy", [line for line in lines if line["busy"]]),
    ):
        if not chosen:
            continue
        verdicts = _counted(chosen)
        measured = [cell for line in chosen for cell in _timed(line)]
        rejecting = sum(line["control_rejects"] for line in chosen)
        cells = sum(verdicts.values())
        found += [
            share("aa", f"gates that are red, {what}", sum(line["exit_code"] == 1 for line in chosen), len(chosen)),
            *(share("aa", f"cells that are {name}, {what}", verdicts[name], cells) for name in VERDICTS),
            share("aa", f"intervals without 1, {what}", *_missed((cell, 1.0) for cell in measured)),
            share("aa", f"gates whose controls reject, {what}", rejecting, len(chosen)),
            spread("aa", f"a gate, {what}", [line["seconds"] for line in chosen], "s"),
            spread("aa", f"pairs of a cell, {what}", [len(cell["effects"]) for cell in measured], "pairs"),
        ]
    return found


def _timed(line: Line) -> list[Line]:
    return [cell for cell in line["cells"].values() if cell["error"] is None]


def _counted(lines: Iterable[Line]) -> Counter[str]:
    total: Counter[str] = Counter()
    for line in lines:
        total.update(line["counts"])
    return total


def _missed(cells: Iterable[tuple[Line, float]]) -> tuple[int, int]:
    """The number of intervals that do not include the truth, and the number of intervals."""
    held = [found for cell, truth in cells if (found := covers(cell, truth)) is not None]
    return held.count(False), len(held)


def of_simulation(content: Line) -> list[Figure]:
    found = [
        Figure(
            "simulate",
            "drawn from (noisy gates more often: the others stop sooner)",
            f"{content['short_parents']:,} parents of {content['aa_gates']} A/A gates of {content['aa_tool']}; after "
            f"{content['fewest_pairs']} pairs, {content['long_parents']:,} that took longer ones",
        ),
        Figure("simulate", "cells a gate", f"{content['cells']}, with {content['most_pairs']} pairs at most"),
    ]
    for one in content["simulated"]:
        what = "no change" if one["shift"] == 0 else f"{100 * one['shift']:+.0f} % in every cell"
        if one["shift"] == 0:
            found.append(share("simulate", f"gates that are red, {what}", one["red_gates"], one["gates"]))
        found += [
            share("simulate", f"cells that are {name}, {what}", one["verdicts"].get(name, 0), one["cells"])
            for name in ("regression", "pass", "inconclusive")
        ]
        missed = one["intervals"] - one["covered"]
        found.append(share("simulate", f"intervals without the truth, {what}", missed, one["intervals"]))
        if "passes_below_truth" in one:  # not in older simulations
            passes = one["verdicts"].get("pass", 0)
            found.append(
                share("simulate", f"passes with a bound below the truth, {what}", one["passes_below_truth"], passes)
            )
        found.append(Figure("simulate", f"pairs of a cell, {what}", f"{one['mean_pairs']} (mean)"))
    return found


def of_detect(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for percent in sorted({line["percent"] for line in lines}):
        chosen = [line for line in lines if line["percent"] == percent]
        planted = [cell for line in chosen for name, cell in line["cells"].items() if name in line["planted"]]
        verdicts = Counter(cell["verdict"] for cell in planted)
        found += [
            share("detect", f"{percent:+d} %: planted cells that are {name}", verdicts[name], len(planted))
            for name in VERDICTS
        ]
        known = [
            (cell, plants.truth(percent, line["fixed"][name]))
            for line in chosen
            for name, cell in line["cells"].items()
            if name in line["planted"] and cell["error"] is None and line["fixed"][name] < plants.FIXED_AT_MOST
        ]
        found.append(share("detect", f"{percent:+d} %: intervals without the truth", *_missed(known)))
    controls = [c for line in lines for name, c in line["cells"].items() if name not in line["planted"]]
    verdicts = Counter(cell["verdict"] for cell in controls)
    return [
        *found,
        *(
            share("detect", f"cells beside planted ones that are {name}", verdicts[name], len(controls))
            for name in VERDICTS
        ),
        share(
            "detect",
            "cells beside planted ones: intervals without 1",
            *_missed((cell, 1.0) for cell in controls if cell["error"] is None),
        ),
        share("detect", "gates whose controls reject", sum(line["control_rejects"] for line in lines), len(lines)),
        spread("detect", "a gate", [line["seconds"] for line in lines], "s"),
    ]


def of_truncnormal(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for way in dict.fromkeys(line["way"] for line in lines):
        chosen = [line for line in lines if line["way"] == way]
        verdicts = Counter(line["verdict"] for line in chosen)
        said = ", ".join(f"{count} {name}" for name, count in verdicts.most_common())
        found.append(Figure("truncnormal", f"{way}: gates", said))
        for name in chosen[0]["cells"]:
            cells = [line["cells"][name] for line in chosen]
            ratio = statistics.median(cell["ratio"] for cell in cells)
            said = ", ".join(f"{n} {verdict}" for verdict, n in Counter(c["verdict"] for c in cells).most_common())
            found.append(Figure("truncnormal", f"{way}: {name}", f"{ratio:.3f} times the time: {said}"))
    return found


def of_sidebyside(lines: Sequence[Line]) -> list[Figure]:
    found = []
    lines = [{**line, "red": {rule: asvs_own(rows) for rule, rows in line["red"].items()}} for line in lines]
    for tool in dict.fromkeys(line["asked"] for line in lines):
        own = [line for line in lines if line["asked"] == tool]
        for rule in own[0]["red"]:
            name = f"{tool}, {rule}"
            none, some = ([line for line in own if bool(line["planted"]) == changed] for changed in (False, True))
            sizes = _cells_of(own)
            planted = [(line, cell) for line in some for cell in line["planted"] if cell in sizes]
            missed = sum(cell not in line["red"][rule] for line, cell in planted)
            beside = sum(len(set(line["red"][rule]) - set(line["planted"])) for line in some)
            found += [
                share("sidebyside", f"{name}: false reds without a change", *_reds(none, rule, len(sizes))),
                share("sidebyside", f"{name}: red comparisons without a change", *_red_comparisons(none, rule)),
                share("sidebyside", f"{name}: planted +5 % not red", missed, len(planted)),
                share(
                    "sidebyside",
                    f"{name}: false reds beside planted cells",
                    beside,
                    len(some) * len(sizes) - len(planted),
                ),
            ]
        unsure = sum(len(line["unsure"]) for line in own)
        if unsure:
            found.append(Figure("sidebyside", f"{tool}: cells that it leaves open, all comparisons", str(unsure)))
        found.append(spread("sidebyside", f"{tool}: a comparison", [line["seconds"] / 60 for line in own], "min"))
        built = [line["environment_seconds"] / 60 for line in own if "environment_seconds" in line]
        if built:
            found.append(spread("sidebyside", f"{tool}: its environment, beforehand", sorted(set(built)), "min"))
    return found


def _cells_of(lines: Sequence[Line]) -> set[str]:
    """The cells that were compared: those of the family in the options, or all."""
    family = lines[0]["options"]["bench"]
    return {name for name in plants.CELLS if family is None or f".{family}." in name}


def _reds(lines: Sequence[Line], rule: str, size: int) -> tuple[int, int]:
    return sum(len(line["red"][rule]) for line in lines), len(lines) * size


def _red_comparisons(lines: Sequence[Line], rule: str) -> tuple[int, int]:
    return sum(bool(line["red"][rule]) for line in lines), len(lines)


def of_growth(lines: Sequence[Line]) -> list[Figure]:
    return [
        Figure(
            "growth",
            f"{line['count']} cells",
            f"{line['wall']:.0f} s with a budget of {line['settings']['budget']:.0f} s, "
            f"{line['peak'] / 2**30:.2f} GiB in {line['processes']} processes, "
            f"{line['counts'].get('inconclusive', 0)} inconclusive",
        )
        for line in sorted(lines, key=lambda line: line["count"])
    ]


def of_causes(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for line in lines:
        cells, seconds = line["cells"], f"{line['seconds']:.0f} s"
        if line["asked"] == "causes":
            named = [one["named"] for one in cells.values()]
            found.append(share("causes", "sentences that name the culprit", sum(named), len(named)))
            found.append(Figure("causes", "both sides of all of them explained in", seconds))
        elif line["asked"] == "same":
            most = max(cells, key=lambda name: abs(causes.apart(cells[name])))
            value = f"{100 * abs(causes.apart(cells[most])):.3f} % of {len(cells)} cells (in {most})"
            found.append(Figure("causes", "the same code twice: instructions differ by at most", value))
            found.append(Figure("causes", f"instructions of {len(cells)} cells, both sides, counted in", seconds))
        else:
            planted = [cells[name] for name in line["planted"] if name in cells]
            others = [both for name, both in cells.items() if name not in line["planted"]]
            what = f"+{causes.PERCENT} % of work"
            found.append(share("causes", f"{what}: seen", sum(map(causes.seen, planted)), len(line["planted"])))
            wrong = sum(abs(causes.apart(both)) > causes.WITHIN for both in others)
            found.append(
                share("causes", f"cells beside it that differ by {100 * causes.WITHIN:g} %", wrong, len(others))
            )
    return found


def of_bisect(lines: Sequence[Line]) -> list[Figure]:
    planted = [line for line in lines if not line.get("without")]
    without = [line for line in lines if line.get("without")]
    found = []
    if planted:
        right = sum(line["right"] for line in planted)
        found += [
            share("bisect", "searches that name the right commit alone", right, len(planted)),
            Figure("bisect", "searches that were refused", str(sum(line["refused"] for line in planted))),
            spread("bisect", "commits tested, beside the end", [line["tested"] for line in planted], "commits"),
            spread("bisect", "a search", [line["wall"] for line in planted], "s"),
        ]
    if without:
        refused = sum(line["refused"] for line in without)
        found += [
            share("bisect", "searches without a difference that were refused", refused, len(without)),
            spread("bisect", "a search without a difference", [line["wall"] for line in without], "s"),
        ]
    return found


def of_creep(lines: Sequence[Line]) -> list[Figure]:
    last = [line for line in lines if "creep" in line]
    steps = [cell["verdict"] for line in lines for name, cell in line["cells"].items() if name in line["creeping"]]
    crept, others = (
        [
            cell
            for line in last
            for name, cell in line["creep"]["cells"].items()
            if (name in line["creeping"]) == is_creeping
        ]
        for is_creeping in (True, False)
    )
    return [
        share(
            "creep",
            "cells that a step made slower by 1 %, and that it alone turned red",
            steps.count("regression"),
            len(steps),
        ),
        share(
            "creep",
            "gates that are red by what crept in",
            sum(line["creep"]["verdict"] == "regression" for line in last),
            len(last),
        ),
        share("creep", "cells slower by 10 % in ten steps that are red", _count_red(crept), len(crept)),
        spread("creep", "their estimates", [100 * (cell["ratio"] - 1) for cell in crept], "%"),
        share("creep", "cells beside them that are red", _count_red(others), len(others)),
        spread(
            "creep", "a gate without the third version", [line["wall"] for line in lines if "creep" not in line], "s"
        ),
        spread("creep", "a gate with it", [line["wall"] for line in last], "s"),
    ]


def of_versus(lines: Sequence[Line]) -> list[Figure]:
    cells = [(versus.without_numpy(name), cell["verdict"]) for line in lines for name, cell in line["cells"].items()]
    found = [Figure("versus", "between", " and ".join(lines[0]["releases"]))]
    for without, what in ((True, "cells that call nothing of it"), (False, "cells that do")):
        own = [verdict for none, verdict in cells if none == without]
        for verdict in VERDICTS:
            found.append(share("versus", f"{what} that are {verdict}", own.count(verdict), len(own)))
    return [
        *found,
        share("versus", "gates that call it no fair pair", sum("unfair" in line for line in lines), len(lines)),
        spread("versus", "a gate, both installed anew", [line["wall"] for line in lines], "s"),
    ]


def of_report(lines: Sequence[Line]) -> list[Figure]:
    (cells, commits), *others = {(line["cells"], line["commits"]) for line in lines}
    assert not others, "one protocol has one history"
    return [
        Figure("report", "cells in the page, and commits", f"{cells:,}, {commits}"),
        spread("report", "from the command to the page", [line["build"] for line in lines], "s"),
        spread("report", "the page", [line["bytes"] / 1e6 for line in lines], "MB"),
        spread("report", "until its first chart is drawn, in Chromium", [line["usable"] for line in lines], "s"),
    ]


def of_suites(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for line in suites.newest(lines):
        name, asv = line["suite"], line["asv"]["cells"]
        found.append(share("suites", f"{name}: cells of asv that are found", asv - len(line["only_asv"]), asv))
        for door, (count, of) in suites.held(line).items():
            found.append(share("suites", f"{name}: drawn cells that asv runs, and {door} too", count, of))
    return found


def _count_red(cells: Sequence[Line]) -> int:
    return sum(cell["verdict"] == "regression" for cell in cells)


OF: Mapping[str, Callable[[Sequence[Line]], list[Figure]]] = {
    "aa": of_aa,
    "aa-noisy": of_aa,
    "detect": of_detect,
    "detect-busy": of_detect,
    "truncnormal": of_truncnormal,
    "sidebyside": of_sidebyside,
    "growth": of_growth,
    "own": of_own,
    "plain": of_plain,
    "causes": of_causes,
    "bisect": of_bisect,
    "creep": of_creep,
    "versus": of_versus,
    "report": of_report,
    "table": of_table,
    "suites": of_suites,
    "kill": of_kill,
    "soak": of_soak,
}

TITLES = {
    "aa": "A/A gates on this project: two commits that differ by a comment",
    "aa-noisy": "The same beside two processes that wander over all cores",
    "simulate": "Gates drawn from the pairs of the A/A gates",
    "detect": "Known slowdowns",
    "detect-busy": "The same while another process keeps the other core busy",
    "truncnormal": "A real slowdown: two ways to `trunc_normal_`",
    "sidebyside": "Three tools in turn on the same plants",
    "growth": "By the number of cells",
    "own": "asv and our gate on forty cells of this project's suite",
    "plain": "Generated suites of plain cells of a few microseconds",
    "causes": "Why it is slower, and instructions",
    "bisect": "Which of 32 commits added 5 % to a cell",
    "creep": "Ten commits of +1 % each, and what they add up to",
    "versus": "Two releases of numpy, under a suite that knows nothing of torch",
    "report": "The page of a thousand cells over fifty commits",
    "table": "The table of `bench-core run`, several times",
    "suites": "Suites of public projects",
    "kill": "Commands that are killed at random moments",
    "soak": "Gates in a row on three cells without torch: two commits that differ by a constant",
}


COMMANDS = {"aa-noisy": ["aa", "--noisy"], "detect-busy": ["detect", "--busy"]}
"""The words of a trial's command if they are not its name."""


@dataclass(frozen=True)
class Taken:
    """The part of a trial in a summary.

    Attributes:
        figures: the trial's figures.
        tool: the version that was measured.
        dates: the dates of the runs, sorted.
        options: the options of its command; None if they were not kept.
        left_out: the number of runs of other versions, or with other options.
    """

    figures: Sequence[Figure]
    tool: str
    dates: Sequence[str]
    options: Mapping[str, str | None] | None
    left_out: int = 0

    def origin(self, trial: str) -> dict[str, Any]:
        """The origin of the figures."""
        given = [word for name, value in (self.options or {}).items() if value for word in (f"--{name}", value)]
        unknown = " (its options were not kept)" if self.options is None else ""
        first, last = self.dates[0], self.dates[-1]
        return {
            "title": TITLES[trial],
            "date": first if first == last else f"{first} to {last}",
            "tool": self.tool,
            "command": shlex.join(["python", "-m", "trials", *COMMANDS.get(trial, [trial]), *given]) + unknown,
            "left_out": self.left_out,
        }


def taken(folder: Path, trial: str, tool: str | None) -> Taken | None:
    """The newest runs with the same tool and options; None if there are none. With `tool`, only its runs count."""
    if trial == "simulate":
        path = folder / "simulate.jsonl"
        content = json.loads(path.read_text()) if path.exists() else {}
        if not content or tool not in (None, content["tool"]):
            return None
        return Taken(of_simulation(content), content["tool"], [content["date"]], {})
    lines = raw(folder, trial).read()
    try:
        own = of_one_protocol(lines, tool)
        if not own:
            return None
        dates = sorted(line["date"][:10] for line in own)
        figures = [replace(figure, trial=trial) for figure in OF[trial](own)]
        measured, options = str(own[0]["tool"]), own[0].get("options")
        if options is not None and not all(isinstance(value, (str, NoneType)) for value in options.values()):
            raise TypeError(f"options are {options!r}")
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BenchCoreError(
            f"{raw(folder, trial).path} has lines that are not those of this trial: {error!r}. Delete them, and start "
            "the trial again. It measures what is missing."
        ) from error
    return Taken(figures, measured, dates, options, len(lines) - len(own))


def page(found: Sequence[Figure], origins: Mapping[str, Mapping[str, Any]], machine: str) -> str:
    """The page with the figures."""
    parts = ["# Trials\n", f"On {machine}. Bounds are Clopper-Pearson, 95 %.\n"]
    for trial, title in TITLES.items():
        own = [figure for figure in found if figure.trial == trial]
        if not own:
            continue
        by = origins[trial]
        others = f" Runs of other commits or with other options, left out: {by['left_out']}." if by["left_out"] else ""
        parts += [
            f"\n## {title}\n",
            f"`{by['command']}`, {by['date']}, bench_core at {by['tool']}.{others}\n",
            *tables.markdown(
                "lll",
                ["figure", "value", "bounds"],
                ((one.what, one.value, units.bounds(one.low, one.high)) for one in own),
            ),
        ]
    return "\n".join(parts) + "\n"


def run(folder: Path, name: str, tool: str | None = None) -> str:
    """Write ``summary.md`` and what `bench_core.results.trials` reads.

    Args:
        name: the name of the machine.
        tool: take only runs of this version; None for the newest of each trial.

    Returns:
        The page.

    Raises:
        BenchCoreError: if there are none.
    """
    trials = {trial: one for trial in TITLES if (one := taken(folder, trial, tool))}
    if not trials:
        whose = f" of {tool}: name it as the runs do" if tool else ""
        raise BenchCoreError(f"there are no runs in {folder}{whose}. `python -m trials NAME` makes them.")
    found = [figure for one in trials.values() for figure in one.figures]
    origins = {trial: one.origin(trial) for trial, one in trials.items()}
    text = page(found, origins, described(description()))
    write_json(
        folder / SUMMARY,
        {
            "schema": SCHEMA,
            "machine": {"name": name, **description()},
            "trials": origins,
            "figures": [asdict(figure) for figure in found],
        },
    )
    (folder / "summary.md").write_text(text)
    return text
