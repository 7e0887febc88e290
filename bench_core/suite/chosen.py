"""The model that a command has chosen, for benchmarks that take theirs from the environment (`bench_core.model_cells`).

The command passes a `ModelSpec` in the variable `VARIABLE`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from asv_runner.benchmarks.mark import SkipNotImplemented
from torch import nn
from torch.utils._pytree import tree_leaves

from bench_core.codec import from_json
from bench_core.records.model import VARIABLE, ModelSpec
from bench_core.suite import oracles, startup
from bench_core.suite.base import Suite, clock_for, missing_device
from bench_core.suite.target import Target, differences, load, lost_ties


def chosen() -> ModelSpec:
    """The model that the command has chosen.

    Raises:
        KeyError: if there is none.
    """
    return from_json(ModelSpec, json.loads(os.environ[VARIABLE]))


class OfModel(Suite):
    """The base of benchmark classes of the chosen model.

    Attributes:
        spec: which model it is.
        target: what makes it.
    """

    timeout: ClassVar[float] = 600.0

    def setup(self, *values: str) -> None:
        super().setup(*values)
        self.spec = chosen()
        self.timer = clock_for(torch.device(self.spec.device).type)
        self.target = load(self.spec)

    def why_not(self, *values: str) -> str | None:
        if VARIABLE not in os.environ:
            return "no model is chosen: `bench-core gate --model` does"
        return super().why_not(*values) or missing_device(torch.device(chosen().device).type)

    def why_no_step(self) -> str | None:
        """Why no training step of the model can be taken, or None if one can."""
        target = load(chosen())
        if target.spec.input or target.inputs is not None:
            return None
        return "no training step without an example of an input (--input)"

    def require_ready(self, model: nn.Module | None) -> None:
        """Require a model whose tensors are all on its device, and that is tied as `ModelSpec.ties` says."""
        assert model is not None, "no model was made"
        there = torch.empty(0, device=self.spec.device).device  # with a number, such as cuda:0
        oracles.all_on(model, {there}, "parameters and buffers")
        ties = tuple(group for group in self.spec.ties if not is_renamed(group, self.spec.ties, model))
        lost = lost_ties(model, ties)
        assert not lost, f"lost ties: {lost}"


def is_renamed(group: Sequence[str], ties: Sequence[Sequence[str]], model: nn.Module) -> bool:
    """Whether tied parameters may only have got other names: those of `group` that are left are tied to something, or
    none is left, and the model has as many groups that hold no name of `ties` as groups that are gone."""
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    now = [set(each) for each in oracles.tied_names(model)]
    left = names & set(group)
    if left == set(group):
        return False
    if left:
        return any(left <= each for each in now)
    gone = [each for each in ties if not names & set(each)]
    known = set().union(*ties)
    return len([each for each in now if not each & known]) >= len(gone)


class Loading:
    """A way to start up with the values of a checkpoint: the given one, or one that is written into this folder, with
    other values than the constructor gives.

    Args:
        way: its name among `startup.WAYS`.
    """

    def __init__(self, target: Target, way: str) -> None:
        self.target = target
        self.way = startup.WAYS[way]
        self.file = target.file if target.file is not None and target.file.format != "safetensors" else None
        self.checkpoint = Path("model.pt").absolute() if self.file is None else self.file.path
        if not self.checkpoint.exists():  # each setup of a cell is in the same folder
            model = target.ready()
            startup.change(model)
            startup.save(model, "torch", self.checkpoint)

    def go(self) -> nn.Module:
        return self._gone(self.way)

    def _gone(self, way: startup.StartUp) -> nn.Module:
        device = self.target.spec.device
        return startup.go(way, self.target.build, device, self.checkpoint, file=self.file).model

    def require_same(self, found: nn.Module | None) -> None:
        """Require the model that the plain way gives, with the values of the checkpoint.

        Raises:
            SkipNotImplemented: if the model does not suit the way. If that is so with one version only, the gate says
                that this version skips the cell.
        """
        assert found is not None, "no model was made"
        plain = startup.PLAIN["load"]
        if self.way is not plain:
            if wrong := differences(found, self._gone(plain), lambda: self._gone(plain)):
                raise SkipNotImplemented(f"this way gives another model: {wrong}")
            return
        saved = self.file.state() if self.file else torch.load(self.checkpoint, weights_only=True)
        for name, tensor in found.state_dict().items():
            if isinstance(tensor, torch.Tensor):  # extra state may be anything
                oracles.identical(tensor.cpu(), saved[name], name)


class Step:
    """A training step of a model on its example: forward, backward, optimizer.

    The learning rate is 0: all is computed as usual, and the weights stay what they are, however often a step is taken.
    """

    def __init__(self, target: Target) -> None:
        self.model = target.ready()
        example = target.example(self.model)
        assert example is not None, "the cell is left out without one"
        self.inputs = example
        self.trained = [one for one in self.model.parameters() if one.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=0.0)

    def take(self) -> None:
        self.optimizer.zero_grad()
        loss(self.model(*self.inputs)).backward()
        self.optimizer.step()

    def forget(self) -> None:
        """Forget what the last step has found."""
        for parameter in self.trained:
            parameter.grad = None

    def require_gradients(self) -> None:
        assert any(one.grad is not None for one in self.trained), "no parameter has got a gradient"


def loss(output: Any) -> torch.Tensor:
    """The sum of the means of all tensors in a model's output that depend on its parameters."""
    tensors = [one for one in tree_leaves(output) if isinstance(one, torch.Tensor)]
    means = [one.float().mean() for one in tensors if one.requires_grad and one.is_floating_point()]
    assert means, "the output of the model holds no tensor that depends on its parameters"
    return torch.stack(means).sum()
