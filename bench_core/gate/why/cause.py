"""Explains why a cell is slower or larger, in one sentence, from the inspection of both sides. Pure, and without torch.

Three kinds of numbers are counted, and so exact: how often each function and operator runs, the bytecodes in each
function, and instructions. Seconds under a profiler are not exact. They only put the differences in order.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bench_core.records.gate import Cause, Change, Side
from bench_core.workers.messages import CalledFunction, Inspection, NotInspected, Operator, Profile

SAME = 0.005
"""Instruction counts that differ by less than this share count as equal. Two counts of the same code were equal in 18
cells that need only the interpreter, and differed by up to 0.31 % in ten cells of torch (see
`bench_core.gate.why.inspector.WARM`)."""

FLOOR = 0.01
"""Times that differ by less than this share count as equal. It is the gate's default noise floor."""

PER_BYTECODE = 200
"""The interpreter needs at most this many instructions for a bytecode, usually 10 to 100. If more are added, the
bytecode calls something that the profiler does not see as a call, such as an operator of numpy."""

LEAST_BYTES = 1024
"""Differences of Python's memory below this many bytes are not named: profiling a call changes it by some hundred."""

TRACKED = "track"
"""The kind of a cell whose value the suite makes."""

TELLING = ("runs ", "may call ", "reads ", "looks at ", "imports ")
"""How the words begin that say through which functions or files a change reaches a cell (`GateRecord.reached`). Other
words say why that is not known."""

KEPT = 20
"""The most differences of each kind that are kept."""

SHARE = 0.3
"""A difference is named if it adds at least this share of what the largest difference adds."""

OWN_SHARE = 0.05
"""As `SHARE`, for the version's own functions, which are named first: what they make torch do shows in other functions.
With 0.3, a hook that was left registered was not named in one run of four."""


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions in a call of a cell on one side.

    Attributes:
        total: the instructions of the whole call.
        functions: the instructions that each machine-code function executes itself.
        of_interpreter: those of the functions that are the Python interpreter's.
    """

    total: float
    functions: Mapping[str, float]
    of_interpreter: Collection[str] = frozenset()


def why_not(answers: Mapping[Side, Inspection]) -> dict[Side, str]:
    """Why a cell could not be inspected, by side."""
    return {side: answer.cause for side, answer in answers.items() if isinstance(answer, NotInspected)}


def meaning(time: float, base: float, head: float) -> str:
    """What a ratio of times and two instruction counts mean together.

    Args:
        time: the ratio of times, head over base.
        base, head: instructions per call.
    """
    work = head / base - 1
    slower, faster = time > 1 + FLOOR, time < 1 - FLOOR
    if abs(work) <= SAME:
        return "same work, more waiting" if slower else "same work, less waiting" if faster else "same work"
    if work > 0:
        # Added instructions may be twice as slow as the others. They do not explain a larger slowdown.
        if slower:
            return "more work" if time - 1 < 2 * work + FLOOR else "more work, and more waiting"
        return "more work, less waiting" if faster else "more work, not slower"
    return "less work, more waiting" if slower else "less work" if faster else "less work, not faster"


def cause(
    cell: str,
    base: Profile,
    head: Profile,
    counts: tuple[InstructionCounts, InstructionCounts] | None,
    packages: Sequence[str],
    time: float,
    without: str = "",
    reached: str = "",
) -> Cause:
    """Why head is slower, or larger, in one cell.

    Args:
        counts: base's and head's instructions; None for a cell that is not timed, or if they could not be counted.
        packages: top-level names of the compared packages. Their functions are named first.
        time: the ratio of values, head over base.
        without: why something is missing, or "".
        reached: through what the change reaches the cell, see `GateRecord`; "" if it is not known.
    """
    if base.timed:
        clauses = [*_differences(base, head, counts, packages)] or [_otherwise(base, head, counts)]
    elif base.kind == TRACKED:
        clauses = _tracked(base, head, packages, reached)
    else:
        clauses = _of_memory(base, head, packages)
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


_Kind = Literal["own", "operator", "python", "native"]

KINDS: tuple[_Kind, ...] = ("own", "operator", "python", "native")
"""The order in which kinds are named, if they add enough (see `SHARE`). The time of an operator is also part of the
Python functions that call it, so these come later."""


@dataclass(frozen=True)
class _Difference:
    """Something that runs more often with head, or on more data: the seconds that it adds, and its clause of the
    sentence, with numbers."""

    kind: _Kind
    name: str
    adds: float
    text: str


def _differences(
    base: Profile, head: Profile, counts: tuple[InstructionCounts, InstructionCounts] | None, packages: Sequence[str]
) -> Iterator[str]:
    """The clauses of the sentence; none if nothing runs more often or on more data."""
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
    # A native function after an operator is usually the one that calls the operator, so it is not named.
    following = next((one for one in named[1:] if (first.kind, one.kind) != ("operator", "native")), None)
    if following is not None:
        yield following.text
    function = _busier(base, head) if first.kind != "own" else None
    if function:
        before, now = (_executed(side, function) for side in (base, head))
        yield f"{now - before:,} more bytecodes in {function} ({before:,} → {now:,})"


def _added_by(kind: _Kind, suspects: Sequence[_Difference]) -> float:
    """The seconds that a kind adds: the sum, or for the version's own functions, which call each other, the largest."""
    adds = [one.adds for one in suspects if one.kind == kind]
    return max(adds, default=0.0) if kind == "own" else sum(adds)


def _of(kind: _Kind, suspects: Sequence[_Difference]) -> list[_Difference]:
    return sorted((one for one in suspects if one.kind == kind), key=lambda one: -one.adds)


def _more_operators(base: Profile, head: Profile) -> Iterator[_Difference]:
    for name, now in head.operators.items():
        before = base.operators.get(name, Operator())
        adds = max(0.0, now.seconds - before.seconds)
        if _grown(before.count, now.count):
            yield _Difference("operator", name, adds, _more(name, before.count, now.count))
        elif before.count == now.count:
            # Allocated bytes come first: an operator that is given more elements also allocates more.
            if _grown(before.bytes, now.bytes):
                yield _Difference("operator", name, adds, _larger(name, "bytes", before.bytes, now.bytes))
            elif _grown(before.elements, now.elements):
                yield _Difference("operator", name, adds, _larger(name, "elements", before.elements, now.elements))


def _more_calls(base: Profile, head: Profile, packages: Sequence[str]) -> Iterator[_Difference]:
    added = max(0.0, head.seconds - base.seconds)
    more = {
        name: (base.calls.get(name, CalledFunction()), now)
        for name, now in head.calls.items()
        if _grown(base.calls.get(name, CalledFunction()).count, now.count)
    }
    for name, (before, now) in more.items():
        if name.rpartition(".<locals>.")[0] in more:  # it runs inside the other, e.g. a comprehension
            continue
        adds = max(0.0, now.own - before.own)
        kind: _Kind = "python" if now.python else "native"
        if now.python and name.partition(".")[0] in packages:
            kind = "own"
            # Including what it calls, unless this exceeds what was added: then it wraps code that ran before, too.
            inside = max(0.0, now.total - before.total)
            adds = inside if inside <= 1.5 * added else adds
        yield _Difference(kind, name, adds, _more(name, before.count, now.count, "call of "))


def _gone(base: Profile, head: Profile) -> _Difference | None:
    """Of the operators and functions that head does not run, the one in which base spent most time."""
    found = [
        *(
            _Difference("operator", name, was.seconds, f"{name} ({_number(was.count)} → 0)")
            for name, was in base.operators.items()
            if name not in head.operators
        ),
        *(
            _Difference("native", name, was.own, f"{name} ({_number(was.count)} → 0)")
            for name, was in base.calls.items()
            if name not in head.calls
        ),
    ]
    return max(found, key=lambda one: one.adds, default=None)


def _busier(base: Profile, head: Profile) -> str | None:
    """Of the functions that run equally often on both sides, the one that adds most bytecodes; None if under 1 %."""
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
    return profile.calls.get(name, CalledFunction()).count


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


def _otherwise(base: Profile, head: Profile, counts: tuple[InstructionCounts, InstructionCounts] | None) -> str:
    """The clause for a call in which nothing of Python or torch runs more often or on more data."""
    if head.peak > 1.1 * base.peak and head.peak - base.peak >= 2**16:
        return f"same calls, more memory: peak of Python and numpy {_size(base.peak)} → {_size(head.peak)}"
    if counts is not None and counts[1].total > (1 + SAME) * counts[0].total:
        return f"same calls and operators, {_native(counts)}"
    slower = _slower(base, head)
    if slower is not None:
        return f"same calls, operators and bytes; {_longer(slower)}"
    unseen = ", or code that no Python profiler sees" if counts is None else ""
    return f"same calls, operators and bytes: memory traffic, or the clock{unseen}"


def _tracked(base: Profile, head: Profile, packages: Sequence[str], reached: str) -> list[str]:
    """The clauses for a tracked cell: what runs more often, or else less often. Its value is no amount of memory, and
    may differ although nothing else does."""
    if counted := [*_differences(base, head, None, packages)] or [*_fewer(base, head, packages)]:
        return counted
    told = reached.startswith(TELLING)
    since = f"; the change reaches the cell, which {reached}" if told else ""
    return [
        "the value differs, and the work that makes it is the same: same calls, operators and bytes. The difference is "
        f"in what the functions compute, or in what imports and setup leave to them{since}"
    ]


def _fewer(base: Profile, head: Profile, packages: Sequence[str]) -> Iterator[str]:
    """The function or operator that runs less often, one of the version's own if there is any."""
    pairs = [
        *((name, was.count, head.calls.get(name, CalledFunction()).count) for name, was in base.calls.items()),
        *((name, was.count, head.operators.get(name, Operator()).count) for name, was in base.operators.items()),
    ]
    found = [(name, before, now) for name, before, now in pairs if _grown(now, before)]
    if found:
        name, before, now = max(found, key=lambda one: (one[0].partition(".")[0] in packages, one[1] - one[2]))
        yield f"{_number(before - now)} fewer calls of {name} ({_number(before)} → {_number(now)})"


def _of_memory(base: Profile, head: Profile, packages: Sequence[str]) -> list[str]:
    """The clauses for a cell of memory: bytes first, then what runs more often."""
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
        if fewer := [*_fewer(base, head, packages)]:
            return ["no more bytes allocated", *fewer]
        return ["same calls, operators and bytes: imports, setup, or code that no Python profiler sees"]
    return [*(sizes or ["no more bytes allocated"]), *counted]


def _without(profile: Profile, operators: Collection[str]) -> Profile:
    return replace(profile, operators={name: one for name, one in profile.operators.items() if name not in operators})


def _at_once(base: Profile, head: Profile) -> Iterator[str]:
    """The memory that grows, the largest growth first."""
    found = [
        Change("tensors", "bytes", base.tensors, head.tensors),
        Change("Python and numpy", "bytes", base.peak, head.peak),
    ]
    for one in sorted(found, key=lambda one: -one.added):
        if _grown(one.base, one.head) and one.added >= LEAST_BYTES:
            yield f"peak memory of {one.name} {_size(one.added)} higher ({_size(one.base)} → {_size(one.head)})"


def _allocating(larger: Sequence[Change]) -> Iterator[str]:
    """The operator whose allocations grow most, with others that grow nearly as much."""
    if larger:
        first = larger[0]
        also = [one.name for one in larger[1:] if one.added >= SHARE * first.added]
        text = f"{_size(first.added)} more in {first.name} ({_size(first.base)} → {_size(first.head)})"
        yield text + (f", with {', '.join(also[:2])}" if also else "")


def _slower(base: Profile, head: Profile) -> Change | None:
    """Of the operators that take 20 % longer for the same calls, bytes and elements, the one that adds most seconds."""
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
        f"under the profiler, {slower.name} takes {slower.head / slower.base:.2g} times as long for the same bytes: "
        "memory traffic, or another kernel"
    )


def _native(counts: tuple[InstructionCounts, InstructionCounts]) -> str:
    """The function that executes most more instructions. One of a library comes before those of the interpreter, which
    also executes more if it has more to call; it is named only if there is no other."""
    changes = _functions(*counts)
    most = changes[0]
    interpreter = {short(name) for side in counts for name in side.of_interpreter}
    other = next((one for one in changes if one.name not in interpreter), None)
    whose = ""
    if other is not None and other.added >= OWN_SHARE * most.added:
        most = other
    elif most.name in interpreter:
        whose = ", a function of the Python interpreter"
    amounts = f"({_number(most.base)} → {_number(most.head)})"
    return f"{_number(most.added)} more instructions in {most.name}{whose} {amounts}"


def _instructions(counts: tuple[InstructionCounts, InstructionCounts], time: float) -> str:
    before, now = (one.total for one in counts)
    if abs(now / before - 1) <= SAME:
        return f"instructions the same within {100 * SAME:g} %: {meaning(time, before, now)}"
    return f"instructions {100 * (now / before - 1):+.1f} %: {meaning(time, before, now)}"


def _grown(before: float, now: float) -> bool:
    """Whether a count grew by more than 1 %. Rare events occur in some of the profiled calls and not in others."""
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


def _calls(base: Profile, head: Profile) -> list[Change]:
    found = []
    for name in {**base.calls, **head.calls}:
        before, now = (side.calls.get(name, CalledFunction()) for side in (base, head))
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
    """Every count that differs and, for a timed cell, the seconds of each operator."""
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


def _functions(base: InstructionCounts, head: InstructionCounts) -> list[Change]:
    """Instructions by short name. The instances of a template are added up."""
    both: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for side, counts in enumerate((base, head)):
        for name, count in counts.functions.items():
            both[short(name)][side] += count
    changes = [Change(name, "instructions", before, now) for name, (before, now) in both.items()]
    return sorted((one for one in changes if abs(one.added) >= 1), key=lambda one: -one.added)
