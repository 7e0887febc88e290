"""Why a cell is slower, or larger: from what was seen of both sides to one sentence. Pure, and without torch.

Three kinds of numbers are counted and therefore exact: how often each function and each operator runs, the bytecodes
in each function, and instructions. Seconds under a profiler are not: they put the differences in order, and that only.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench_core.records.gate import Cause, Change

SAME = 0.005
"""Instructions that differ by less are called the same. Those of the same code differed by nothing in 18 cells that
need the interpreter only, and by up to 0.31 % in ten cells of torch: see `bench_core.gate.why.inspector.WARM`."""

FLOOR = 0.01
"""Times that differ by less are the same: the gate's own noise floor."""

PER_BYTECODE = 200
"""Instructions that a bytecode of the interpreter takes, at most: 10 to 100. Where more are added than that, something
that it calls is the reason, and numpy's operators are no calls to a profiler."""

LEAST_BYTES = 1024
"""Of Python's memory, what is said to be more; to listen to a call moves it by some hundred bytes."""

KEPT = 20
"""Differences of each kind that are kept."""

SHARE, OWN_SHARE = 0.3, 0.05
"""Of the largest added time; what adds less is not named. A function of the version's own that runs more often is named
first: what it makes torch do besides is seen at other functions (with 0.3 for both, a hook that was left registered was
not named in one run of four). Then an operator, and then what of Python calls it: the same time is seen at each."""


@dataclass(frozen=True)
class Called:
    """A function, in a call of the cell.

    Attributes:
        count: how often it runs.
        own: seconds in it, without those in what it calls.
        total: with them.
        python: it is written in Python.
    """

    count: float = 0.0
    own: float = 0.0
    total: float = 0.0
    python: bool = False


@dataclass(frozen=True)
class Operator:
    """An operator of torch, in a call of the cell.

    Attributes:
        count: how often it runs.
        seconds: in it, without those in what it calls.
        bytes: that it allocates.
        elements: of the tensors that it is given.
    """

    count: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0
    elements: float = 0.0


@dataclass(frozen=True)
class Profile:
    """What was seen of one cell on one side, without valgrind.

    Attributes:
        kind: the cell's, as of `bench_core.timing.cells.Cell`.
        calls: function to how it runs.
        bytecodes: Python's function to its bytecodes by their names; None where they are too many to be counted, and
            for what is not timed.
        operators: name to how it runs.
        tensors: bytes that torch allocates, at most at once.
        peak: those that Python and numpy allocate.
    """

    kind: str
    calls: Mapping[str, Called]
    bytecodes: Mapping[str, Mapping[str, int]] | None
    operators: Mapping[str, Operator]
    tensors: float
    peak: float

    @classmethod
    def read(cls, answer: Mapping[str, Any]) -> Profile:
        """From the JSON of an inspector."""
        return cls(
            answer["kind"],
            {name: Called(**one) for name, one in answer["calls"].items()},
            answer["bytecodes"],
            {name: Operator(**one) for name, one in answer["operators"].items()},
            answer["tensors"],
            answer["peak"],
        )

    @property
    def timed(self) -> bool:
        """Its value is a time; else it is a size, or whatever is tracked, of which seconds say nothing."""
        return self.kind == "time"

    @property
    def seconds(self) -> float:
        return sum(one.own for one in self.calls.values())


@dataclass(frozen=True)
class Counts:
    """Instructions in a call of a cell on one side.

    Attributes:
        total: in a call.
        functions: of the machine's code, with what each executes itself.
    """

    total: float
    functions: Mapping[str, float]


def meaning(time: float, base: float, head: float) -> str:
    """What a ratio of times and instruction counts mean together.

    Args:
        time: head over base.
        base, head: instructions a call.
    """
    work = head / base - 1
    slower, faster = time > 1 + FLOOR, time < 1 - FLOOR
    if abs(work) <= SAME:
        return "same work, more waiting" if slower else "same work, less waiting" if faster else "same work"
    if work > 0:
        # Added instructions may be twice as slow as the others. What is more than that, they do not explain.
        if slower:
            return "more work" if time - 1 < 2 * work + FLOOR else "more work, and more waiting"
        return "more work, less waiting" if faster else "more work, not slower"
    return "less work, more waiting" if slower else "less work" if faster else "less work, not faster"


def cause(
    cell: str,
    base: Profile,
    head: Profile,
    counts: tuple[Counts, Counts] | None,
    packages: Sequence[str],
    time: float,
    without: str = "",
) -> Cause:
    """
    Args:
        counts: base's and head's; None where there are none, as of what is not timed.
        packages: top-level names of what is compared: its functions are named first.
        time: head over base, of what is timed.
        without: why something is missing.
    """
    if base.timed:
        clauses = [*_differences(base, head, counts, packages)] or [_otherwise(base, head, counts)]
    else:
        clauses = _untimed(base, head, packages)
    if counts is not None:
        clauses.append(_instructions(counts, time))
    return Cause(
        cell,
        "; ".join(clause for clause in clauses if clause),
        None if counts is None else (counts[0].total, counts[1].total),
        () if counts is None else tuple(_functions(*counts)[:KEPT]),
        tuple(_operators(base, head)[:KEPT]),
        tuple(_calls(base, head)[:KEPT]),
        without,
    )


# The sentence.


_Kind = Literal["own", "operator", "python", "native"]

KINDS: tuple[_Kind, ...] = ("own", "operator", "python", "native")
"""In the order in which they are named, if they add enough: see `SHARE`."""


@dataclass(frozen=True)
class _Suspect:
    """Something that runs more often with head, or on more.

    Attributes:
        adds: seconds.
        text: how it is named, with its numbers.
    """

    kind: _Kind
    name: str
    adds: float
    text: str


def _differences(
    base: Profile, head: Profile, counts: tuple[Counts, Counts] | None, packages: Sequence[str]
) -> Iterator[str]:
    """The clauses of the sentence; none where nothing runs more often or on more."""
    suspects = [*_more_operators(base, head), *_more_calls(base, head, packages)]
    adds = {kind: _added_by(kind, suspects) for kind in KINDS}
    named = [
        own[0]
        for kind in KINDS
        if (own := _of(kind, suspects)) and adds[kind] >= (OWN_SHARE if kind == "own" else SHARE) * max(adds.values())
    ]
    if not named:
        function = _busier(base, head)
        if function:
            added = _executed(head, function) - _executed(base, function)
            if counts is not None and counts[1].total - counts[0].total > PER_BYTECODE * added:
                yield _native(counts)
            yield _bytecodes(base, head, function)
        return
    slower = _slower(base, head)
    if slower is not None and slower.added > max(adds.values()) / SHARE:
        yield _longer(slower)
    first = named[0]
    text = first.text
    also = [one.name for one in _of(first.kind, suspects) if one is not first and one.adds >= SHARE * first.adds]
    if also:
        text += f", with {', '.join(also[:2])}"
    gone = _gone(base, head)
    if gone and gone.adds >= SHARE * first.adds:
        text += f", in place of {gone.text}"
    yield text
    # What Python calls to reach an operator says the same once more.
    following = next((one for one in named[1:] if (first.kind, one.kind) != ("operator", "native")), None)
    if following is not None:
        yield following.text
    function = _busier(base, head) if first.kind != "own" else None
    if function:
        before, now = (_executed(side, function) for side in (base, head))
        yield f"{now - before:,} more bytecodes in {function} ({before:,} → {now:,})"


def _added_by(kind: _Kind, suspects: Sequence[_Suspect]) -> float:
    """Seconds: all that were added are, but for the version's own functions, in one only; those call each other."""
    adds = [one.adds for one in suspects if one.kind == kind]
    return max(adds, default=0.0) if kind == "own" else sum(adds)


def _of(kind: _Kind, suspects: Sequence[_Suspect]) -> list[_Suspect]:
    return sorted((one for one in suspects if one.kind == kind), key=lambda one: -one.adds)


def _more_operators(base: Profile, head: Profile) -> Iterator[_Suspect]:
    for name, now in head.operators.items():
        before = base.operators.get(name, Operator())
        adds = max(0.0, now.seconds - before.seconds)
        if _grown(before.count, now.count):
            yield _Suspect("operator", name, adds, _more(name, before.count, now.count))
        elif before.count == now.count:
            # Allocated bytes first: they are of the result, and an operator that is given more allocates more.
            if _grown(before.bytes, now.bytes):
                yield _Suspect("operator", name, adds, _larger(name, "bytes", before.bytes, now.bytes))
            elif _grown(before.elements, now.elements):
                yield _Suspect("operator", name, adds, _larger(name, "elements", before.elements, now.elements))


def _more_calls(base: Profile, head: Profile, packages: Sequence[str]) -> Iterator[_Suspect]:
    added = max(0.0, head.seconds - base.seconds)
    more = {
        name: (base.calls.get(name, Called()), now)
        for name, now in head.calls.items()
        if _grown(base.calls.get(name, Called()).count, now.count)
    }
    for name, (before, now) in more.items():
        if name.rpartition(".<locals>.")[0] in more:  # it runs inside that one, a comprehension for instance
            continue
        adds = max(0.0, now.own - before.own)
        kind: _Kind = "python" if now.python else "native"
        if now.python and name.partition(".")[0] in packages:
            kind = "own"
            # With all that it calls, unless that is more than was added: then it wraps what was there before.
            inside = max(0.0, now.total - before.total)
            adds = inside if inside <= 1.5 * added else adds
        yield _Suspect(kind, name, adds, _more(name, before.count, now.count, "call of "))


def _gone(base: Profile, head: Profile) -> _Suspect | None:
    """What base ran and head does not, the operator or function that it spent most in."""
    found = [
        *(
            _Suspect("operator", name, was.seconds, f"{name} ({_number(was.count)} → 0)")
            for name, was in base.operators.items()
            if name not in head.operators
        ),
        *(
            _Suspect("native", name, was.own, f"{name} ({_number(was.count)} → 0)")
            for name, was in base.calls.items()
            if name not in head.calls
        ),
    ]
    return max(found, key=lambda one: one.adds, default=None)


def _busier(base: Profile, head: Profile) -> str | None:
    """The function that runs as often as on base and executes more bytecodes: that which adds most, if it is 1 %."""
    if base.bytecodes is None or head.bytecodes is None:
        return None
    added = {
        name: _executed(head, name) - _executed(base, name)
        for name in head.bytecodes
        if name in base.bytecodes and _count(base, name) == _count(head, name)
    }
    name = max(added, key=lambda one: added[one], default=None)
    enough = name is not None and added[name] > FLOOR * sum(sum(one.values()) for one in base.bytecodes.values())
    return name if enough else None


def _executed(profile: Profile, name: str) -> int:
    return sum((profile.bytecodes or {}).get(name, {}).values())


def _count(profile: Profile, name: str) -> float:
    return profile.calls.get(name, Called()).count


def _bytecodes(base: Profile, head: Profile, name: str) -> str:
    assert base.bytecodes is not None
    assert head.bytecodes is not None
    before, now = base.bytecodes[name], head.bytecodes[name]
    added = {code: count - before.get(code, 0) for code, count in now.items()}
    most = max(added, key=lambda one: added[one])
    change = sum(now.values()) - sum(before.values())
    return (
        f"{change:,} more bytecodes in {name} ({sum(before.values()):,} → {sum(now.values()):,}), "
        f"{added[most]:,} more of them {most}"
    )


def _otherwise(base: Profile, head: Profile, counts: tuple[Counts, Counts] | None) -> str:
    """Where nothing of Python or torch runs more often, or on more."""
    if head.peak > 1.1 * base.peak and head.peak - base.peak >= 2**16:
        return (
            f"same calls, more memory: {_size(base.peak)} → {_size(head.peak)} of Python's and numpy's at most at once"
        )
    if counts is not None and counts[1].total > (1 + SAME) * counts[0].total:
        return f"same calls and operators, {_native(counts)}"
    slower = _slower(base, head)
    if slower is not None:
        return f"same calls, operators and bytes; {_longer(slower)}"
    unseen = ", or code that no profiler of Python sees" if counts is None else ""
    return f"same calls, operators and bytes: memory traffic, or the clock{unseen}"


def _untimed(base: Profile, head: Profile, packages: Sequence[str]) -> list[str]:
    """The clauses on a memory or tracked cell: bytes first, then what runs more often."""
    larger = sorted(
        (
            Change(name, "bytes", before, now.bytes)
            for name, now in head.operators.items()
            if _grown(before := base.operators.get(name, Operator()).bytes, now.bytes)
        ),
        key=lambda one: -one.added,
    )
    sizes = [*_at_once(base, head), *_allocating(larger)]
    if not larger and _grown(base.tensors, head.tensors):
        sizes.append("no operator allocates more: what is allocated is freed later")
    said = {one.name for one in larger}
    counted = [*_differences(_without(base, said), _without(head, said), None, packages)]
    if not sizes and not counted:
        return ["same calls, operators and bytes: what is imported or set up, or code that no profiler of Python sees"]
    return [*(sizes or ["no more bytes allocated"]), *counted]


def _without(profile: Profile, operators: Collection[str]) -> Profile:
    return replace(profile, operators={name: one for name, one in profile.operators.items() if name not in operators})


def _at_once(base: Profile, head: Profile) -> Iterator[str]:
    """Whose memory grows, the most first."""
    found = [
        Change("tensors", "bytes", base.tensors, head.tensors),
        Change("what Python and numpy allocate", "bytes", base.peak, head.peak),
    ]
    for one in sorted(found, key=lambda one: -one.added):
        if _grown(one.base, one.head) and one.added >= LEAST_BYTES:
            yield f"{_size(one.added)} more of {one.name}, at most at once ({_size(one.base)} → {_size(one.head)})"


def _allocating(larger: Sequence[Change]) -> Iterator[str]:
    """The operator that allocates most more than before, with those that add nearly as much."""
    if larger:
        first = larger[0]
        also = [one.name for one in larger[1:] if one.added >= SHARE * first.added]
        text = f"{_size(first.added)} more in {first.name} ({_size(first.base)} → {_size(first.head)})"
        yield text + (f", with {', '.join(also[:2])}" if also else "")


def _slower(base: Profile, head: Profile) -> Change | None:
    """The operator that takes longer for no more calls, bytes or elements, by 20 % at least: that which adds most."""
    if not base.timed:
        return None
    found = [
        Change(name, "seconds", before.seconds, now.seconds)
        for name, now in head.operators.items()
        if (before := base.operators.get(name)) is not None
        and (before.count, before.bytes, before.elements) == (now.count, now.bytes, now.elements)
        and now.seconds > 1.2 * before.seconds
    ]
    return max(found, key=lambda one: one.added, default=None)


def _longer(slower: Change) -> str:
    return (
        f"under the profiler {slower.name} takes {slower.head / slower.base:.2g} times as long for as many bytes: "
        "memory traffic, or another kernel"
    )


def _native(counts: tuple[Counts, Counts]) -> str:
    most = _functions(*counts)[0]
    return f"{_number(most.added)} more instructions in {most.name} ({_number(most.base)} → {_number(most.head)})"


def _instructions(counts: tuple[Counts, Counts], time: float) -> str:
    before, now = (one.total for one in counts)
    if abs(now / before - 1) <= SAME:
        return f"instructions the same within {100 * SAME:g} %: {meaning(time, before, now)}"
    return f"instructions {100 * (now / before - 1):+.1f} %: {meaning(time, before, now)}"


# Its words.


def _grown(before: float, now: float) -> bool:
    """By 1 % and more: what happens once in many calls falls into some of the profiled calls and not into others."""
    return now > before * (1 + FLOOR) and now - before > 0.1


def _more(name: str, before: float, now: float, what: str = "") -> str:
    plural = what if now - before == 1 or not what else what.replace("call ", "calls ")
    return f"{_number(now - before)} more {plural}{name} ({_number(before)} → {_number(now)})"


def _larger(name: str, what: str, before: float, now: float) -> str:
    say = _size if what == "bytes" else _number
    times = f"{now / before:.2g} times the {what}" if before else f"more {what}"
    return f"same operators, {times}: {name} ({say(before)} → {say(now)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:.3g}"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} GiB"


def short(name: str) -> str:
    """A function of C++ without its arguments, templates and return type."""
    name = name.replace("(anonymous namespace)::", "").replace("operator()", "operator")
    while True:
        shorter = re.sub(r"<[^<>]*>|\([^()]*\)|\{[^{}]*\}", "", name)
        if shorter == name:
            break
        name = shorter
    words = [word for word in name.split() if "::" in word or word.isidentifier()] or name.split()
    found = next((word for word in words if "::" in word), words[-1] if words else name)
    return found if len(found) <= 80 else f"{found[:77]}..."


# The tables.


def _calls(base: Profile, head: Profile) -> list[Change]:
    found = []
    for name in {**base.calls, **head.calls}:
        before, now = (side.calls.get(name, Called()) for side in (base, head))
        if abs(now.count - before.count) > 0.1:
            found.append((now.own - before.own, Change(name, "calls", before.count, now.count)))
    changes = [change for _, change in sorted(found, key=lambda one: -one[0])]
    if base.bytecodes is not None and head.bytecodes is not None:
        sums = [{name: sum(codes.values()) for name, codes in side.bytecodes.items()} for side in (base, head)]  # type: ignore[union-attr]
        codes = [
            Change(name, "bytecodes", sums[0].get(name, 0), sums[1].get(name, 0)) for name in {**sums[0], **sums[1]}
        ]
        changed = sorted((one for one in codes if one.added), key=lambda one: -one.added)
        changes = changes[: KEPT // 2] + changed[: KEPT // 2]
    return changes


def _operators(base: Profile, head: Profile) -> list[Change]:
    """Whatever differs of each; of what is timed the seconds of all, since under the profiler they always do."""
    names = {**base.operators, **head.operators}
    pairs = {name: tuple(side.operators.get(name, Operator()) for side in (base, head)) for name in names}

    def added(one: tuple[str, tuple[Operator, ...]]) -> float:
        before, now = one[1]
        return now.seconds - before.seconds if base.timed else now.bytes - before.bytes

    changes = []
    for name, (before, now) in sorted(pairs.items(), key=added, reverse=True):
        for unit, was, is_now in (
            ("calls", before.count, now.count),
            ("bytes", before.bytes, now.bytes),
            ("elements", before.elements, now.elements),
        ):
            if not math.isclose(was, is_now, rel_tol=FLOOR, abs_tol=0.1):
                changes.append(Change(name, unit, was, is_now))
        if base.timed:
            changes.append(Change(name, "seconds", before.seconds, now.seconds))
    return changes


def _functions(base: Counts, head: Counts) -> list[Change]:
    """By their short names; instances of one template are one."""
    both: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for side, counts in enumerate((base, head)):
        for name, count in counts.functions.items():
            both[short(name)][side] += count
    changes = [Change(name, "instructions", before, now) for name, (before, now) in both.items()]
    return sorted((one for one in changes if abs(one.added) >= 1), key=lambda one: -one.added)
