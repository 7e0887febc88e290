"""Measures what ranks do with a sharded model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench_core import clock, watchdog
from bench_core.errors import BenchCoreError
from bench_core.records.model import ModelSpec, RankTimes
from bench_core.suite import rank_jobs
from bench_core.suite.base import available_bytes
from bench_core.suite.rank_jobs import JOBS, NOTES, RankJob
from bench_core.suite.ranks import DisagreementError, RankError, Ranks, why_no_peak, why_not

FEWEST, MOST = 3, 20
"""A job is called at least and at most so many times."""

SECONDS = 2.0
"""A job is called for about so many seconds."""

SHARE = 0.9
"""The share of the free memory that may be used."""


def counts(most: int) -> list[int]:
    """The numbers of ranks that are measured: powers of two up to `most`, and `most`, so that a law can be fitted."""
    powers = [1 << place for place in range(most.bit_length()) if 1 << place < most]
    return [*powers, most]


def measure_ranks(
    spec: ModelSpec,
    ranks: int,
    *,
    bytes: int = 0,
    block: str = "",
    seconds: float = SECONDS,
    timeout: float = 600.0,
    start: str | None = None,
) -> tuple[RankTimes, ...]:
    """The times of `bench_core.suite.rank_jobs.JOBS`, for every number of ranks in `counts`.

    Args:
        bytes: the memory of what is sharded; 0 if it is not known. Jobs that do not fit are not measured.
        block: the name of the part of the model that is sharded; "" for the whole.
        seconds: how long each job is called, with each number of ranks.
        timeout: seconds after which a rank hangs.
        start: as in `Ranks`.

    Raises:
        BenchCoreError: if so many ranks are not allowed.
        RankError: if the ranks cannot be started, or build different models. A job that fails costs only itself.
    """
    reason = why_not(ranks, spec.device)
    if reason:
        raise BenchCoreError(f"{reason}.")
    found: list[RankTimes] = []
    for count in counts(ranks):
        with tempfile.TemporaryDirectory(prefix="sharded-", dir=watchdog.room()) as folder:
            found += _Sharded(spec, block, count, bytes, seconds, Path(folder, "checkpoint"), timeout, start).all()
    return tuple(found)


class _Sharded:
    """One number of ranks."""

    def __init__(
        self,
        spec: ModelSpec,
        block: str,
        count: int,
        bytes: int,
        seconds: float,
        path: Path,
        timeout: float,
        start: str | None,
    ) -> None:
        self._spec, self._block, self._count, self._bytes, self._seconds = spec, block, count, bytes, seconds
        self._path, self._timeout, self._start = path, timeout, start
        self._ranks: Ranks | None = None
        self._maker: RankJob | None = None
        self._has_example = False

    def all(self) -> list[RankTimes]:
        try:
            return [self._measured(job) for job in JOBS]
        finally:
            self._close()

    def _measured(self, job: RankJob) -> RankTimes:
        reason = self._too_large(job) or ("" if job.makes or self._maker else "the model cannot be sharded here")
        if reason:
            return self._times(job, why_not=reason)
        try:
            return self._called(job, self._ready(job))
        except (RankError, AssertionError) as error:
            self._close()
            if self._maker is None and job is JOBS[0] and isinstance(error, DisagreementError):
                raise
            return self._times(job, why_not=str(error).removesuffix("."))

    def _called(self, job: RankJob, group: Ranks) -> RankTimes:
        if job.run is rank_jobs.forward_backward and not self._has_example:
            return self._times(
                job,
                why_not="there is no example of a forward pass: "
                + ("a part of a model has none" if self._block else "give one with --input"),
            )
        note = NOTES.get(job.name, "")
        peaks: tuple[int, ...] = ()
        self._before(job, group)
        if job.makes and not why_no_peak(self._spec.device):
            peaks = tuple(answer.peak_bytes or 0 for answer in group.watched(job.run))
        else:
            group.do(job.run)
        if job.check is not None:
            note = next((text for text in group.do(job.check) if text), note)
        if job.makes:
            self._maker = self._maker or job
            group.do(rank_jobs.remember)
            self._has_example = all(group.do(rank_jobs.give_example))
        spans: list[tuple[float, ...]] = []
        until = clock.host() + self._seconds
        while len(spans) < FEWEST or (len(spans) < MOST and clock.host() < until):
            self._before(job, group)
            spans.append(tuple(answer.seconds for answer in group.timed(job.run)))
        return self._times(job, seconds=spans, peak_bytes=peaks, note=note)

    def _before(self, job: RankJob, group: Ranks) -> None:
        if job.before is not None:
            group.do(job.before)

    def _ready(self, job: RankJob) -> Ranks:
        """Ranks that have loaded the target, and have made a model unless this job does."""
        if self._ranks is None:
            self._ranks = Ranks(self._count, self._spec.device, timeout=self._timeout, start=self._start)
            self._ranks.agree(rank_jobs.load_target, self._spec, self._block, what="the parameters of the model")
            self._ranks.do(rank_jobs.folder, str(self._path))
            if not job.makes and self._maker is not None:
                self._ranks.do(self._maker.run)
                self._ranks.do(rank_jobs.remember)
                self._ranks.do(rank_jobs.give_example)
        return self._ranks

    def _too_large(self, job: RankJob) -> str:
        each, together = job.copies
        needed = (each * self._count + together) * self._bytes
        available = available_bytes("cpu")
        if self._spec.device != "cpu" or needed <= SHARE * available:
            return ""
        return (
            f"{self._count} ranks need {needed / 2**30:.1f} GiB for it, and {available / 2**30:.1f} GiB are available"
        )

    def _times(
        self,
        job: RankJob,
        *,
        seconds: Sequence[tuple[float, ...]] = (),
        peak_bytes: tuple[int, ...] = (),
        why_not: str = "",
        note: str = "",
    ) -> RankTimes:
        return RankTimes(job.job, job.name, self._count, tuple(seconds), peak_bytes, why_not, note)

    def _close(self) -> None:
        if self._ranks is not None:
            self._ranks.close()
            self._ranks = None
