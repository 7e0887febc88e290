"""Since when: the cells of a machine over its commits, and where a cell's level changes for good."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bench_core.analysis.subjects import version_key
from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import VerdictName
from bench_core.records.report import Apart, ChangePoint, History, Moment, Track
from bench_core.records.results import Run, Store, StoredGate
from bench_core.records.run import Interval
from bench_core.statistics import DEVIATION

NOISE_FLOOR = 0.01
"""Smaller steps are not reported: the gate's own floor."""

SHORTEST = 6
"""Values of a cell from which steps are looked for. With fewer, no step of whatever height is found at this penalty."""

BANDWIDTH = 0.1
"""gamma of the kernel exp(-gamma d^2), d in units of the noise: two values that are 5 apart have little in common, and
any further apart have no less, so that one wild value weighs no more than another."""

PENALTY = 2.5
"""What a step must explain. Measured on simulated histories without one, 2,000 each of 6, 8, 10, 20 and 50 values, of
normal, t3, lognormal (sigma 0.7) and contaminated noise (a tenth five times as wide), every second one with one value
20 standard deviations off: at most 0.3 % of those with up to 10 values have a step (lognormal: 0.55 %), at most 0.65 %
of those with 20 or 50. Noise with memory (autoregressive, 0.5) makes more: 2.4, 8 and 17 % of 10, 20 and 50 values.

It finds a step of 5 standard deviations, five commits after it, in 53, 86 and 98 % of histories of 10, 20 and 50
values; one of 8, three commits after it, in 81, 95 and 98 %."""

LEAST_NOISE = 0.001
"""Values that agree better than this agree by chance or by rounding."""


def histories(store: Store, commits: Mapping[str, LoggedCommit], link: str) -> tuple[History, ...]:
    """The history of each machine: the commits that it has measured, or that a gate on it has judged, oldest first.

    Where a machine has measured one range of commits with several versions of torch, each version has a history of its
    own; where one version follows on another, they have one together, with the upgrades marked.

    Args:
        commits: what git knows, every commit before those that descend from it. One that it does not know is placed by
            its date.
        link: the address of a commit's page, without the hash at its end; "" where none is known.
    """
    found = []
    for machine in dict.fromkeys([*store.machines, *(gate.machine for gate in store.gates)]):
        apart = _apart(store, machine)
        runs = [run for run in store.runs if run.machine == machine and run.commit is not None]
        order = _ordered(store, machine, runs, commits)
        keys = sorted(
            {(order[str(run.commit)], run.torch) for run in runs}, key=lambda key: (key[0], version_key(key[1]))
        )
        versions = [version for version, _ in itertools.groupby(torch for _, torch in keys)]
        if len(versions) == len(set(versions)):
            found.append(replace(_history(store, machine, machine, runs, order, commits, link), apart=apart))
        else:  # it went back to a version that it had left
            found += [
                _history(
                    store,
                    machine,
                    f"{machine}, torch {version}" if version else machine,
                    [run for run in runs if run.torch == version],
                    order,
                    commits,
                    link,
                )
                for version in sorted(set(versions), key=version_key)
            ]
            found[-1] = replace(found[-1], apart=apart)
    return tuple(history for history in found if history.moments or history.apart)


def _apart(store: Store, machine: str) -> tuple[Apart, ...]:
    said = [gate.summary for gate in store.gates if gate.machine == machine and not _placed(gate)]
    return tuple(Apart(one.date, one.base.name, one.head.name, one.verdict, one.reason) for one in said)


def _placed(gate: StoredGate) -> bool:
    """Its head is a commit as it is."""
    head = gate.summary.head
    return head.commit is not None and not head.changed


def _ordered(store: Store, machine: str, runs: Iterable[Run], commits: Mapping[str, LoggedCommit]) -> dict[str, int]:
    """The place of each commit on the axis."""
    dates = {str(run.commit): run.committed for run in runs}
    for gate in store.gates:
        if gate.machine == machine and _placed(gate):
            dates.setdefault(str(gate.summary.head.commit), gate.summary.date)
    line = [name for name in commits if name in dates]
    for name in sorted((name for name in dates if name not in commits), key=lambda name: dates[name]):
        later = (place for place, known in enumerate(line) if dates[known] > dates[name])
        line.insert(next(later, len(line)), name)
    return {name: place for place, name in enumerate(line)}


def _history(
    store: Store,
    machine: str,
    name: str,
    runs: Sequence[Run],
    order: Mapping[str, int],
    commits: Mapping[str, LoggedCommit],
    link: str,
) -> History:
    verdicts: dict[str, list[tuple[str, VerdictName, str]]] = {}
    for gate in store.gates:
        said = gate.summary
        if gate.machine == machine and _placed(gate):
            verdicts.setdefault(str(said.head.commit), []).append((said.base.name, said.verdict, said.reason))
    measured: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        measured.setdefault((str(run.commit), run.torch), []).append(run)
    judged = [(commit, "") for commit in verdicts if not any(commit == known for known, _ in measured)]
    keys = sorted([*measured, *judged], key=lambda key: (order[key[0]], version_key(key[1])))
    moments: list[Moment] = []
    values: dict[str, dict[int, Interval]] = {}
    units: dict[str, str] = {}
    torch = ""
    for place, (commit, version) in enumerate(keys):
        here = sorted(measured.get((commit, version), ()), key=lambda run: run.measured)
        moments.append(
            Moment(
                commit=commits.get(commit, LoggedCommit(commit, "", "", here[0].committed if here else "")),
                link=f"{link}{commit}" if link else "",
                torch=version,
                upgraded=torch if torch and version and version != torch else "",
                verdicts=tuple(verdicts.pop(commit, ())),  # once, where two versions measured it
            )
        )
        torch = version or torch
        for run in here:  # of two environments that differ in something else than torch, the one measured last counts
            for cell in run.cells:
                values.setdefault(cell.name, {})[place] = cell.value
                units[cell.name] = cell.unit
    tracks = tuple(_track(cell, units[cell], tuple(sorted(found.items()))) for cell, found in sorted(values.items()))
    return History(machine=name, moments=tuple(moments), tracks=tracks, method=_method(tracks))


def _method(tracks: Iterable[Track]) -> str:
    searched = sum(len(track.values) >= SHORTEST for track in tracks)
    expected = (
        f", so fewer than {searched / 100:g} of the {searched} cells here would have one by chance" if searched else ""
    )
    return (
        "Steps are found by kernel change-point detection (PELT with a Gaussian kernel, ruptures' KernelCPD) on the "
        f"logarithms of a cell's values, from {SHORTEST} values on, in units of the cell's noise from commit to "
        "commit. In simulated histories of independent noise, of up to 50 values, it finds a step that is none in "
        f"fewer than 1 of 100{expected}; machines whose state lasts over several commits make more, often in many "
        f"cells at once. It misses steps below {100 * NOISE_FLOOR:g} %, most below about three times the cell's noise, "
        "and those that fewer than two commits show: the gate finds those."
    )


def _track(cell: str, unit: str, values: tuple[tuple[int, Interval], ...]) -> Track:
    return Track(cell, unit, values, tuple(_steps(values)))


def _steps(values: Sequence[tuple[int, Interval]]) -> Iterator[ChangePoint]:
    if len(values) < SHORTEST or not all(value.middle > 0 for _, value in values):
        return
    logs = [math.log(value.middle) for _, value in values]
    if max(logs) - min(logs) < math.log1p(NOISE_FLOOR):
        return
    places = step_places(logs, max(_noise(logs), _within([value for _, value in values]), LEAST_NOISE))
    levels = [statistics.median(logs[start:end]) for start, end in itertools.pairwise([0, *places, len(logs)])]
    for place, (before, after) in zip(places, itertools.pairwise(levels), strict=True):
        if abs(after - before) >= math.log1p(NOISE_FLOOR):
            yield ChangePoint(values[place][0], math.exp(after - before))


def step_places(logs: Sequence[float], noise: float) -> list[int]:
    """The indexes of the first values after a step.

    Kernel change-point detection (Harchaoui & Cappe, IEEE/SP 2007; Arlot, Celisse & Harchaoui, JMLR 20, 2019), of the
    family of the energy distance that E-divisive uses (Sejdinovic et al., Ann. Stat. 41, 2013), with PELT's search
    (Killick, Fearnhead & Eckley, JASA 107, 2012). At 1 % of false steps in the worst of the simulated noises it finds
    81 % of steps of 4 standard deviations in 20 values, five commits after them; least squares behind a filter for
    wild values found 46 %, and ranks 56 %, which tell nothing of the last three commits.

    Args:
        noise: the standard deviation from value to value.
    """
    import numpy as np
    from ruptures import KernelCPD  # here: it imports scipy, which takes a second

    signal = np.array(logs).reshape(-1, 1) / noise
    search = KernelCPD(kernel="rbf", params={"gamma": BANDWIDTH}).fit(signal)
    return [int(place) for place in search.predict(pen=PENALTY)[:-1]]


def _noise(logs: Sequence[float]) -> float:
    """The standard deviation from commit to commit, from the median difference of neighbours: a step is one of them,
    and a wild value two."""
    return (
        DEVIATION / math.sqrt(2) * statistics.median(abs(after - before) for before, after in itertools.pairwise(logs))
    )


def _within(values: Iterable[Interval]) -> float:
    """The standard deviation that the stored 99 % intervals stand for; 0 where there are none."""
    widths = [math.log(value.high / value.low) / (2 * 2.5758) for value in values if value.known and value.low > 0]
    return statistics.median(widths) if widths else 0.0
