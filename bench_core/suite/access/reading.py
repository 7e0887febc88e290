"""Jobs that read parameters and write none: walk, look up, copy, and save."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from bench_core.suite import checkpoints, oracles, parametrized
from bench_core.suite.access.jobs import Call, Job, NotHereError, Ready, Subject, close

READS = 8
"""How often the job `parametrized` reads its weight: once a step, for as many steps of a recurrent net."""

LARGEST_PART = 64 << 20
"""The job `save_part` saves a part of the largest parameter of up to this many bytes."""


def saved(net: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters and buffers that a state dict holds, under each of their names, by walking the modules."""
    found: dict[str, torch.Tensor] = {}
    for path, module in net.named_modules(remove_duplicate=False):
        prefix = f"{path}." if path else ""
        own = itertools.chain(module._parameters.items(), module._buffers.items())
        for name, tensor in own:
            if tensor is not None and name not in module._non_persistent_buffers_set:
                found[prefix + name] = tensor
    return found


def _check_state(net: nn.Module, state: object) -> None:
    assert isinstance(state, Mapping), f"found {state!r}"
    for name, tensor in saved(net).items():
        assert name in state, f"{name} is missing"
        oracles.same(state[name].shape, tensor.shape, f"{name}: shape")
        oracles.alias(state[name], tensor, name)


@contextmanager
def _state_dict(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net = subject.model

    def ready(idiom: str) -> Ready | str:
        if reason := checkpoints.why_no_model_state(idiom):
            return reason
        state = checkpoints.MODEL_STATES[idiom]()
        return Ready(lambda: state(net), lambda call: _check_state(net, call()))

    yield {idiom: ready(idiom) for idiom in checkpoints.MODEL_STATES}


@contextmanager
def _walk(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net = subject.model
    own = {id(tensor) for tensor in saved(net).values() if isinstance(tensor, nn.Parameter)}

    def check(found: object, *, named: bool) -> None:
        assert isinstance(found, list), f"found {found!r}"
        oracles.same(sorted(id(each[1] if named else each) for each in found), sorted(own), "parameters")

    yield {
        "named_parameters": Ready(
            lambda: checkpoints.WALKS["named_parameters"](net), lambda call: check(call(), named=True)
        ),
        "parameters": Ready(lambda: checkpoints.WALKS["parameters"](net), lambda call: check(call(), named=False)),
    }


LOOK_UPS = ("get_parameter", "named_parameters", "state_dict")


@contextmanager
def _look_up(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net = subject.model
    name, held = list(net.named_parameters())[-1]

    def check(call: Call) -> None:
        found = call()
        assert isinstance(found, torch.Tensor), f"found {found!r}"
        oracles.same(found.shape, held.shape, f"{name}: shape")
        oracles.alias(found, held, name)

    def ready(idiom: str) -> Ready:
        read = checkpoints.READ_LAST[idiom](name)
        return Ready(lambda: read(net), check)

    yield {idiom: ready(idiom) for idiom in LOOK_UPS}


@contextmanager
def _copy(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    net = subject.model

    def check(state: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in saved(net).items():
            assert name in state, f"{name} is missing"
            oracles.identical(state[name], tensor, name)
            if tensor.numel():
                oracles.not_alias(state[name], tensor, name)

    def of_model(found: object) -> Mapping[str, torch.Tensor]:
        assert isinstance(found, nn.Module), f"found {found!r}"
        oracles.same(oracles.tied_names(found), oracles.tied_names(net), "names of tied parameters")
        return saved(found)

    def of_state(found: object) -> Mapping[str, torch.Tensor]:
        assert isinstance(found, dict), f"found {found!r}"
        return found

    yield {
        "deepcopy": Ready(lambda: copy.deepcopy(net), lambda call: check(of_model(call()))),
        "clone_state_dict": Ready(
            lambda: {name: tensor.detach().clone() for name, tensor in net.state_dict().items()},
            lambda call: check(of_state(call())),
        ),
    }


@contextmanager
def _save_part(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    divisible = [each for each in subject.model.parameters() if each.dim() and len(each) > 1]
    small = [each for each in divisible if each.nbytes <= LARGEST_PART]
    if not small:
        raise NotHereError(f"no parameter of up to {LARGEST_PART >> 20} MiB has two rows")
    weight = max(small, key=lambda each: each.nbytes).detach()
    part = weight[: max(1, len(weight) // 8)]
    path = subject.folder / "part.pt"

    def check(call: Call, *, whole: bool) -> None:
        path.unlink(missing_ok=True)
        call()
        assert path.is_file(), "there is no file"
        found = torch.load(path, weights_only=True)
        oracles.identical(found, part, "part")
        if not whole:
            oracles.own_memory(found, "part")

    def ready(idiom: str) -> Ready:
        form = checkpoints.PARTS[idiom]
        return Ready(lambda: torch.save(form(part), path), lambda call: check(call, whole=idiom == "view"))

    try:
        yield {idiom: ready(idiom) for idiom in checkpoints.PARTS}
    finally:
        path.unlink(missing_ok=True)


def _parametrized_layer(net: nn.Module) -> tuple[nn.Module, str]:
    """A copy of a layer, and the name of its parametrized weight. If the model has none, the layer with the largest
    weight gets `weight_norm`."""
    for module in net.modules():
        if parametrize.is_parametrized(module):
            assert isinstance(module.parametrizations, nn.ModuleDict)
            return copy.deepcopy(module).eval(), next(iter(module.parametrizations))
    weights = [
        (parameter.nbytes, module, name)
        for module in net.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and parameter.dim() > 1 and parameter.is_floating_point() and parameter.any()
    ]
    if not weights:
        raise NotHereError("no parameter has two dimensions and elements other than zero")
    _, module, name = max(weights, key=lambda each: each[0])
    layer = copy.copy(module)  # with its own parameters, without copies of what is below it
    layer._parameters = {name: nn.Parameter(module._parameters[name].detach().clone())}  # type: ignore[union-attr]
    layer._modules = {}
    # By the norm of the whole weight: by those of rows, a row of zeros, as of padding_idx, would become NaN.
    parametrizations.weight_norm(layer, name, dim=-1)
    return layer.eval(), name


@contextmanager
def _parametrized(subject: Subject) -> Iterator[Mapping[str, Ready | str]]:
    layer, name = _parametrized_layer(subject.model)
    with torch.no_grad():
        weight = getattr(layer, name)
        state = weight.new_zeros(())

        def first(weight: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            return state + weight[(0,) * weight.dim()]

        def check(call: Call) -> None:
            found = call()
            assert isinstance(found, torch.Tensor), f"found {found!r}"
            close(found, READS * first(weight, state), f"the sum of an element over {READS} reads")

        def ready(idiom: str) -> Ready:
            read = torch.no_grad()(parametrized.READS[idiom])
            return Ready(lambda: read(layer, name, READS, first, state), check)

        yield {idiom: ready(idiom) for idiom in parametrized.READS}


JOBS: dict[str, Job] = {
    "state_dict": Job(
        "get the state dict",
        tuple(checkpoints.MODEL_STATES),
        _state_dict,
        notes={
            "get_model_state_dict": "It returns the same tensors, and resolves the name of each; only a sharded model "
            "needs it (pytorch/torchtitan#3066)."
        },
    ),
    "walk": Job("list the parameters", ("named_parameters", "parameters"), _walk),
    "look_up": Job(
        "look up one parameter by its name",
        LOOK_UPS,
        _look_up,
        notes={
            "named_parameters": "A dictionary for each name that is looked up is quadratic: build it once before the "
            "loop (Lightning-AI/lightning-thunder#421).",
            "state_dict": "A state dict for each name that is looked up is quadratic: make it once before the loop "
            "(huggingface/transformers#37178).",
        },
    ),
    "copy": Job(
        "copy the model, or its values",
        ("deepcopy", "clone_state_dict"),
        _copy,
        passes=2,
        copies=2,
        notes={
            "clone_state_dict": "It holds no buffer with persistent=False, and a tied parameter once for each name.",
        },
    ),
    "save_part": Job(
        "save an eighth of a parameter",
        tuple(checkpoints.PARTS),
        _save_part,
        notes={
            "view": "torch.save writes the whole memory that a view is a part of (pytorch/pytorch#128219): save "
            "part.clone().",
        },
    ),
    "parametrized": Job(
        f"read a parametrized weight {READS} times",
        tuple(parametrized.READS),
        _parametrized,
        copies=3,
        notes={
            "each_read": "torch.nn.utils.parametrize computes the weight anew at each read (pytorch/pytorch#167645).",
            "cached": "One block with parametrize.cached() around all reads; torch.export loses the cache "
            "(pytorch/pytorch#167645).",
            "cached_each_read": "The cache ends with its block, so a block for each read caches nothing "
            "(huggingface/peft#2912).",
        },
    ),
}
