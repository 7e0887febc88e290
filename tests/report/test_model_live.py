from io import StringIO

import pytest
from rich.console import Console

from bench_core.records.model import ModelProgress
from bench_core.report.model_live import ModelLive


@pytest.mark.parametrize(
    ("round", "left", "needed", "said"),
    [
        (0, 20.0, 0.0, "3 s: build the model"),
        (1, 20.0, 0.0, "3 s: round 1, build the model; about 20 s left"),
        (1, 20.0, 90.0, "3 s: round 1, build the model; two rounds need about 90 s more"),
        (2, 0.0, 8.0, "3 s: round 2, build the model; two rounds need about 8 s more"),
    ],
)
def test_how_long_it_takes_is_told_in_the_rounds(round, left, needed, said):
    out = StringIO()
    with ModelLive(Console(file=out, width=200)) as live:
        live.update(ModelProgress("build the model", round, 3.0, left, needed))
    assert out.getvalue().strip() == said


def test_a_step_outside_of_the_rounds_is_shown_however_soon_it_follows():
    out = StringIO()
    with ModelLive(Console(file=out, width=200)) as live:
        live.update(ModelProgress("load, meta_assign", 2, 30.0, 0.0, 3.0))
        live.update(ModelProgress("load, eager_copy", 2, 31.0, 0.0, 2.0))
        live.update(ModelProgress("jobs on the parameters, process 1", 0, 32.0, 0.0, 0.0))
    assert out.getvalue().splitlines() == [
        "30 s: round 2, load, meta_assign; two rounds need about 3 s more",
        "32 s: jobs on the parameters, process 1",
    ]
