"""Shows the result of a bisection in the terminal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from bench_core import units
from bench_core.records.bisect import Bisection
from bench_core.records.commit import LoggedCommit
from bench_core.report.gate import effect, reproducing


def summary(found: Bisection, suite: Sequence[str] = ()) -> RenderableType:
    """The commit that was found, its slowdown, and the next commands. Print it with ``crop=False``, so that commands
    are not cut.

    Args:
        suite: the options of a command that name the suite or the model and say how to measure, see
            `bench_core.asv_config.naming`, `bench_core.records.model.ModelSpec.options` and
            `bench_core.records.gate.Asked.options`.
    """
    culprit = found.culprits[-1]
    measured = next((step for step in found.steps if step.commit == culprit), found.ends)
    lines = [Text("")]
    if len(found.culprits) == 1:
        lines.append(Text.assemble(("FOUND  ", "bold red"), _named(culprit)))
    else:
        lines.append(Text.assemble(("ONE OF  ", "bold yellow"), f"{len(found.culprits)} commits, oldest first:"))
        lines += [Text(f"  {_named(commit)}") for commit in found.culprits]
    if measured.ratio is not None:
        by = effect(measured.ratio) if math.isfinite(measured.ratio.middle) else measured.reason
        lines.append(Text(f"  {found.cell}: {by} against {found.good.hash[:12]}"))
    steps = f"{units.plural(len(found.steps), 'commit')} tested between the ends"
    lines.append(Text(f"  {steps}, {units.time(found.seconds)}"))
    first = found.culprits[0].hash[:12]
    command = shlex.join(["bench-core", "gate", f"{first}~", culprit.hash[:12], *suite])
    lines += [
        Text(f"  git show {culprit.hash[:12]}", no_wrap=True),
        Text(f"  {reproducing(command, found.cell)} --explain", no_wrap=True),
    ]
    return Group(*lines)


def _named(commit: LoggedCommit) -> str:
    return f"{commit.hash[:12]} {commit.subject} ({commit.author}, {commit.date})"
