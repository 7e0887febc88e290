"""A head that ends, stops or slows down other processes, or leaves some behind."""

import pytest
from sides import CALL, LOOP

from bench_core.gate.judge.cell import judge_evidence

OTHERS = """
import os, signal
import psutil


def value():
    own = psutil.Process()
    parent = own.parent()
    for base in [one for one in parent.children() if one != own]:
        WHAT
    for _ in range(2000):
        pass
"""


@pytest.mark.parametrize(
    ("what", "why"),
    [
        pytest.param("base.kill()", "killed by SIGKILL", id="ends base"),
        pytest.param("base.suspend()", "the worker of base was stopped by a signal", id="stops base"),
        pytest.param("base.nice(19)", "base has cores", id="lowers the priority of base"),
        pytest.param("own.nice(min(own.nice() + 5, 19))", "head has cores", id="changes its own priority"),
        pytest.param("parent.kill()", "its parent has ended", id="ends the parent"),
    ],
)
def test_a_head_that_interferes_with_base_has_no_verdict(sides, what, why):
    made = sides(CALL, LOOP.format(2000), OTHERS.replace("WHAT", what))
    gate = made.measure(until=lambda gate: all(one.closed for one in gate.dossiers))
    (found,) = gate.dossiers
    judged = judge_evidence(found.evidence, gate.settings, 1)
    assert (judged.verdict, found.effects) == ("error", [])
    assert why in judged.reason
    assert made.left_behind() == []
