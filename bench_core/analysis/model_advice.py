"""What to do about a model: at most five sentences, from its record alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from itertools import islice

from bench_core import units
from bench_core.analysis.models import Job, Placed, Ranked, T
from bench_core.errors import brief
from bench_core.records.model import Idiom, ModelRecord, Way

MOST = 5
"""The most sentences."""

LEAST_SHARE = 0.25
"""Name a stage of the plain way if it takes at least this share of its time."""

LEAST_GAIN = 0.1
"""Name a way that is not certainly faster than the plain one if it took less time by at least this share."""

DOING: Mapping[str, str] = {"load": "To load a checkpoint", "initialize": "To initialize a new model"}
"""The jobs of starting up, as the beginning of a sentence."""

LOST: Mapping[str, str] = {"initialize": "to draw weights that the checkpoint then replaces"}
"""What a stage of loading does in vain."""


def advice(record: ModelRecord, ranked: Ranked) -> tuple[str, ...]:
    """What to do, the most useful first.

    Args:
        ranked: what `bench_core.analysis.models.ranked` returns for the record.
    """
    start = [sentence for job in ranked.start for sentence in _start(job)]
    return tuple(islice([*start, *_access(ranked)], MOST))


def _start(job: Job[Way]) -> Iterator[str]:
    best, plain = job.best, job.plain
    doing = DOING.get(job.name, f"For {brief(job.name)}")
    if best is None:
        if job.placed:
            yield f"{doing}, no way that was tried gives the right model: the reasons are with each."
        return
    name = f"`{brief(best.of.name)}`"
    if plain is None:
        yield f"{doing}, {name} is the fastest correct way with {_time(best)}."
    elif plain.tied:
        yield (
            f"{doing}, no correct way is certainly faster than `{brief(plain.of.name)}` with {_time(plain)}."
            f"{_perhaps(best, plain)}"
        )
    else:
        yield (
            f"{doing}, {name} takes {_time(best)} in place of {_time(plain)} with `{brief(plain.of.name)}`: "
            f"{units.estimate(job.saves)} as fast{_less_memory(best, plain)}."
        )
        yield from _in_vain(job, plain)
    quickest = job.placed[0]
    if quickest.of.wrong:
        why = quickest.of.wrong.rstrip(".")
        yield f"{doing}, do not take `{brief(quickest.of.name)}`, although it is quicker: {why}."


def _time(one: Placed[T]) -> str:
    about = "about " if isinstance(one.of, Way) and one.of.law else ""
    return f"{about}{units.time(one.seconds.middle)}"


def _perhaps(best: Placed[Way], plain: Placed[Way]) -> str:
    """What may be faster than the plain way, and how to find it out; "" if nothing seems to be by much."""
    if not best.seconds.middle < (1 - LEAST_GAIN) * plain.seconds.middle:
        return ""
    return (
        f" `{brief(best.of.name)}` took {_time(best)}, in {units.plural(len(best.of.seconds), 'round')} that differ "
        "too much to be sure: a larger --budget gives more rounds."
    )


def _less_memory(best: Placed[Way], plain: Placed[Way]) -> str:
    """``, with 513 MiB less memory at its peak``; "" if that is not less."""
    if not best.of.peak_bytes or not plain.of.peak_bytes:
        return ""
    less = statistics.median(plain.of.peak_bytes) - statistics.median(best.of.peak_bytes)
    return f", with {units.size(less)} less memory at its peak" if less > 0 else ""


def _in_vain(job: Job[Way], plain: Placed[Way]) -> Iterator[str]:
    """A sentence on the stage of loading that does nothing useful, if it is a large part."""
    if job.name != "load":
        return
    for stage in plain.of.stages:
        share = statistics.median(stage.seconds) / plain.seconds.middle
        if stage.name in LOST and share >= LEAST_SHARE:
            yield f"`{brief(plain.of.name)}` spends {units.share(share)} of its time {LOST[stage.name]}."


def _access(ranked: Ranked) -> Iterator[str]:
    """The jobs in which the plain idiom loses most time in a call."""
    gains = [(_gain(job), job) for job in ranked.access]
    for gain, job in sorted(gains, key=lambda pair: -pair[0]):
        if gain > 0 and job.best is not None and job.plain is not None:
            note = f" {job.best.of.note}" if job.best.of.note else ""
            yield (
                f"For `{brief(job.name)}`, `{brief(job.best.of.name)}` takes {_time(job.best)} in place of "
                f"{_time(job.plain)} with `{brief(job.plain.of.name)}`.{note}"
            )


def _gain(job: Job[Idiom]) -> float:
    """The seconds of a call that the fastest idiom certainly saves against the plain one; 0 if none are certain."""
    if job.best is None or job.plain is None or job.plain.of.wrong or not job.saves.low > 1:
        return 0.0
    return job.plain.seconds.middle - job.best.seconds.middle if math.isfinite(job.saves.low) else 0.0
