"""B. Materialization: give a model the memory and the first values of its parameters."""

from __future__ import annotations

import torch
from torch import nn

from bench_core.suite import DEVICES, SIZES, Report, Suite, labels, lazy, oracles, shape_of
from bench_core.suite.lazy import INITIALIZED, LAYERS, LOADED, MODELS, MODULES, ON_META


class UninitializedParameter(Suite):
    """`UninitializedParameter.materialize` alone: it allocates and changes the class, and writes no element."""

    number = 1  # a parameter materializes once
    param_names = ["device", "size"]
    params = [DEVICES, SIZES]
    quick = {"device": ["cpu"], "size": ["8x4"]}
    copies = 1

    def setup(self, device, size):
        super().setup(device, size)
        self.shape = shape_of(size)
        # A twin first: a process's first use of this path costs 25 times as much, and may start an accelerator.
        nn.UninitializedParameter(device=device).materialize(self.shape)
        self.parameter = nn.UninitializedParameter(device=device)

    def time_materialize(self, device, size):
        self.parameter.materialize(self.shape)

    def check_materialize(self, device, size):
        self.time_materialize(device, size)
        found = self.parameter
        oracles.same((type(found), found.requires_grad), (nn.Parameter, True), "class and requires_grad")
        oracles.same((found.shape, found.dtype), (torch.Size(self.shape), torch.float32), "shape and dtype")
        oracles.same(found.device.type, device, "device")


class LazyConstruction(Suite):
    """Construct a lazy module, which allocates nothing, or the plain one, which allocates and initializes."""

    param_names = ["device", "form", "module"]
    params = [
        DEVICES,
        labels("lazy", "plain"),
        labels(*LAYERS, "notebook", "mlp_10x64", "mlp_100x64", "mlp_4x1024"),
    ]
    quick = {"device": ["cpu"], "module": ["LazyLinear", "LazyBatchNorm2d"]}
    rivals = "form"

    def setup(self, device, form, module):
        super().setup(device, form, module)
        # The warning of lazy modules is silenced here, or the first call would print it.
        lazy.quiet()
        self.construct = getattr(MODULES[module], form)
        self.construct(device)

    def time_construct(self, device, form, module):
        return self.construct(device)

    def check_construct(self, device, form, module):
        spec = MODULES[module]
        with lazy.poisoned_memory():
            found = self.time_construct(device, form, module)
        if form == "plain":
            lazy.check_architecture(found, spec, device)
            lazy.check_drawn([found])
        else:
            oracles.same(str(found), str(spec.lazy("meta")), "lazy architecture")
            states = [nn.parameter.is_lazy(parameter) for parameter in found.parameters()]
            assert states, "there are no parameters"
            assert all(states), f"{states.count(False)} of {len(states)} parameters have a shape before the forward"


class LazyForward(Suite):
    """The first forward pass of a lazy module, which materializes it, and the second, which is a plain module's.

    LazyLinear once stayed all zeros, since it was reset before its shape was known (pytorch/pytorch#149691). The check
    tests the distribution of the weights.
    """

    number = 1  # a module materializes once; the second forward is timed in the same way
    param_names = ["device", "call", "module"]
    params = [
        DEVICES,
        labels("first", "second"),
        labels(*LAYERS, "notebook", "mlp_10x64", "mlp_100x64", "mlp_4x1024"),
    ]
    quick = {
        "device": ["cpu"],
        "module": ["LazyLinear", "LazyConv2d", "notebook", "mlp_100x64"],
    }
    rivals = "call"

    def setup(self, device, call, module):
        super().setup(device, call, module)
        lazy.quiet()
        spec = MODULES[module]
        self.inputs = spec.inputs(device)
        # Kernels for these shapes are chosen and cached in the forward of a twin, which is not timed.
        spec.lazy(device)(self.inputs)
        self._make(device, call, spec)

    def _make(self, device, call, spec):
        self.module = spec.lazy(device)
        if call == "second":
            self.module(self.inputs)

    def time_forward(self, device, call, module):
        return self.module(self.inputs)

    def check_forward(self, device, call, module):
        spec = MODULES[module]
        found, elements = [], 0
        while elements < 4096:  # the notebook's 49 parameters are too few to show their distribution
            with lazy.poisoned_memory():
                self._make(device, call, spec)
                is_lazy = any(nn.parameter.is_lazy(parameter) for parameter in self.module.parameters())
                oracles.same(is_lazy, call == "first", "lazy before the forward")
                outputs = self.time_forward(device, call, module)
            assert outputs is not None, "the forward returned nothing"
            lazy.check_architecture(self.module, spec, device)
            lazy.check_as_plain(self.module, spec, self.inputs, outputs, calls=1 if call == "first" else 2)
            found.append(self.module)
            elements += sum(parameter.numel() for parameter in self.module.parameters())
        lazy.check_drawn(found)


class InitializedModel(Suite):
    """Ways to build a model with initialized parameters.

    - `eager` constructs on the CPU and moves the model.
    - `lazy_dry_run` runs one row of zeros through lazy layers.
    - `meta_to_empty` constructs on meta, allocates, calls every `reset_parameters`, and repairs what that undoes.
    - `skip_init` does the same layer by layer.
    - `torch_device` constructs under `torch.device(device)`.

    The timed call allocates the memory and releases it. The large model gets fresh memory each time, the small ones
    get what the call before released.

    **`to_empty` unties and leaves buffers without values**: two modules that share a weight end with one each
    (huggingface/accelerate#3154), and no `reset_parameters` writes a buffer such as the angles of a rotary embedding.
    So `meta_to_empty` ties again and computes such buffers again, and both are timed; a model with neither needs
    nothing. `skip_init` on a whole model would need the same. With `lazy_dry_run`, weights can be tied only after the
    dry run.
    """

    param_names = ["device", "idiom", "model"]
    params = [
        DEVICES,
        labels(*INITIALIZED),
        labels("notebook", "mlp_100x64", "mlp_1x3072", "mlp_2x64_tied", "mlp_2x64_angles"),
    ]
    # In large models nearly all the time goes to the random generator, whatever the idiom.
    quick = {"device": ["cpu"], "model": ["mlp_100x64"]}
    rivals = "idiom"

    def setup(self, device, idiom, model):
        super().setup(device, idiom, model)
        lazy.quiet()
        self.model = MODELS[model]
        self.build = INITIALIZED[idiom]
        # Once here: an accelerator's context, and the 487 modules that torch imports at a process's first `to_empty`
        # from meta (0.3 to 0.45 s).
        self.build(MODELS["notebook"], device)

    def time_build(self, device, idiom, model):
        return self.build(self.model, device)

    def check_build(self, device, idiom, model):
        with lazy.poisoned_memory():
            found = self.time_build(device, idiom, model)
        check_initialized(found, device, idiom, model)


class InitializedModelMemory(Suite):
    """Peak host memory while InitializedModel's idioms build a model of 64 MiB.

    It is the largest resident set of the process. It includes torch, and the 40 MB that the first `to_empty` imports.
    On an accelerator, only `eager` needs the model in host memory.
    """

    param_names = ["device", "idiom", "model"]
    params = [DEVICES, labels(*INITIALIZED), labels("mlp_4x2048")]
    quick = None  # on the CPU every idiom holds the model once
    rivals = "idiom"

    def setup(self, device, idiom, model):
        super().setup(device, idiom, model)
        lazy.quiet()
        # Not the model itself: the highest mark would then be this setup's.
        torch.empty(1, device=device)
        self.model = MODELS[model]
        self.build = INITIALIZED[idiom]

    def peak_bytes(self, device, idiom, model):
        return 2 * MODELS[model].bytes

    def peakmem_build(self, device, idiom, model):
        return self.build(self.model, device)

    def check_build(self, device, idiom, model):
        with lazy.poisoned_memory():
            found = self.peakmem_build(device, idiom, model)
        check_initialized(found, device, idiom, model)


def check_initialized(found, device, idiom, model):
    lazy.check_architecture(found, MODELS[model], device)
    lazy.check_drawn([found])


OVERWRITTEN = "huggingface/transformers#27709, #21913, #26258; huggingface/pytorch-image-models#2350"


class LoadedModel(Suite):
    """Ways to build a model with the values of a checkpoint that is already in host memory.

    - `eager`, `torch_device` and `lazy_dry_run` initialize parameters that the copy overwrites:
      huggingface/transformers#27709, huggingface/transformers#21913, huggingface/transformers#26258,
      huggingface/pytorch-image-models#2350.
    - `skip_init` and `meta_to_empty` copy into memory that is not initialized.
    - `lazy_load` lets `load_state_dict` materialize lazy layers.
    - `meta_assign` is ``load_state_dict(assign=True)``. It copies nothing on the CPU: the model's parameters are the
      checkpoint's memory, so editing one edits the other.

    **A model from meta lacks what its constructor did.** Two modules that share a weight end with a parameter each
    (huggingface/accelerate#3154, pytorch/pytorch#188346); after ``assign=True`` they may share memory, which an
    optimizer then updates twice. Buffers with ``persistent=False`` are in no checkpoint. After ``assign=True`` they
    stay on meta, and a strict load does not report it (huggingface/transformers#30703, pytorch/pytorch#102212). So do
    tensors that are plain attributes, after `to_empty` too. So `meta_to_empty` and `meta_assign` tie again and compute
    such buffers again, and both are timed. A model with neither needs nothing. Buffers that the constructor makes with
    an explicit ``device="cpu"`` never were on meta.
    """

    param_names = ["device", "idiom", "model"]
    params = [
        DEVICES,
        labels(*LOADED),
        labels("notebook", "mlp_100x64", "mlp_1x3072", "mlp_2x64_tied", "mlp_2x64_angles"),
    ]
    # Both models, since the ranking changes: with many small layers, meta costs more than the initialization it saves.
    quick = {
        "device": ["cpu"],
        "idiom": ["eager", "lazy_load", "skip_init", "meta_assign"],
        "model": ["mlp_100x64", "mlp_1x3072"],
    }
    rivals = "idiom"
    reports = [
        Report(
            source=OVERWRITTEN,
            what="parameters are initialized and then overwritten by a checkpoint",
            instead="construct on meta and `load_state_dict(assign=True)`; then tie again what was tied, and compute "
            "again each buffer with `persistent=False` and each tensor that is a plain attribute: they are still on "
            "meta, and a strict load does not report it (huggingface/transformers#30703)",
            benchmark="time_build",
            slow={"device": "cpu", "idiom": "eager", "model": "mlp_1x3072"},
            fast={"idiom": "meta_assign"},
            where="usage",
        ),
        Report(
            source=OVERWRITTEN,
            what="parameters are initialized and then overwritten by a checkpoint whose memory they must not share",
            instead="construct each layer with `skip_init`, and copy (`skip_init` of a whole model unties, and leaves "
            "buffers with `persistent=False` without values: tie and compute them again)",
            benchmark="time_build",
            slow={"device": "cpu", "idiom": "eager", "model": "mlp_1x3072"},
            fast={"idiom": "skip_init"},
            where="usage",
        ),
    ]

    def setup(self, device, idiom, model):
        super().setup(device, idiom, model)
        lazy.quiet()
        self.model = MODELS[model]
        self.load = LOADED[idiom]
        # Made here, in memory: how it comes from a file is timed with the state dicts. Anew for each cell, because
        # `assign=True` marks the dictionary, and whoever loads it afterwards assigns too (pytorch/pytorch#188166).
        self.checkpoint = self.model.plain("cpu").state_dict()
        notebook = MODELS["notebook"]
        self.load(notebook, device, notebook.plain("cpu").state_dict())  # the first use, as in InitializedModel

    def time_build(self, device, idiom, model):
        return self.load(self.model, device, self.checkpoint)

    def check_build(self, device, idiom, model):
        with lazy.poisoned_memory():
            found = self.time_build(device, idiom, model)
        check_loaded(found, self.checkpoint, device, idiom, model)


class LoadedModelMemory(Suite):
    """Peak host memory while LoadedModel's idioms load a model of 64 MiB.

    It is the largest resident set of the process. It includes torch, the 40 MB that the first `to_empty` imports, and
    the checkpoint. Every idiom but `meta_assign` holds a copy beside the checkpoint.
    """

    param_names = ["device", "idiom", "model"]
    params = [DEVICES, labels(*LOADED), labels("mlp_4x2048")]
    quick = {"device": ["cpu"], "idiom": ["eager", "meta_assign"]}
    rivals = "idiom"

    def setup(self, device, idiom, model):
        super().setup(device, idiom, model)
        lazy.quiet()
        torch.empty(1, device=device)
        self.model = MODELS[model]
        self.load = LOADED[idiom]
        # One copy, and no second one on the way: the highest mark would then be this setup's.
        self.checkpoint = self.model.plain("cpu").state_dict()

    def peak_bytes(self, device, idiom, model):
        return 3 * MODELS[model].bytes

    def peakmem_build(self, device, idiom, model):
        return self.load(self.model, device, self.checkpoint)

    def check_build(self, device, idiom, model):
        with lazy.poisoned_memory():
            found = self.peakmem_build(device, idiom, model)
        check_loaded(found, self.checkpoint, device, idiom, model)


def check_loaded(found, checkpoint, device, idiom, model):
    lazy.check_architecture(found, MODELS[model], device)
    state = found.state_dict()
    oracles.same(list(state), list(checkpoint), "keys")
    for name, expected in checkpoint.items():
        oracles.identical(state[name].cpu(), expected, name)
        if device == "cpu" and idiom == "meta_assign":
            oracles.alias(state[name], expected, name)
        else:
            oracles.not_alias(state[name], expected, name)


class MetaModel(Suite):
    """Ways to build a model on the meta device, where it has shapes and no memory, before a large checkpoint is loaded.

    `to_meta` constructs and initializes on the CPU and then moves the model: large models took 2.5 to 3 times as long
    to load (huggingface/transformers#42941). `torch_device` constructs under `torch.device("meta")`, where every call
    of torch passes through a Python mode. `device_argument` gives the device to each layer instead.

    No way gives a buffer with ``persistent=False`` values, and no checkpoint holds it (see LoadedModel). `to` also
    unties.
    """

    param_names = ["idiom", "model"]
    params = [labels(*ON_META), labels("notebook", "mlp_100x64", "mlp_1x3072")]
    quick = {"model": ["mlp_100x64"]}
    rivals = "idiom"
    reports = [
        Report(
            source="huggingface/transformers#42941",
            what="a model is constructed on the CPU and then moved to the meta device",
            instead='construct under `torch.device("meta")`; after the load, compute each buffer with '
            "`persistent=False` again, as after `to`",
            benchmark="time_build",
            slow={"idiom": "to_meta", "model": "mlp_1x3072"},
            fast={"idiom": "torch_device"},
            where="usage",
        ),
    ]

    def setup(self, idiom, model):
        super().setup(idiom, model)
        self.model = MODELS[model]
        self.build = ON_META[idiom]
        self.build(MODELS["notebook"])  # the first use of a device starts what torch keeps for it

    def time_build(self, idiom, model):
        return self.build(self.model)

    def check_build(self, idiom, model):
        lazy.check_architecture(self.time_build(idiom, model), MODELS[model], "meta")
