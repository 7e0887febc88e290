"""What is said of the causes of a slower cell."""

import math

from bench_core.cli.gate.causes import with_first_calls
from bench_core.records.gate import Cause, CellEvidence, GateVerdict, JudgedCell, Judgement, Noise
from bench_core.records.run import Interval


def test_the_cause_of_a_memoized_cell_says_that_a_cache_answers_the_calls_that_were_inspected():
    def judged(name, memoized):
        judgement = Judgement(Interval(1.9, 2.0, 2.1, 0.95), "regression", "", 0.1, memoized=memoized)
        return JudgedCell(CellEvidence(name, name, {}, "time", "seconds"), judgement)

    cells = (judged("a", 15_000.0), judged("b", 0.0))
    verdict = GateVerdict("regression", "", cells, (), None, False, Noise(*[math.nan] * 6))
    first, other = with_first_calls((Cause("a", "same work"), Cause("b", "more calls")), verdict)
    assert first.sentence.startswith("The first call takes 15,000 times as long as the others, which a cache answers.")
    assert first.sentence.endswith("same work")
    assert other.sentence == "more calls"
