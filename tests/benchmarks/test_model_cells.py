"""Rules that every benchmark of a gate on a model holds to."""

import json
import shutil

import pytest

from bench_core.codec import to_json
from bench_core.gate.prepare import MODEL_CELLS
from bench_core.records.model import VARIABLE, ModelSpec
from bench_core.suite.layouts import TINY
from bench_core.suite.target import load
from bench_core.timing.cells import SuiteDirectory

NAMES = [
    "access.Access.time_named_parameters",
    "access.Access.time_state_dict",
    "construct.Construct.peakmem_construct",
    "construct.Construct.time_construct",
    "size.Size.track_parameter_bytes",
    "size.Size.track_parameters",
    "start_up.Load.peakmem_load(eager_copy)",
    "start_up.Load.peakmem_load(meta_assign_mmap)",
    "start_up.Load.time_load(eager_copy)",
    "start_up.Load.time_load(meta_assign_mmap)",
    "step.Training.time_step",
]


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """A copy, as a gate runs them. The folder that they come from is inside the package, whose modules have names such
    as `statistics`."""
    place = shutil.copytree(MODEL_CELLS, tmp_path_factory.mktemp("suite") / MODEL_CELLS.name)
    return SuiteDirectory(place)


@pytest.fixture
def choose(monkeypatch):
    def choose(**spec):
        monkeypatch.setenv(VARIABLE, json.dumps(to_json(ModelSpec(**spec))))

    choose(target="gpt2-tiny")
    return choose


def test_the_cells_keep_their_names(suite):
    assert suite.broken == ()
    assert sorted(cell.name for cell in suite.cells) == NAMES


@pytest.mark.parametrize("model", [*TINY, "mlp"])
def test_all_cells_run_on_every_layout(suite, choose, model):
    choose(target=model)
    for cell in suite.cells:
        assert cell.why_not is None
        with cell.open() as opened:
            opened.check()


def test_every_check_fails_if_the_operation_does_nothing(suite, choose):
    for cell in suite.cells:
        if cell.kind == "peakmemory":  # its operation is that of a timed cell, and so is its check
            continue
        with cell.open() as opened:
            case, method = opened.benchmark.func.__self__, cell.benchmark.rpartition(".")[2]
            setattr(case, method, lambda *values: None)
            with pytest.raises(AssertionError):
                opened.check()


def test_all_cells_run_on_a_checkpoint_but_those_of_a_step(suite, choose, tmp_path):
    import torch

    torch.save(load(ModelSpec("gpt2-tiny")).build().state_dict(), tmp_path / "given.pt")
    choose(target=str(tmp_path / "given.pt"))
    for cell in suite.cells:
        if cell.benchmark.startswith("step."):
            assert cell.why_not == "no training step without an example of an input (--input)"
            continue
        with cell.open() as opened:
            opened.check()
    assert [path.name for path in tmp_path.iterdir()] == ["given.pt"]
