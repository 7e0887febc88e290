"""Follows the cells of a machine over its commits, and finds the commits at which a cell's level changed."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bench_core import units
from bench_core.analysis.subjects import version_key
from bench_core.errors import brief_in
from bench_core.records.commit import LoggedCommit
from bench_core.records.gate import VerdictName
from bench_core.records.report import Apart, ChangePoint, History, Moment, Track
from bench_core.records.results import CellResult, Run, Store, StoredGate, Summary
from bench_core.records.run import Interval
from bench_core.statistics import DEVIATION

NOISE_FLOOR = 0.01
"""The smallest relative step that is reported: the gate's default noise floor."""

SHORTEST = 6
"""The fewest values among which steps are searched. With fewer, no step is found at `PENALTY`, however high."""

BANDWIDTH = 0.1
"""gamma of the kernel exp(-gamma d^2), with d in units of the noise. The similarity of two values is nearly 0 from a
distance of 5 on, so an outlier counts the same however far away it is."""

PENALTY = 2.5
"""The cost of a step in the search. It was chosen on simulated histories.

Histories without a step (2,000 each of 6, 8, 10, 20 and 50 values, with normal, t3, lognormal (sigma 0.7) and
contaminated noise (a tenth five times as wide); half of them with one value 20 standard deviations off): a step is
found in at most 0.3 % of those with up to 10 values (lognormal: 0.55 %), and in at most 0.65 % of those with 20 or 50.
With autoregressive noise (0.5), it is found in 2.4, 8 and 17 % for 10, 20 and 50 values.

Histories with a step, of 10, 20 and 50 values: a step of 5 standard deviations is found in 53, 86 and 98 % five commits
after it; a step of 8 standard deviations in 81, 95 and 98 % three commits after it."""

LEAST_NOISE = 0.001
"""The least relative noise that is assumed. Smaller differences are chance or rounding."""


def histories(store: Store, commits: Mapping[str, LoggedCommit], link: str) -> tuple[History, ...]:
    """The history of each machine: the commits that it measured, or that a gate on it judged, oldest first.

    If the versions of torch follow one another, they share a history in which the upgrades are marked. If a machine
    measured the same range of commits with several versions, each version has its own history.

    Args:
        commits: commits by hash, ancestors first. Others are placed by their dates.
        link: the address of a commit's page, without the hash at its end; "" if unknown.
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
        else:  # a version came again after another one
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
    return tuple(Apart(one.date, one.base.name, one.head.name, one.verdict, _reason(one)) for one in said)


def _reason(said: Summary) -> str:
    """The reason of a verdict for people: with long names of cells cut, and what failed once and not again."""
    text = said.reason
    if said.strays:
        more = f", and {len(said.strays) - 1} more" if len(said.strays) > 1 else ""
        text += f"; failed once and not again: {said.strays[0]}{more}"
    return brief_in(text, (cell.name for cell in said.cells))


def _placed(gate: StoredGate) -> bool:
    """Whether its head is a commit without changes."""
    head = gate.summary.head
    return head.commit is not None and not head.changed


def _ordered(store: Store, machine: str, runs: Iterable[Run], commits: Mapping[str, LoggedCommit]) -> dict[str, int]:
    """The position of each commit on the axis."""
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
            verdicts.setdefault(str(said.head.commit), []).append((said.base.name, said.verdict, _reason(said)))
    measured: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        measured.setdefault((str(run.commit), run.torch), []).append(run)
    judged = [(commit, "") for commit in verdicts if not any(commit == known for known, _ in measured)]
    keys = sorted([*measured, *judged], key=lambda key: (order[key[0]], version_key(key[1])))
    moments: list[Moment] = []
    values: dict[str, dict[int, CellResult]] = {}
    unit_of: dict[str, str] = {}
    torch = ""
    for place, (commit, version) in enumerate(keys):
        here = sorted(measured.get((commit, version), ()), key=lambda run: run.measured)
        moments.append(
            Moment(
                commit=commits.get(commit, LoggedCommit(commit, "", "", here[0].committed if here else "")),
                link=f"{link}{commit}" if link else "",
                torch=version,
                upgraded=torch if torch and version and version != torch else "",
                verdicts=tuple(verdicts.pop(commit, ())),  # only once, even if two versions of torch measured it
            )
        )
        torch = version or torch
        for run in here:  # among environments with the same torch, the one measured last counts
            for cell in run.cells:
                values.setdefault(cell.name, {})[place] = cell
                unit_of[cell.name] = cell.unit
    ordered = [(cell, tuple(sorted(found.items()))) for cell, found in sorted(values.items())]
    tracks = tuple(_track(name, unit_of[name], found) for name, found in ordered)
    return History(machine=name, moments=tuple(moments), tracks=tracks, method=_method(tracks))


def _track(name: str, unit: str, cells: Sequence[tuple[int, CellResult]]) -> Track:
    """A cell over the commits. Times in rounds are told from asv's: no step is searched between the two."""
    values = tuple((moment, cell.value) for moment, cell in cells)
    by_protocol = [
        tuple((moment, cell.value) for moment, cell in cells if (cell.rounds is None) is by_asv)
        for by_asv in (True, False)
    ]
    steps = [step for found in by_protocol for step in _steps(found)]
    return Track(name, unit, values, tuple(sorted(steps, key=lambda step: step.moment)))


def _method(tracks: Iterable[Track]) -> str:
    searched = sum(len(track.values) >= SHORTEST for track in tracks)
    expected = f", so fewer than {searched / 100:g} of the {searched} cells here have one by chance" if searched else ""
    return (
        "Steps are found by kernel change-point detection (PELT with a Gaussian kernel, ruptures' KernelCPD) on the "
        f"logarithms of a cell's values, from {SHORTEST} values on, in units of the cell's noise from commit to "
        "commit. In simulated histories of up to 50 values with independent noise, it finds a false step in fewer than "
        f"1 of 100{expected}. A machine whose state lasts over several commits causes more, often in many cells at "
        f"once. It misses steps below {units.percent(NOISE_FLOOR)}, most below about three times the cell's noise, "
        "and those seen in fewer than two commits. The gate finds these."
    )


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
    """The index of the first value after each step.

    Kernel change-point detection (Harchaoui & Cappe, IEEE/SP 2007; Arlot, Celisse & Harchaoui, JMLR 20, 2019), which is
    related to the energy distance of E-divisive (Sejdinovic et al., Ann. Stat. 41, 2013), with PELT's search (Killick,
    Fearnhead & Eckley, JASA 107, 2012). At 1 % of false steps with the worst of the simulated noises, it finds 81 % of
    steps of 4 standard deviations in 20 values, five commits after them. Least squares after an outlier filter found
    46 %. Ranks found 56 %, and nothing within the last three commits.

    Args:
        noise: the standard deviation from value to value.
    """
    import numpy as np
    from ruptures import KernelCPD  # imported here, since importing scipy takes a second

    signal = np.array(logs).reshape(-1, 1) / noise
    search = KernelCPD(kernel="rbf", params={"gamma": BANDWIDTH}).fit(signal)
    return [int(place) for place in search.predict(pen=PENALTY)[:-1]]


def _noise(logs: Sequence[float]) -> float:
    """The standard deviation from commit to commit, from the median difference of neighbours. A step changes one of
    these differences and an outlier two, so they hardly affect the median."""
    return (
        DEVIATION / math.sqrt(2) * statistics.median(abs(after - before) for before, after in itertools.pairwise(logs))
    )


def _within(values: Iterable[Interval]) -> float:
    """The median standard deviation from the stored 99 % intervals; 0 without intervals."""
    widths = [math.log(value.high / value.low) / (2 * 2.5758) for value in values if value.known and value.low > 0]
    return statistics.median(widths) if widths else 0.0
