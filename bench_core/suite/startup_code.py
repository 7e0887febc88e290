"""What the ways of `bench_core.suite.startup` call, as it is shown with their code: it needs torch and safetensors
alone."""

# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


class SkipDraws(TorchFunctionMode):
    """In this block, what is constructed gets parameters without values: nothing is drawn or written in place into the
    memory of a parameter. A checkpoint must give all of them their values. Buffers get theirs as always."""

    skipped = re.compile(
        "(bernoulli|cauchy|exponential|geometric|log_normal|normal|random|trunc_normal|uniform|kaiming_uniform|constant|"
        "fill|zero|copy|add|sub|mul|div|clamp|erfinv)_|__(setitem|iadd|isub|imul|itruediv)__"
    )

    def __enter__(self) -> SkipDraws:
        self.parameters: dict[int, torch.Tensor] = {}
        self.hook = torch.nn.modules.module.register_module_parameter_registration_hook(self.remember)
        entered: SkipDraws = super().__enter__()
        return entered

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.hook.remove()
        self.parameters.clear()

    def remember(self, module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
        if parameter is not None and not torch.nn.parameter.is_lazy(parameter):
            # The tensor is kept, so that its memory cannot become that of a buffer.
            self.parameters[parameter.untyped_storage().data_ptr()] = parameter.detach()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.skipped.fullmatch(getattr(function, "__name__", "")):
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, torch.Tensor) and not torch.nn.parameter.is_lazy(tensor):
                memory = tensor.untyped_storage().data_ptr()  # that of the whole parameter, also for a view of it
                if memory and (isinstance(tensor, torch.nn.Parameter) or memory in self.parameters):
                    return tensor
        return function(*args, **kwargs)


def tied_names(model: torch.nn.Module) -> list[list[str]]:
    """The names of each parameter or buffer that has several."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor):  # extra state may be anything
            names.setdefault(id(tensor), []).append(name)
    return [each for each in names.values() if len(each) > 1]


def tie(model: torch.nn.Module, ties: list[list[str]]) -> None:
    """Let names share one parameter or buffer again, that of the first."""
    for first, *others in ties:
        owner, _, name = first.rpartition(".")
        shared = getattr(model.get_submodule(owner), name)
        for other in others:
            owner, _, name = other.rpartition(".")
            setattr(model.get_submodule(owner), name, shared)


def load_files(index: str, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Load a checkpoint in several safetensors files, which an index names."""
    files = json.loads(Path(index).read_bytes())["weight_map"].values()
    state: dict[str, torch.Tensor] = {}
    for file in dict.fromkeys(files):
        state.update(safetensors.torch.load_file(Path(index).parent / file, device=device))
    return state


def tensors_in(state: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a mapping, without its other entries, such as an epoch or extra state."""
    return {name: each for name, each in state.items() if isinstance(name, str) and isinstance(each, torch.Tensor)}


def fill_in(state: dict[str, torch.Tensor], ties: list[list[str]]) -> None:
    """Give a state dict the names that safetensors leaves out: it saves one of those that share a tensor."""
    for names in ties:
        saved = [name for name in names if name in state]
        for name in names if saved else []:
            state.setdefault(name, state[saved[0]])


def complete(model: torch.nn.Module, build: Callable[[], torch.nn.Module]) -> None:
    """Give a model that was built on meta what no checkpoint holds: buffers with ``persistent=False``, and tensors that
    are plain attributes. They are taken from another model, whose parameters get no values."""
    missing = [
        (place, name)
        for place, module in enumerate(model.modules())
        for name, tensor in [*module._buffers.items(), *vars(module).items()]
        if isinstance(tensor, torch.Tensor) and (tensor.is_meta or name in module._non_persistent_buffers_set)
    ]
    if missing:
        with SkipDraws():
            other = list(build().modules())
        modules = list(model.modules())
        for place, name in missing:
            setattr(modules[place], name, getattr(other[place], name))


class LastDraws(TorchFunctionMode):
    """In this block, a call that fills a whole parameter waits until the parameter is read or the block ends. If
    another call fills the same parameter meanwhile, only that one is done: models often draw again what their layers
    have drawn. The random generator's numbers then go to other parameters than usual."""

    delayed = frozenset(["normal_", "uniform_", "kaiming_uniform_", "constant_", "fill_", "zero_"])
    harmless = frozenset(["__get__", "dim", "size", "stride", "numel", "is_floating_point", "is_complex", "__hash__"])

    def __enter__(self) -> LastDraws:
        self.parameters: dict[int, Any] = {}
        self.waiting: dict[int, Any] = {}
        self.hook = torch.nn.modules.module.register_module_parameter_registration_hook(self.remember)
        entered: LastDraws = super().__enter__()
        return entered

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.hook.remove()
        self.fill(list(self.waiting))

    def remember(self, module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
        if parameter is not None and not torch.nn.parameter.is_lazy(parameter):
            self.parameters[parameter.untyped_storage().data_ptr()] = weakref.ref(parameter)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        touched = [each.untyped_storage().data_ptr() for each in tensors if not torch.nn.parameter.is_lazy(each)]
        if name in self.delayed and len(touched) == 1:  # a value that is a tensor may change
            tensor, memory = tensors[0], touched[0]
            parameter = tensor if isinstance(tensor, torch.nn.Parameter) else self.parameters.get(memory, bool)()
            if memory and isinstance(parameter, torch.nn.Parameter) and parameter.nbytes == tensor.nbytes:
                kwargs.pop("tensor", None)
                self.waiting.pop(memory, None)
                self.waiting[memory] = (weakref.ref(parameter), function, args[1:], kwargs)
                return tensor
        if name not in self.harmless:
            self.fill(touched)
        return function(*args, **kwargs)

    def fill(self, memories: list[int]) -> None:
        for memory in memories:
            parameter, function, args, kwargs = self.waiting.pop(memory, (bool, None, (), {}))
            if isinstance(parameter(), torch.nn.Parameter):  # it may have gone, such as one that was tied to another
                with torch.no_grad():
                    function(parameter(), *args, **kwargs)


def reinitialize(model: Any) -> None:
    """Initialize a model that has memory without values, with the methods that its modules have for that."""
    for module in model.modules():
        vars(module).pop("_is_hf_initialized", None)  # how transformers marks what it need not initialize
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    if hasattr(model, "init_weights"):
        model.init_weights()
    elif hasattr(model, "_init_weights"):
        model.apply(model._init_weights)


def materialize(model: torch.nn.Module, example: Any) -> torch.nn.Module:
    """Give the lazy parameters of a model their shapes with one forward pass, in evaluation mode and without gradients.

    Args:
        example: what the model is called with: a tensor, or a tuple of arguments. It is moved to where the model is.
    """
    place = next(model.parameters()).device
    dtype = next((each.dtype for each in model.parameters() if each.is_floating_point()), None)

    def fitted(each: Any) -> Any:
        is_tensor = isinstance(each, torch.Tensor)
        return each.to(place, dtype if each.is_floating_point() else None) if is_tensor else each

    training = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()(*tree_map(fitted, tuple(example) if isinstance(example, (tuple, list)) else (example,)))
    finally:
        for module, flag in training.items():
            module.training = flag
    return model
