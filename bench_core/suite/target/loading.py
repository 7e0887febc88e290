"""From a `ModelSpec` to a model. This imports and runs the user's code, so only worker processes call it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import random
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from bench_core.errors import BenchCoreError, UnknownNameError, brief, did_you_mean, named, shortened
from bench_core.records.model import CALLABLE, ModelSpec
from bench_core.suite.base import missing_device
from bench_core.suite.layouts import LAYOUTS
from bench_core.suite.startup_code import materialize
from bench_core.suite.target import checkpoints
from bench_core.suite.target.describing import lost_ties

Example = tuple[Any, ...]
"""The positional arguments of a forward pass."""

SEED = 0


@dataclass(frozen=True)
class Target:
    """A model that can be built again and again, each time the same.

    Attributes:
        spec: what was asked for.
        kind: what made it.
        builder: the user's callable, the layout's function, or `Checkpoint.container`. It neither seeds nor converts.
        namespace: the names that an expression for `ModelSpec.input` may use.
        inputs: the example of a layout.
        file: what the given checkpoint holds; None for other kinds.
        seed: what the generators are seeded with.
    """

    spec: ModelSpec
    kind: Literal["layout", "callable", "checkpoint"]
    builder: Callable[[], object]
    namespace: Mapping[str, Any]
    inputs: Callable[[nn.Module], Example] | None = None
    file: checkpoints.Checkpoint | None = None
    seed: int = SEED

    @property
    def checkpoint(self) -> Path | None:
        """The file that was given as the target. What it holds need not be a plain state dict: see `file`."""
        return self.file.path if self.file else None

    @property
    def name(self) -> str:
        return brief(self.spec.target)

    def construct(self) -> nn.Module:
        """What the builder returns, after seeding the generators of torch, Python and NumPy. It has the builder's
        dtype, may be lazy, and is on torch's default device if the builder respects that: under
        ``torch.device("meta")`` it is on meta. The parameters of a checkpoint's container are zeros.

        Raises:
            BenchCoreError: if the builder raises, or returns no module with parameters.
        """
        seed(self.seed)
        model = _called(self.name, self.builder)
        if not isinstance(model, nn.Module):
            raise BenchCoreError(_no_module(self.name, model))
        if next(model.parameters(), None) is None:
            raise BenchCoreError(
                f"{self.name} returned a {type(model).__name__} without parameters, so there is nothing to measure. "
                "Layers must be attributes of the module, or in a ModuleList or ModuleDict: a list hides them."
            )
        return model

    def build(self) -> nn.Module:
        """The model, constructed, materialized if it is lazy, and in the dtype that was asked for.

        Raises:
            BenchCoreError: as in `construct`, `materialize` and `convert`.
        """
        return self.convert(self.materialize(self.construct()))

    def ready(self) -> nn.Module:
        """The model as it is used: built, with the values of the given checkpoint if there is one, on the device.

        Raises:
            BenchCoreError: as in `build`, or if the checkpoint is damaged or the device refuses the model.
        """
        model = self.build()
        if self.file:
            model.load_state_dict(self.file.state())
        try:
            return model.to(self.spec.device)
        except (RuntimeError, NotImplementedError, TypeError) as error:  # also out of memory
            raise BenchCoreError(
                f"{self.name} cannot be moved to {self.spec.device}: {brief(named(error))}."
            ) from error

    def materialize(self, model: nn.Module) -> nn.Module:
        """Give lazy parameters their shapes with one forward pass of the example, in evaluation mode and without
        gradients, so that running statistics keep their values.

        Raises:
            BenchCoreError: if there is no example, it does not fit, or some parameters stay lazy.
        """
        lazy = _lazy(model)
        if not lazy:
            return model
        example = self.example(model)
        if example is None:
            raise BenchCoreError(
                f"{self.name} is lazy: {shortened(lazy)} get their shapes from the first input. Give an example of it: "
                "--input 2x4 for a shape, or an expression in the builder's module such as --input 'example()'."
            )
        try:
            materialize(model, example)
        except Exception as error:
            raise BenchCoreError(
                f"{self.name} cannot be called with {self._given(example)}: {brief(named(error))}. --input must be "
                "what the forward pass takes."
            ) from error
        if lazy := _lazy(model):
            raise BenchCoreError(
                f"{self.name} was called with {self._given(example)}, and {shortened(lazy)} are still lazy: the "
                "forward pass did not use them."
            )
        return model

    def _given(self, example: Example) -> str:
        if self.spec.input:
            return f"--input {brief(self.spec.input)}"
        shapes = ", ".join(str(tuple(each.shape)) for each in example if isinstance(each, torch.Tensor))
        return f"its own example of shape {shapes}"

    def convert(self, model: nn.Module) -> nn.Module:
        """Convert floating-point parameters and buffers to the dtype that was asked for, as ``model.bfloat16()`` does:
        complex and integer tensors stay what they are. Tied parameters stay tied.

        Raises:
            BenchCoreError: if torch cannot convert them.
        """
        if not self.spec.dtype:
            return model
        dtype = floating(self.spec.dtype)
        try:
            model._apply(lambda each: each.to(dtype) if each.is_floating_point() else each)
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise BenchCoreError(
                f"{self.name} cannot be converted to {self.spec.dtype}: {brief(named(error))}."
            ) from error
        return model

    def example(self, model: nn.Module) -> Example | None:
        """The arguments of a forward pass, on the device of `model` and, if floating-point, in its dtype; the same at
        every call. None if the target has no example and ``--input`` gives none.

        Raises:
            BenchCoreError: if ``--input`` is neither a shape nor an expression for tensors.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(SEED)
            if self.spec.input:
                given = _input(self.spec.input, self.namespace)
            elif self.inputs:
                given = self.inputs(model)
            else:
                return None
        device = next(model.parameters()).device
        dtype = next((each.dtype for each in model.parameters() if each.is_floating_point()), None)

        def fitted(each: Any) -> Any:
            if not isinstance(each, torch.Tensor):
                return each
            return each.to(device, dtype if each.is_floating_point() else None)

        moved: Example = pytree.tree_map(fitted, given)
        return moved

    def lost_ties(self, model: nn.Module) -> str:
        """Which of the ties that `spec` asks for `model` has lost; "" if it has all."""
        return lost_ties(model, self.spec.ties)


def load(spec: ModelSpec) -> Target:
    """Find what `spec` asks for: the name of a layout, else ``module:callable``, else a file. A module is imported, a
    file's header is read, and nothing is built yet. The current folder is searched for modules after all others, and
    stays in `sys.path`.

    Raises:
        BenchCoreError: if there is no such target, dtype or device, the module cannot be imported, or the file is no
            checkpoint.
    """
    if spec.dtype:
        floating(spec.dtype)
    check_device(spec.device)
    if not {"", here := str(Path.cwd())} & set(sys.path):
        sys.path.append(here)  # last, so that it hides no version that is to be measured
    if spec.kind == "layout":
        layout = LAYOUTS[spec.target]
        return Target(spec, "layout", layout.build, {"torch": torch}, inputs=layout.example)
    if spec.kind == "callable":
        module, builder = _found(spec.target)
        return Target(spec, "callable", builder, {"torch": torch, **vars(module)})
    path = Path(spec.target)
    if path.exists():
        file = checkpoints.read(path, trust=spec.trust)
        return Target(spec, "checkpoint", file.container, {"torch": torch}, file=file)
    raise _unknown(spec.target, path)


def seed(number: int = SEED) -> None:
    """Seed every generator that a builder may draw from."""
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


# ------------------------------------------------------------------------------------------------- dtypes and devices


def floating(name: str) -> torch.dtype:
    """The floating-point dtype with this name.

    Raises:
        BenchCoreError: if there is none.
    """
    dtypes = {name: each for name, each in vars(torch).items() if isinstance(each, torch.dtype)}
    known = [name for name, dtype in dtypes.items() if dtype.is_floating_point]
    found = dtypes.get(name.removeprefix("torch."))
    if found is None:
        raise UnknownNameError("dtype", name, known)
    if not found.is_floating_point:
        raise BenchCoreError(f"the dtype {name!r} has no floating-point numbers. Known: {shortened(sorted(known))}.")
    return found


def check_device(name: str) -> None:
    """Check that models can be put on a device of this machine.

    Raises:
        BenchCoreError: if there is no such device.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=False)
    known = ["cpu", *([accelerator.type] if accelerator is not None else [])]
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnknownNameError("device", name, known) from error
    if device.type == "meta":
        raise BenchCoreError("tensors on the device 'meta' have no values. Give the device that the model will be on.")
    if reason := missing_device(device.type):
        raise BenchCoreError(f"{reason}. Known devices: {', '.join(known)}.")
    count = torch.accelerator.device_count() if device.type != "cpu" else 1
    if (device.index or 0) >= count:
        raise BenchCoreError(f"there is no device {name!r}: this machine has {count} of type {device.type}.")


# ---------------------------------------------------------------------------------------------------------- callables


def _found(target: str) -> tuple[ModuleType, Callable[[], object]]:
    """The module and the callable that ``module:callable`` names."""
    name, _, path = target.partition(":")
    module = _imported(name)
    found: Any = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise _no_attribute(name, module, found, part)
        found = getattr(found, part)
    if isinstance(found, nn.Module):
        raise BenchCoreError(
            f"{target} is a module that has been built already. Name a callable that builds it, so that this can "
            "be measured."
        )
    if not callable(found):
        raise BenchCoreError(f"{target} is a {type(found).__name__}, not a callable that returns an nn.Module.")
    _check_arguments(target, found)
    return module, found


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _no_such_module(name, error.name) from error
        raise _cannot_import(name, error) from error
    except (Exception, SystemExit) as error:
        raise _cannot_import(name, error) from error


def _cannot_import(name: str, error: BaseException) -> BenchCoreError:
    return BenchCoreError(
        f"the module {name} cannot be imported: {brief(named(error))}{_place(error)}. Try: python -c 'import {name}'"
    )


def _no_such_module(name: str, missing: str) -> BenchCoreError:
    parent, _, last = missing.rpartition(".")
    within = getattr(sys.modules.get(parent), "__path__", []) if parent else None
    siblings = {each.name for each in pkgutil.iter_modules(within)}
    near = [f"{parent}.{each}" if parent else each for each in difflib.get_close_matches(last, siblings, n=3)]
    if parent in sys.modules and not hasattr(sys.modules[parent], "__path__"):
        return BenchCoreError(f"there is no module {name!r}: {parent} is a module, not a package.")
    return BenchCoreError(
        f"there is no module {missing!r}.{did_you_mean(near)} Modules are searched among those installed beside "
        f"bench_core, in PYTHONPATH and in {brief(str(Path.cwd()))}."
    )


def _no_attribute(name: str, module: ModuleType, found: Any, part: str) -> BenchCoreError:
    owner = name if found is module else f"{name}:{getattr(found, '__qualname__', type(found).__name__)}"
    return UnknownNameError(
        f"callable of {owner}", part, [each for each in dir(found) if not each.startswith("_") and _calls(found, each)]
    )


def _calls(owner: Any, name: str) -> bool:
    return callable(getattr(owner, name, None))


def _check_arguments(target: str, builder: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):  # some callables in C have none
        return
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        each.name
        for each in signature.parameters.values()
        if each.default is inspect.Parameter.empty and each.kind not in kinds
    ]
    if needed:
        raise BenchCoreError(
            f"{target} needs arguments: {shortened(needed)}. Write a callable without any that passes them: "
            f"def build(): return {target.rpartition(':')[2]}(...)"
        )


def _called(name: str, builder: Callable[[], object]) -> object:
    try:
        return builder()
    except (BenchCoreError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        if device := _missing_device_in(str(error)):
            raise BenchCoreError(
                f"{name} wants a device that is not there{_place(error)} ({device}): {brief(named(error))}. Build the "
                "model without moving it; --device says where it shall be."
            ) from error
        raise BenchCoreError(f"{name} raised {brief(named(error))}{_place(error)}.") from error


_DEVICES = re.compile(r"(?i)\b(cuda|nvidia|xpu|mps|hpu|npu|accelerator)\b")


def _missing_device_in(message: str) -> str:
    """Why the device that a message mentions is not there; "" if it mentions none, or if the device is there."""
    if not (mentioned := _DEVICES.search(message)):
        return ""
    word = mentioned[1].lower()
    return missing_device({"nvidia": "cuda", "accelerator": "cuda"}.get(word, word)) or ""


def _place(error: BaseException) -> str:
    """Where the user's code raised: the last line of the traceback that is neither torch's, Python's nor ours."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*_NOT_THEIRS, "<")):
            return f" at {brief(frame.filename)}:{frame.lineno}"
    return ""


_NOT_THEIRS = (str(Path(torch.__file__).parent), str(Path(inspect.__file__).parent), str(Path(__file__).parent))


def _no_module(name: str, found: object) -> str:
    if inspect.iscoroutine(found):
        found.close()  # or Python warns that it was never awaited
        return f"{name} is an async function. Name one that returns an nn.Module at once."
    if found is None:
        return f"{name} returned None, not an nn.Module. Does it lack a return?"
    if inspect.isclass(found):
        return f"{name} returned the class {found.__name__}, not an nn.Module. Return an instance of it."
    if isinstance(found, tuple | list) and any(isinstance(each, nn.Module) for each in found):
        return f"{name} returned a {type(found).__name__}, not an nn.Module. Return the module alone."
    return f"{name} returned a {type(found).__name__}, not an nn.Module."


def _unknown(target: str, path: Path) -> BenchCoreError:
    forms = "A model is module:callable, the name of a layout, or the path of a checkpoint"
    if os.sep in target or path.suffix in _SUFFIXES:
        try:
            beside = [str(each) for each in path.parent.iterdir() if each.suffix in _SUFFIXES]
        except OSError:
            return BenchCoreError(f"there is no file {brief(target)!r}, and no folder {brief(str(path.parent))!r}.")
        near = [brief(each) for each in difflib.get_close_matches(str(path), beside, n=3)]
        return BenchCoreError(f"there is no file {brief(target)!r}.{did_you_mean(near)} {forms}.")
    near = difflib.get_close_matches(target, LAYOUTS, n=3)
    module, _, last = target.rpartition(".")
    if not near and module and CALLABLE.fullmatch(f"{module}:{last}"):
        near = [f"{module}:{last}"]
    return BenchCoreError(
        f"unknown model {brief(target)!r}.{did_you_mean(near)} {forms}. Layouts: {', '.join(LAYOUTS)}."
    )


_SUFFIXES = frozenset({".safetensors", ".json", ".pt", ".pth", ".bin", ".ckpt"})


# ------------------------------------------------------------------------------------------------------------- inputs

_SHAPE = re.compile(r"\d+(x\d+)*")


def _input(text: str, namespace: Mapping[str, Any]) -> Example:
    """The arguments that ``--input`` describes: a tensor of random numbers of that shape, or the value of an
    expression, a tensor or a tuple of arguments."""
    if _SHAPE.fullmatch(text):
        shape = [int(each) for each in text.split("x")]
        try:
            return (torch.randn(shape, device="cpu"),)
        except RuntimeError as error:
            raise BenchCoreError(f"--input {brief(text)} is too large: {brief(named(error))}.") from error
    try:
        value = eval(text, dict(namespace))
    except KeyboardInterrupt:
        raise
    except (Exception, SystemExit) as error:
        raise BenchCoreError(
            f"--input {brief(text)!r} is neither a shape such as 2x4 nor an expression that can be evaluated in the "
            f"builder's module: {brief(named(error))}."
        ) from error
    if isinstance(value, torch.Tensor):
        return (value,)
    if isinstance(value, tuple | list) and any(isinstance(each, torch.Tensor) for each in pytree.tree_leaves(value)):
        return tuple(value)
    raise BenchCoreError(
        f"--input {brief(text)!r} is a {type(value).__name__}. It must be a tensor, or a tuple of the arguments of the "
        "forward pass."
    )


def _lazy(model: nn.Module) -> list[str]:
    """The parameters and buffers that have no shape yet."""
    tensors = (*model.named_parameters(), *model.named_buffers())
    return [name for name, tensor in tensors if is_lazy(tensor)]
