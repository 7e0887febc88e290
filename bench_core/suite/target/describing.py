"""What a model consists of."""

from __future__ import annotations

from collections import Counter

from torch import nn
from torch.nn.parameter import is_lazy

from bench_core.records.model import ModelLayout
from bench_core.suite.oracles import tied
from bench_core.suite.target import memory


def describe(model: nn.Module) -> ModelLayout:
    """What `model` consists of. It may be on meta, or lazy."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = dict(model.named_buffers(remove_duplicate=False))
    distinct = {id(each): each for each in parameters.values()}.values()
    occupied = memory.occupied(distinct)
    dtypes: Counter[str] = Counter()
    for each in distinct:
        dtypes[str(each.dtype).removeprefix("torch.")] += 0 if is_lazy(each) else each.numel()
    largest = max(parameters, key=lambda name: memory.size_of(parameters[name]), default="")
    return ModelLayout(
        modules=sum(1 for _ in model.modules()),
        parameters=len(distinct),
        elements=sum(dtypes.values()),
        bytes=occupied,
        buffers=len({id(each) for each in buffers.values()}),
        buffer_bytes=memory.occupied(buffers.values()),
        largest=largest,
        largest_bytes=memory.size_of(parameters[largest]) if largest else 0,
        dtypes=dict(dtypes),
        non_persistent=tuple(non_persistent(model)),
        ties=tied(parameters),
        tied_bytes=sum(map(memory.size_of, parameters.values())) - occupied,
        lazy=tuple(name for name, each in parameters.items() if is_lazy(each)),
    )


def non_persistent(model: nn.Module) -> list[str]:
    """The names of the buffers that no state dict holds."""
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules(remove_duplicate=False)
        for name, buffer in module._buffers.items()
        if buffer is not None and name in module._non_persistent_buffers_set
    ]


def lost_ties(model: nn.Module, ties: tuple[tuple[str, ...], ...]) -> str:
    """Which of these groups of names are no longer one parameter of `model`; "" if all are."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    lost = []
    for group in ties:
        missing = [name for name in group if name not in parameters]
        if missing:
            lost.append(f"{', '.join(group)} should be one parameter, and the model has no {', '.join(missing)}")
        elif len({id(parameters[name]) for name in group}) > 1:
            lost.append(f"{', '.join(group)} should be one parameter, and are several")
    return "; ".join(lost)
