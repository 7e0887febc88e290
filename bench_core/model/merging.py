"""Joins what several processes have measured of the same model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bench_core.records.model import Idiom


def merged(processes: Sequence[Sequence[Idiom]]) -> tuple[Idiom, ...]:
    """The idioms that several processes have measured, each with its times in the order of the processes.

    What an idiom does wrong, or why it does not apply, is that of the first process that says so; its times are then
    left out. A process that has not measured an idiom adds nothing to it.
    """
    together: dict[tuple[str, str], Idiom] = {}
    for idiom in (idiom for process in processes for idiom in process):
        before = together.get((idiom.job, idiom.name), dataclasses.replace(idiom, seconds=()))
        why_not = before.why_not or idiom.why_not
        together[idiom.job, idiom.name] = dataclasses.replace(
            before,
            seconds=() if why_not else before.seconds + idiom.seconds,
            wrong=before.wrong or idiom.wrong,
            why_not=why_not,
        )
    return tuple(together.values())
