"""Who may act when, among the places of a group (see `GroupTask`).

Two workers on one core hand each other a token. The one that has it sets up or takes a sample. No third process is
involved, since a message through it would take longer than a sample. Every order is drawn from a seed that both workers
know, so neither has to tell the other. A worker alone has the token all the time.
"""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

from bench_core import clock
from bench_core.errors import inside, named
from bench_core.records.gate import SIDES, Side
from bench_core.timing.cell import SKIPS, why_skipped
from bench_core.workers.messages import TURNS, FirstLook, TurnDone, TurnFailed
from bench_core.workers.witness import Testimony, Witness

T = TypeVar("T")

Place = tuple[Side, int]
"""A side, and the index of a cell in its group."""


class PeerLostError(Exception):
    """The other worker has gone."""


class CellError(Exception):
    """A cell failed on this side. The text is the cause.

    Attributes:
        stage: ``import``, ``setup``, ``check``, ``call`` or ``teardown``.
        skipped: whether it skipped itself.
        index: of the cell in its group.
    """

    def __init__(self, cause: str, stage: str, *, skipped: bool = False) -> None:
        super().__init__(cause)
        self.stage = stage
        self.skipped = skipped
        self.index = 0


class PeerFailedError(Exception):
    """A cell failed on the other side, which reports it."""


class Turns:
    """The turns of one worker.

    Args:
        role: the side of this worker.
        peer: the connection to the other side; None without one.
        counts: shared numbers, which the nursery reads: for each side, how often it began or ended a wait for its turn
            or finished a step, and then for each side, the number of the cell that it is at, from 1. A side
            whose first number is odd waits. They show the nursery that workers go on, or which one hangs, and where.

    Attributes:
        spent: seconds of its own turns, by stage (see `CellError`). Samples are ``sampling``.
        seen: what the kernel counted of both sides in the last block; empty without a peer that was met.
    """

    def __init__(self, role: Side, peer: Connection | None, counts: memoryview) -> None:
        self.role = role
        self._peer = peer
        self._counts = counts
        self._own = SIDES.index(role)
        self._before = 0
        self._witness: Witness | None = None
        self.seen = Testimony()
        self.spent: dict[str, float] = {}

    def meet(self) -> None:
        """Tell the other side which process this is, and be told. To be called before a version is imported, which
        could tell anything."""
        if self._peer is not None:
            self.give(str(os.getpid()).encode())
            self._witness = Witness(int(self.take()))

    @property
    def sides(self) -> tuple[Side, ...]:
        return (self.role,) if self._peer is None else SIDES

    def begin(self, before: int) -> None:
        """Begin with a group. `before` is the number of cells in the groups before it."""
        self._before = before
        self._at(0)

    def _at(self, index: int) -> None:
        self._counts[len(SIDES) + self._own] = self._before + index + 1

    def give(self, message: bytes) -> None:
        if self._peer is None:
            return
        try:
            self._peer.send_bytes(message)
        except ConnectionError as error:  # any other OSError means that a benchmark closed this side's end
            raise PeerLostError(str(error)) from error

    def take(self) -> bytes:
        if self._peer is None:
            return b""
        self._counts[self._own] += 1
        try:
            message = self._peer.recv_bytes()
        except (EOFError, ConnectionError) as error:
            raise PeerLostError(str(error)) from error
        self._counts[self._own] += 1
        return message

    def each(self, lead: Sequence[Place], stage: str, action: Callable[[int], T]) -> dict[Place, T | FirstLook]:
        """Do `action` at every place, one side after the other, in the order of `lead`.

        Args:
            action: takes the index of a cell in the group.

        Returns:
            The result at each place of this side, and at each place of the other side if it is a `FirstLook`. No other
            result is sent.

        Raises:
            CellError: if it raised on this side.
            PeerFailedError: if it raised on the other side.
        """
        indices = [index for side, index in lead if side == self.role]
        theirs = b"" if self.role == lead[0][0] else self.take()
        try:
            done = {index: self.attempt(index, stage, lambda: action(index)) for index in indices}  # noqa: B023 - called at once
        except CellError:
            self.give(TURNS.line(TurnFailed()).encode())
            if self._peer is not None:
                TURNS.read(theirs or self.take())
            raise
        found: dict[Place, T | FirstLook] = {(self.role, index): result for index, result in done.items()}
        if self._peer is None:
            return found
        looks = tuple(result for _, result in sorted(done.items()) if isinstance(result, FirstLook))
        self.give(TURNS.line(TurnDone(looks)).encode())
        match TURNS.read(theirs or self.take()):
            case TurnDone(theirs_looks):
                other = SIDES[1 - self._own]
                return found | {(other, index): look for index, look in enumerate(theirs_looks)}
            case TurnFailed():
                raise PeerFailedError

    def sample(self, rows: Iterable[Sequence[Place]], take: Callable[[int, int], None]) -> CellError | None:
        """Sample one block. A row is an alternation: one sample at each place. The token is handed over where the side
        changes.

        Args:
            take: takes one sample; its arguments are the index of the cell and the position in the row.

        Returns:
            The failure of this side, or None. After a failure the token is still handed on, so both sides end together.
        """
        sequence = [(place, position) for row in rows for position, place in enumerate(row)]
        turns = [(side, list(steps)) for side, steps in itertools.groupby(sequence, key=lambda step: step[0][0])]
        failure: CellError | None = None
        if self._witness is not None:
            self._witness.begin(own=not turns or turns[0][0] == self.role)
        for number, (side, steps) in enumerate(turns):
            if side != self.role:
                if number + 1 < len(turns):
                    self.take()
                    if self._witness is not None:
                        self._witness.takes(len(steps))
                continue
            for (_, index), position in steps:
                if failure is None:
                    try:
                        self.attempt(index, "call", lambda: take(index, position), "sampling")  # noqa: B023 - called at once
                    except CellError as error:
                        failure = error
            if self._witness is not None:
                self._witness.gives(len(steps))
            if self._peer is not None and number + 1 < len(turns):
                self.give(b"")
        if self._witness is not None:
            last = turns[-1:] and turns[-1][0] != self.role
            self.seen = self._witness.end(len(turns[-1][1]) if last else 0)
        return failure

    def alive(self) -> None:
        """Show the nursery a sign of life."""
        self._counts[self._own] += 2  # an even number stays even: it does not wait

    def attempt(self, index: int, stage: str, action: Callable[[], T], what: str = "") -> T:
        """`attempt` at the cell of this index.

        Args:
            what: what the time is spent on, if it is not the stage.
        """
        self._at(index)
        began = clock.host()
        try:
            return attempt(stage, action)
        except CellError as error:
            error.index = index
            raise
        finally:
            self.spent[what or stage] = self.spent.get(what or stage, 0.0) + clock.host() - began
            self.alive()


def attempt(stage: str, action: Callable[[], T]) -> T:
    """Run code of the version, which may do anything.

    Raises:
        CellError: whatever the code raised, with the cause.
    """
    process = os.getpid()
    try:
        return action()
    except (CellError, PeerFailedError, PeerLostError):
        raise
    except BaseException as error:
        raise failure(error, stage) from error
    finally:
        if os.getpid() != process:  # the code forked, and this is the child, which must end
            os._exit(0)


def failure(error: BaseException, stage: str) -> CellError:
    """What code of the version has raised, as the failure of its cell."""
    if isinstance(error, SKIPS):
        return CellError(why_skipped(error), stage, skipped=True)
    return CellError(cause(error), stage)


IMPORTER = "<frozen importlib."
"""How the names of the files of Python's importer begin."""


def cause(error: BaseException) -> str:
    """An exception in one line, with the file and line that raised it. What Python's importer raises is raised by what
    imports, and a file that is no Python is named by the exception itself."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith(IMPORTER)]
    if not frames or isinstance(error, SyntaxError):
        return named(error)
    return f"{named(error)} ({inside(frames[-1].filename)}:{frames[-1].lineno})"
