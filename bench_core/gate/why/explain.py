"""`--explain`: inspects both versions without a clock, and puts the differences into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bench_core import units
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.subjects import Subjects
from bench_core.gate.why import inspector, instructions
from bench_core.gate.why.cause import InstructionCounts, cause, why_not
from bench_core.records.gate import SIDES, Cause
from bench_core.workers import child
from bench_core.workers.messages import Profile


def explain(
    subjects: Subjects,
    cells: Sequence[str],
    ratios: Mapping[str, float],
    say: Callable[[str], None],
    renamed: Mapping[str, str] | None = None,
    reached: Mapping[str, str] | None = None,
) -> dict[str, Cause]:
    """Find out why these cells are slower, or larger.

    Args:
        ratios: the ratio of values, head over base, by cell.
        say: takes a line on each step.
        renamed, reached: see `GateRecord`.

    Returns:
        A cause for every cell. If a version could not be inspected, its sentence says why.
    """
    if not cells:
        return {}
    profiles, failed = _profiled(subjects, cells, say, renamed or {})
    counts: Mapping[str, tuple[InstructionCounts, InstructionCounts]] = {}
    uncounted: Mapping[str, str] = {}
    timed = [name for name, (base, _) in profiles.items() if base.timed]
    try:
        counted = instructions.count(subjects, timed, say, renamed) if timed else None
    except (BenchCoreError, OSError) as error:  # the profiles are enough to name a cause
        uncounted = dict.fromkeys(timed, str(error))
    else:
        counts, uncounted = (counted.counts, counted.failed) if counted else ({}, {})
    packages = subjects.packages
    through = reached or {}
    causes = {
        name: cause(
            name,
            base,
            head,
            counts.get(name),
            packages,
            ratios[name],
            uncounted.get(name, ""),
            through.get(name, ""),
        )
        for name, (base, head) in profiles.items()
    }
    causes |= {name: Cause(name, f"not explained: {reason}") for name, reason in failed.items()}
    return {name: causes[name] for name in cells}


def _profiled(
    subjects: Subjects, cells: Sequence[str], say: Callable[[str], None], renamed: Mapping[str, str]
) -> tuple[dict[str, tuple[Profile, Profile]], dict[str, str]]:
    """The profiles of both sides, by cell; and for the other cells the reasons why there are none."""
    profiles: dict[str, tuple[Profile, Profile]] = {}
    failed: dict[str, str] = {}
    say(f"profiling {units.plural(len(cells), 'cell')}")
    with child.Watchdog() as watchdog:
        for name, answers in inspector.look(subjects, cells, "profile", watchdog, renamed=renamed):
            base, head = (answers[side] for side in SIDES)
            if isinstance(base, Profile) and isinstance(head, Profile):
                profiles[name] = (base, head)
            else:
                reasons = [f"{side}: {reason}" for side, reason in why_not(answers).items()]
                failed[name] = "; ".join(dict.fromkeys(reasons))
    return profiles, failed
