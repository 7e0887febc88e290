from io import StringIO

import pytest
from rich.console import Console

from bench_core.records.model import ModelProgress
from bench_core.report.model_live import ModelLive


@pytest.mark.parametrize(
    ("round", "left", "said"),
    [
        (0, 20.0, "3 s: build the model"),
        (1, 20.0, "3 s: round 1, build the model; about 20 s left"),
        (2, 0.0, "3 s: round 2, build the model; the budget is used up, two rounds are needed"),
    ],
)
def test_how_long_it_takes_is_told_from_the_first_round_on(round, left, said):
    out = StringIO()
    with ModelLive(Console(file=out, width=200)) as live:
        live.update(ModelProgress("build the model", round, 3.0, left))
    assert out.getvalue().strip() == said
