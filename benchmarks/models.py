"""E. Models: construct layouts of well-known models, and go through their parameters."""

from __future__ import annotations

import copy

import torch
from torch import nn

from bench_core.suite import DEVICES, Suite, checkpoints, labels, lazy, oracles, startup, startup_check
from bench_core.suite.layouts import LAYOUTS, TINY, on_meta
from bench_core.suite.layouts.checks import check_shared, check_structure, check_values

MODELS = labels(
    "mlp", *TINY, "resnet50", "vit-b16", "gpt2", "bert-base", "llama-135m", "llama-1b", "llama-3b", "llama-8b"
)

LARGEST = 1 << 28
"""Cells that give memory to a model have at most this many elements: 1 GiB of float32. One call on a larger model
takes seconds to minutes, and a suite has many."""


class _OfModel(Suite):
    """Base of the classes with a parameter `model`.

    Attributes:
        copies: how many models have memory at once, at most, the check included; 0 for a cell on meta.
    """

    def setup(self, *values):
        super().setup(*values)
        self.layout = LAYOUTS[self.named(*values)["model"]]

    def why_not(self, *values):
        model = self.named(*values)["model"]
        if self.peak_bytes(*values) and LAYOUTS[model].elements > LARGEST:
            return f"{model} is too large for a suite: `bench-core model {model}` measures it"
        return super().why_not(*values)

    def peak_bytes(self, *values):
        return self.copies * 4 * LAYOUTS[self.named(*values)["model"]].elements


def eager(layout, device):
    return layout.build().to(device)


def meta(layout, device):
    return on_meta(layout)


def meta_to_empty(layout, device):
    net = on_meta(layout).to_empty(device=device)
    if layout.ties:
        net.tie_weights()
    return net


FORMS = {"eager": eager, "meta": meta, "meta_to_empty": meta_to_empty}


class Construct(_OfModel):
    """Construct a model: with its first values, on meta, where it has shapes alone, or on meta and then with memory.

    They are different jobs, and not rivals: `meta` gives shapes, `meta_to_empty` adds memory, and `eager` values.
    `to_empty` gives each name of a tied parameter a memory of its own, so `meta_to_empty` ties again; its buffers have
    no values. `bench-core model` measures complete ways to start up.

    A tiny model takes longer on meta than with its values: there, torch runs `normal_` in Python (248 us a call, and
    4 us on a CPU for 32x32).

    The layouts of ResNet, ViT, GPT-2, BERT and Llama draw most weights twice, as torchvision and transformers do: in
    the constructor of each layer, and then by the model's own initializer.
    """

    param_names = ["device", "form", "model"]
    params = [DEVICES, labels(*FORMS), MODELS]
    quick = {"device": ["cpu"], "model": ["resnet50-tiny", "gpt2-tiny"]}
    copies = 2

    def setup(self, device, form, model):
        super().setup(device, form, model)
        self.construct = FORMS[form]
        # Once here: an accelerator's context, and the 487 modules that torch imports at a process's first `to_empty`
        # from meta. The tiny form, since a large one takes as long to construct as the cell itself.
        self.construct(LAYOUTS[self.layout.tiny], device)

    def why_not(self, device, form, model):
        if form == "meta" and device != "cpu":
            return f"a model on meta is the same beside the CPU and {device}"
        return super().why_not(device, form, model)

    def peak_bytes(self, device, form, model):
        return 0 if form == "meta" else super().peak_bytes(device, form, model)

    def time_construct(self, device, form, model):
        return self.construct(self.layout, device)

    def check_construct(self, device, form, model):
        torch.manual_seed(0)
        with lazy.poisoned_memory():
            found = self.time_construct(device, form, model)
        check_structure(found, self.layout, "meta" if form == "meta" else device)
        if form == "eager":
            torch.manual_seed(0)
            check_values(found, self.layout.build())


class StateDict(_OfModel):
    """`state_dict()` of a model. It is on meta, since no element is read, so large models need no memory. For GPT-2 it
    takes the same time as on the CPU."""

    param_names = ["model"]
    params = [MODELS]
    quick = {"model": ["resnet50-tiny", "gpt2-tiny"]}
    copies = 0

    def setup(self, model):
        super().setup(model)
        self.net = on_meta(self.layout)

    def time_state_dict(self, model):
        return self.net.state_dict()

    def check_state_dict(self, model):
        found = self.time_state_dict(model)
        assert isinstance(found, dict), f"found {found!r}"
        held = {name: tensor for name, tensor, _ in oracles.held(self.net)}
        missing = [name for name in held if name not in found]
        oracles.same(missing, not_persistent(self.net), "names that the state dict lacks")
        for name, tensor in found.items():
            oracles.same(tensor.requires_grad, False, f"{name}: requires_grad")
            assert tensor is not held[name], f"{name}: the tensor itself, not a view"
            check_shared(tensor, held[name], name)


def not_persistent(net):
    return [
        f"{path}.{name}" for path, module in net.named_modules() for name in sorted(module._non_persistent_buffers_set)
    ]


class Walk(_OfModel):
    """List all parameters or buffers of a model, which is on meta (see StateDict).

    `named_parameters` lists a tied weight once; with `remove_duplicate=False`, under both its names.
    """

    param_names = ["walk", "model"]
    params = [labels(*checkpoints.WALKS), MODELS]
    quick = {"walk": ["named_parameters"], "model": ["resnet50-tiny", "gpt2-tiny"]}
    copies = 0

    def setup(self, walk, model):
        super().setup(walk, model)
        self.net = on_meta(self.layout)
        self.list = checkpoints.WALKS[walk]

    def time_list(self, walk, model):
        return self.list(self.net)

    def check_list(self, walk, model):
        found = self.time_list(walk, model)
        assert isinstance(found, list), f"found {found!r}"
        own = "_buffers" if walk == "named_buffers" else "_parameters"
        held = {
            f"{path}.{name}".lstrip("."): tensor
            for path, module in self.net.named_modules()
            for name, tensor in getattr(module, own).items()
            if tensor is not None
        }
        if walk != "named_parameters_with_duplicates":
            for _, *later in self.layout.ties:
                held = {name: tensor for name, tensor in held.items() if name not in later}
        if walk != "parameters":
            oracles.same([name for name, _ in found], list(held), "names")
        tensors = found if walk == "parameters" else [tensor for _, tensor in found]
        oracles.same([id(tensor) for tensor in tensors], [id(tensor) for tensor in held.values()], "tensors")


class DeepCopy(_OfModel):
    """`copy.deepcopy` of a model, as an average of its weights begins. It keeps ties, and all buffers."""

    param_names = ["device", "model"]
    params = [DEVICES, MODELS]
    quick = {"device": ["cpu"], "model": ["resnet50-tiny", "gpt2-tiny"]}
    copies = 2

    def setup(self, device, model):
        super().setup(device, model)
        # The copy's memory is part of the job: whatever the allocator hands out.
        self.net = self.layout.build().to(device)

    def time_copy(self, device, model):
        return copy.deepcopy(self.net)

    def check_copy(self, device, model):
        found = check_structure(self.time_copy(device, model), self.layout, device)
        check_values(found, self.net)
        held = {name: tensor for name, tensor, _ in oracles.held(self.net)}
        for name, tensor, _ in oracles.held(found):
            oracles.not_alias(tensor, held[name], name)


class ZeroGrad(_OfModel):
    """Reset the gradients of a model: set them to None, or write zeros.

    The next backward pass may pay for what this saves: see tying.ZeroGradAndBackward.
    """

    number = 1  # gradients are dropped once
    param_names = ["device", "idiom", "model"]
    params = [DEVICES, labels("set_to_none", "set_to_zero"), MODELS]
    quick = {"device": ["cpu"], "model": ["gpt2-tiny"]}
    rivals = "idiom"
    copies = 2

    def setup(self, device, idiom, model):
        super().setup(device, idiom, model)
        self.set_to_none = idiom == "set_to_none"
        # The values do not matter, and drawing them takes longer than the cell. Gradients are written here: the first
        # write to fresh memory pays page faults.
        self.net = on_meta(self.layout).to_empty(device=device)
        if self.layout.ties:
            self.net.tie_weights()
        for parameter in self.net.parameters():
            parameter.grad = torch.ones_like(parameter)
        nn.Linear(1, 1, device=device).zero_grad(set_to_none=self.set_to_none)

    def time_zero_grad(self, device, idiom, model):
        self.net.zero_grad(set_to_none=self.set_to_none)

    def check_zero_grad(self, device, idiom, model):
        before = {name: parameter.grad for name, parameter in self.net.named_parameters()}
        oracles.same(sum(gradient.numel() for gradient in before.values()), self.layout.elements, "elements")
        self.time_zero_grad(device, idiom, model)
        for name, parameter in self.net.named_parameters():
            if idiom == "set_to_none":
                assert parameter.grad is None, f"{name}: its gradient is still there"
            else:
                assert parameter.grad is before[name], f"{name}: its gradient is another tensor now"
                oracles.filled_with(parameter.grad, 0.0, f"gradient of {name}")


class _StartUp(_OfModel):
    """Base of the ways to start up."""

    param_names = ["device", "way", "model"]
    rivals = "way"
    copies = 3

    def why_not(self, device, way, model):
        return super().why_not(device, way, model) or startup.why_not(startup.WAYS[way], device) or None

    def setup(self, device, way, model):
        super().setup(device, way, model)
        self.way = startup.WAYS[way]
        # Once here: the accelerator's context, and what torch imports at the first use of meta. A program that starts
        # pays for that as well: `bench-core model` times ways in fresh processes.
        self.checkpoint = self._file(self.layout.tiny)
        self._go(LAYOUTS[self.layout.tiny], device)
        self.checkpoint = self._file(model)

    def _file(self, model):
        if not self.way.format:
            return None
        return startup.checkpoints_of(str(model)) / startup.EXAMPLES[self.way.format]

    def _go(self, layout, device):
        return startup.go(self.way, layout.build, device, self.checkpoint).model

    def check(self, device, way, model, found):
        check_structure(found, self.layout, device)
        torch.manual_seed(0)
        plain = startup.PLAIN[self.way.job]
        path = startup.checkpoints_of(str(model)) / startup.EXAMPLES["torch"] if plain.format else None
        expected = startup.go(plain, self.layout.build, device, path).model
        compare = startup_check.loaded if self.way.job == "load" else startup_check.initialized
        oracles.same(compare(found, expected).wrong, "", "differences from the plain way")


LOADS = labels(*(name for name, way in startup.WAYS.items() if way.job == "load"))
STARTS = labels(*(name for name, way in startup.WAYS.items() if way.job == "initialize"))


class StartUp(_StartUp):
    """Ways to get a model with the values of a checkpoint, which is in the page cache.

    Each ties again what it has untied, and computes again the buffers that no checkpoint holds, and that is timed. The
    pages of a file that is mapped are touched.
    """

    params = [DEVICES, LOADS, MODELS]
    quick = {"device": ["cpu"], "way": ["eager_copy", "skip_draws_assign_mmap"], "model": ["gpt2-tiny"]}

    def time_start(self, device, way, model):
        return self._go(self.layout, device)

    def check_start(self, device, way, model):
        with lazy.poisoned_memory():
            found = self.time_start(device, way, model)
        self.check(device, way, model, found)


class FirstValues(_StartUp):
    """Ways to get a model with its first values. Their random numbers may be others, from the same distributions."""

    params = [DEVICES, STARTS, MODELS]
    quick = {"device": ["cpu"], "way": ["eager", "last_draws"], "model": ["gpt2-tiny"]}

    def time_start(self, device, way, model):
        return self._go(self.layout, device)

    def check_start(self, device, way, model):
        with lazy.poisoned_memory():
            found = self.time_start(device, way, model)
        self.check(device, way, model, found)
