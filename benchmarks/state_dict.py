"""C. State-dict access: read parameters, load checkpoints, copy models, and save them to files."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import torch
from torch import nn

from bench_core.suite import (
    DEVICES,
    Report,
    Suite,
    averages,
    checkpoints,
    dtype_of,
    labels,
    models,
    oracles,
    shape_of,
    traffic,
)

MODULES = labels("10", "100", "1000")
FORMS = labels("flat", "nested")
LOADED_SIZES = labels("8x4", "1024x1024", "4096x4096")


def net_of(form, modules):
    return models.many_linears(int(modules), nested=form == "nested")


def the_same(found, expected, what):
    """Two lists hold the same objects in the same order."""
    assert isinstance(found, list), f"{what}: found {found!r}, expected a list"
    oracles.same([id(one) for one in found], [id(one) for one in expected], what)


def aliases(found, expected, what):
    """`found` is another tensor than `expected`, without gradient, over the same memory."""
    assert isinstance(found, torch.Tensor), f"{what}: found {found!r}"
    assert found is not expected, f"{what}: the parameter itself, not a view"
    oracles.same((found.shape, found.requires_grad), (expected.shape, False), f"{what}: shape and requires_grad")
    oracles.alias(found, expected, what)


class NotebookRead(Suite):
    """The notebook's ways to inspect its net, Linear(4, 8), ReLU, Linear(8, 1): `net[2].bias` and so on.

    They are different jobs, and not rivals. `weight.grad` is None before the first backward pass.
    """

    param_names = ["device", "access"]
    params = [
        DEVICES,
        labels("bias", "bias.data", "weight.grad", "get_parameter", "parameters", "named_parameters", "state_dict"),
    ]
    quick = {"device": ["cpu"], "access": ["bias", "weight.grad", "state_dict"]}

    def setup(self, device, access):
        super().setup(device, access)
        # Nothing is allocated or computed by reading; the net alone must exist before.
        self.net = models.notebook_net(device)
        self.read = {
            "bias": lambda net: net[2].bias,
            "bias.data": lambda net: net[2].bias.data,
            "weight.grad": lambda net: net[2].weight.grad,
            "get_parameter": lambda net: net.get_parameter("2.bias"),
            "parameters": lambda net: list(net.parameters()),
            "named_parameters": lambda net: list(net.named_parameters()),
            "state_dict": lambda net: net.state_dict(),
        }[access]

    def time_read(self, device, access):
        return self.read(self.net)

    def check_read(self, device, access):
        first, last = (self.net[index]._parameters for index in (0, 2))
        held = {
            "0.weight": first["weight"],
            "0.bias": first["bias"],
            "2.weight": last["weight"],
            "2.bias": last["bias"],
        }
        found = self.time_read(device, access)
        if access == "weight.grad":
            oracles.same(found, None, "gradient before backward")
            self.net(torch.ones(1, 4, device=device)).sum().backward()
            gradient = self.time_read(device, access)
            assert gradient is not None, "there is no gradient after backward"
            oracles.same(gradient.shape, held["2.weight"].shape, "shape of the gradient")
            self.net.zero_grad()  # the timed cell reads None, as the notebook does
        elif access in ("bias", "get_parameter"):
            assert found is held["2.bias"], f"{access}: not the parameter itself"
        elif access == "bias.data":
            aliases(found, held["2.bias"], access)
        elif access == "parameters":
            the_same(found, held.values(), access)
        elif access == "named_parameters":
            assert isinstance(found, list), f"{access}: found {found!r}"
            oracles.same([name for name, _ in found], list(held), "names")
            the_same([parameter for _, parameter in found], held.values(), access)
        else:
            assert isinstance(found, dict), f"{access}: found {found!r}"
            oracles.same(list(found), list(held), "names")
            for name, parameter in held.items():
                aliases(found[name], parameter, name)


class ReadBySize(Suite):
    """Read the weight of one layer. Nothing is copied, so the size must not matter."""

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels(*checkpoints.READ_LAYER), labels("8x4", "4096x4096")]
    quick = {"device": ["cpu"], "idiom": ["state_dict"]}
    rivals = "idiom"

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.layer = checkpoints.layer(size, device)  # 64 MiB take longer to make than to read
        self.read = checkpoints.READ_LAYER[idiom]

    def time_read(self, device, idiom, size):
        return self.read(self.layer)

    def check_read(self, device, idiom, size):
        found, held = self.time_read(device, idiom, size), self.layer._parameters["weight"]
        if idiom in ("weight.data", "state_dict"):
            aliases(found, held, idiom)
        else:
            assert found is held, f"{idiom}: not the parameter itself"


class ReadLast(Suite):
    """Read the last layer's bias by its name: some idioms walk the whole model for it.

    So does `net[-1]` of a flat container: `Sequential` steps through its children to the index.
    """

    param_names = ["idiom", "form", "modules"]
    params = [labels(*checkpoints.READ_LAST), FORMS, MODULES]
    quick = {"idiom": ["get_parameter", "state_dict"], "form": ["nested"], "modules": ["100"]}
    rivals = "idiom"

    def setup(self, idiom, form, modules):
        super().setup(idiom, form, modules)
        # Constructing and walking the model for the name is not part of the reading.
        self.net = net_of(form, modules)
        self.name, self.held = list(self.net.named_parameters())[-1]
        self.read = checkpoints.READ_LAST[idiom](self.name)

    def time_read(self, idiom, form, modules):
        return self.read(self.net)

    def check_read(self, idiom, form, modules):
        assert self.name.endswith("9.bias"), self.name
        found = self.time_read(idiom, form, modules)
        if idiom == "state_dict":
            aliases(found, self.held, self.name)
        else:
            assert found is self.held, f"{self.name}: not the parameter itself"


class Walk(Suite):
    """List all parameters or buffers of a model whose last layer is tied to its first, by its number of layers.

    `named_parameters` lists the tied weight once; with `remove_duplicate=False`, under both its names.
    """

    param_names = ["walk", "form", "modules"]
    params = [labels(*checkpoints.WALKS), FORMS, MODULES]
    quick = {"walk": ["parameters", "named_parameters"], "form": ["nested"], "modules": ["100"]}

    def setup(self, walk, form, modules):
        super().setup(walk, form, modules)
        self.net = net_of(form, modules)
        self.layers = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        self.layers[-1].weight = self.layers[0].weight
        if walk == "named_buffers":  # a walk that finds nothing would be cheaper
            for layer in self.layers:
                layer.register_buffer("steps", torch.zeros(()))
        self.list = checkpoints.WALKS[walk]

    def time_list(self, walk, form, modules):
        return self.list(self.net)

    def check_list(self, walk, form, modules):
        found = self.time_list(walk, form, modules)
        assert isinstance(found, list), f"found {found!r}"
        if walk == "named_buffers":
            the_same([buffer for _, buffer in found], [layer.steps for layer in self.layers], "buffers")
            return
        parameters = found if walk == "parameters" else [parameter for _, parameter in found]
        expected = [parameter for layer in self.layers for parameter in (layer.weight, layer.bias)]
        if walk != "named_parameters_with_duplicates":
            del expected[-2]  # the last layer's weight, which the first layer has
        the_same(parameters, expected, "parameters")
        if walk != "parameters":
            names = [name for name, _ in found]
            oracles.same(max(Counter(names).values()), 1, "times that a name occurs")
            for name, parameter in found:
                assert self.net.get_parameter(name) is parameter, f"{name} is another parameter"


class StateDict(Suite):
    """`state_dict()` by the number of layers: plain, with `keep_vars`, and with two hooks on every module."""

    param_names = ["variant", "form", "modules"]
    params = [labels("plain", "keep_vars", "hooks"), FORMS, MODULES]
    quick = {"variant": ["plain", "hooks"], "form": ["nested"], "modules": ["100"]}
    rivals = "variant"

    def setup(self, variant, form, modules):
        super().setup(variant, form, modules)
        self.net = net_of(form, modules)
        # Registering is done once per model: only the calls of the hooks are timed.
        self.before, self.after = checkpoints.HookCalls(), checkpoints.HookCalls()
        if variant == "hooks":
            for module in self.net.modules():
                module.register_state_dict_pre_hook(self.before)
                module.register_state_dict_post_hook(self.after)
        self.keep_vars = variant == "keep_vars"

    def time_state_dict(self, variant, form, modules):
        return self.net.state_dict(keep_vars=self.keep_vars)

    def check_state_dict(self, variant, form, modules):
        found = self.time_state_dict(variant, form, modules)
        assert isinstance(found, dict), f"found {found!r}"
        held = dict(self.net.named_parameters())
        oracles.same(list(found), list(held), "names")
        for name, parameter in held.items():
            if variant == "keep_vars":
                assert found[name] is parameter, f"{name}: not the parameter itself"
            else:
                aliases(found[name], parameter, name)
        calls = len(list(self.net.modules())) if variant == "hooks" else 0
        oracles.same((self.before.count, self.after.count), (calls, calls), "calls of the hooks")


class LookUpParameters(Suite):
    """Look up every parameter of a model by its name.

    `state_dict_in_loop` calls `state_dict()` for each name and takes one entry, as in huggingface/transformers#37178,
    where loading took over 10 hours instead of 4 minutes. `named_parameters_in_loop` builds its dictionary anew for
    each name, as in Lightning-AI/lightning-thunder#421. Both are quadratic: ten times the layers take a hundred times
    the time.
    """

    param_names = ["idiom", "modules"]
    # 1000 modules would take 8 s a call in a loop.
    params = [labels(*checkpoints.LOOK_UP_PARAMETERS), labels("10", "100")]
    quick = {
        "idiom": ["state_dict_once", "state_dict_in_loop", "named_parameters_once", "named_parameters_in_loop"],
        "modules": ["100"],
    }
    rivals = "idiom"
    reports = [
        Report(
            source="huggingface/transformers#37178",
            what="`model.state_dict()[name]` inside a loop over names builds the whole dictionary for each",
            instead="call `state_dict()` once before the loop",
            benchmark="time_look_up",
            slow={"idiom": "state_dict_in_loop", "modules": "100"},
            fast={"idiom": "state_dict_once"},
            where="usage",
        ),
        Report(
            source="Lightning-AI/lightning-thunder#421",
            what="walking the whole model for each parameter that is looked up",
            instead="build `dict(model.named_parameters())` once before the loop",
            benchmark="time_look_up",
            slow={"idiom": "named_parameters_in_loop", "modules": "100"},
            fast={"idiom": "named_parameters_once"},
            where="usage",
        ),
    ]

    def setup(self, idiom, modules):
        super().setup(idiom, modules)
        # The names are those of a checkpoint: known before, not found by walking.
        self.net = net_of("nested", modules)
        self.names = [name for name, _ in self.net.named_parameters()]
        self.look_up = checkpoints.LOOK_UP_PARAMETERS[idiom]

    def time_look_up(self, idiom, modules):
        return self.look_up(self.net, self.names)

    def check_look_up(self, idiom, modules):
        found, held = self.time_look_up(idiom, modules), list(self.net.parameters())
        if idiom.startswith("state_dict"):
            assert isinstance(found, list), f"found {found!r}"
            for one, parameter in zip(found, held, strict=True):
                aliases(one, parameter, "entry")
        else:
            the_same(found, held, "parameters")


class LookUpModules(Suite):
    """Look up every module of a model by its name; pytorch/ao#3159 built a dictionary for each of its lookups."""

    param_names = ["idiom", "modules"]
    params = [labels(*checkpoints.LOOK_UP_MODULES), labels("10", "100")]
    quick = {"modules": ["100"], "idiom": ["named_modules_once", "named_modules_in_loop"]}
    rivals = "idiom"
    reports = [
        Report(
            source="pytorch/ao#3159",
            what="`dict(model.named_modules())` built again for every node of a graph",
            instead="build it once before the loop",
            benchmark="time_look_up",
            slow={"idiom": "named_modules_in_loop", "modules": "100"},
            fast={"idiom": "named_modules_once"},
            where="usage",
        ),
    ]

    def setup(self, idiom, modules):
        super().setup(idiom, modules)
        self.net = net_of("nested", modules)
        self.names = [name for name, _ in self.net.named_modules()]  # a graph's nodes carry them
        self.look_up = checkpoints.LOOK_UP_MODULES[idiom]

    def time_look_up(self, idiom, modules):
        return self.look_up(self.net, self.names)

    def check_look_up(self, idiom, modules):
        the_same(self.time_look_up(idiom, modules), list(self.net.modules()), "modules")


class FilledModules(Suite):
    """Find the modules whose every parameter is in a checkpoint, so that they need no initialization.

    `scan_keys` compares every key with every module's prefix, as transformers did until huggingface/transformers#35493
    (10 minutes for a model with many experts). `prepend_prefix` looks up only the module's own keys.
    """

    param_names = ["idiom", "modules"]
    params = [labels(*checkpoints.FILLED_MODULES), labels("100", "1000")]
    quick = {"modules": ["100"]}
    rivals = "idiom"
    reports = [
        Report(
            source="huggingface/transformers#35493",
            what="every key of a checkpoint matched against the prefix of every submodule while loading",
            instead="prepend the submodule's name to its own keys and look them up in a set",
            benchmark="time_find",
            slow={"idiom": "scan_keys", "modules": "1000"},
            fast={"idiom": "prepend_prefix"},
            where="usage",
        ),
    ]

    def setup(self, idiom, modules):
        super().setup(idiom, modules)
        # The keys of the file, one layer's weight short: it and the blocks around it are not filled.
        self.net = net_of("nested", modules)
        self.keys = set(self.net.state_dict())
        self.missing = sorted(self.keys)[-1]
        self.keys.remove(self.missing)
        self.find = checkpoints.FILLED_MODULES[idiom]

    def time_find(self, idiom, modules):
        return self.find(self.net, self.keys)

    def check_find(self, idiom, modules):
        found = self.time_find(idiom, modules)
        path = self.missing.split(".")
        incomplete = {".".join(path[:depth]) for depth in range(len(path))}
        names = [name for name, _ in self.net.named_modules() if name not in incomplete]
        oracles.same(found, names, "filled modules")


class LoadByModules(Suite):
    """Load a checkpoint that is in memory into models of small layers, where Python dominates.

    In one flat container, `load_state_dict` is still quadratic in torch 2.13: for every child it goes through all keys
    of the container (pytorch/pytorch#182053 would end that). 1000 layers take 210 ms in a flat container and 22 ms in
    nested blocks of ten; a loop of copies takes 5 ms. `whole_dict` does what torch did before pytorch/pytorch#85743: it
    gives every submodule the whole dictionary (pytorch/pytorch#61398).

    `assign` unties tied parameters: two parameters over one memory (pytorch/pytorch#188346; see KEEPS_TIED).
    """

    param_names = ["device", "idiom", "form", "modules"]
    params = [
        DEVICES,
        labels("load_state_dict", "not_strict", "assign", "copy_loop", "foreach_copy", "whole_dict"),
        FORMS,
        MODULES,
    ]
    quick = {
        "device": ["cpu"],
        "idiom": ["load_state_dict", "assign", "foreach_copy"],
        "modules": ["100"],
    }
    rivals = "idiom"
    unties = checkpoints.untying(params[1])
    reports = [
        Report(
            source="pytorch/pytorch#182053",
            what="`load_state_dict` looks through all keys of a container for each of its children",
            instead="copy over `named_parameters()`, and the buffers that the checkpoint holds, under `no_grad`; or "
            "nest the layers in blocks",
            benchmark="time_load",
            slow={"device": "cpu", "idiom": "load_state_dict", "form": "flat", "modules": "1000"},
            fast={"idiom": "copy_loop"},
        ),
        Report(
            source="pytorch/pytorch#61398",
            what="the whole state dict handed to every submodule (torch before pytorch/pytorch#85743)",
            instead="`load_state_dict`, which since then hands a submodule its own keys",
            benchmark="time_load",
            slow={"device": "cpu", "idiom": "whole_dict", "form": "nested", "modules": "1000"},
            fast={"idiom": "load_state_dict"},
            where="mended",
        ),
    ]

    def setup(self, device, idiom, form, modules):
        super().setup(device, idiom, form, modules)
        # The checkpoint is on the model's device and touched: WarmFile times the way there.
        self.net = net_of(form, modules).to(device)
        self.checkpoint = checkpoints.snapshot(self.net)
        self.load = checkpoints.LOADS[idiom]

    def time_load(self, device, idiom, form, modules):
        return self.load(self.net, self.checkpoint)

    def check_load(self, device, idiom, form, modules):
        checkpoints.poison(self.net)
        self.time_load(device, idiom, form, modules)
        checkpoints.check_state(self.net, self.checkpoint, idiom)
        checkpoints.check_tie(idiom)
        name, entry = next(iter(self.checkpoint.items()))
        if idiom == "assign":
            oracles.alias(self.net.get_parameter(name), entry, "assigned parameter")
        else:
            oracles.not_alias(self.net.get_parameter(name), entry, "copied parameter")
        if idiom == "not_strict":
            self.checkpoint["extra"] = self.checkpoint.pop(name)
            found = self.time_load(device, idiom, form, modules)
            oracles.same((found.missing_keys, found.unexpected_keys), ([name], ["extra"]), "keys that do not match")
            # Put back in its place, so that the timed loads match.
            rest = {key: self.checkpoint[key] for key in self.checkpoint if key != "extra"}
            self.checkpoint = {name: self.checkpoint["extra"], **rest}


class LoadTwentyThousandKeys(LoadByModules):
    """LoadByModules with 20,000 keys four levels deep, as reported in pytorch/pytorch#61398.

    pytorch/pytorch#85743 reduced the time for that model from 30 s to 0.5 s.

    `assign` unties tied parameters: two parameters over one memory (pytorch/pytorch#188346; see KEEPS_TIED).
    """

    params = [
        DEVICES,
        labels("load_state_dict", "assign", "copy_loop"),
        labels("nested"),
        labels("10000"),
    ]
    quick = None  # a second a cell to construct the model
    reports = [
        Report(
            source="pytorch/pytorch#61398, pytorch/pytorch#85743",
            what="`load_state_dict` with 20,000 keys four levels deep",
            instead="copy over `named_parameters()`, and the buffers that the checkpoint holds, under `no_grad`",
            benchmark="time_load",
            slow={"device": "cpu", "idiom": "load_state_dict", "form": "nested", "modules": "10000"},
            fast={"idiom": "copy_loop"},
        ),
    ]


class LoadBySize(Suite):
    """Load one weight of a checkpoint that is in memory: copy it, or assign the checkpoint's own tensor.

    `assign` unties tied parameters: two parameters over one memory (pytorch/pytorch#188346; see KEEPS_TIED).
    """

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels("load_state_dict", "assign", "copy_loop"), LOADED_SIZES]
    quick = {"device": ["cpu"], "idiom": ["load_state_dict", "assign"], "size": ["1024x1024"]}
    rivals = "idiom"
    unties = checkpoints.untying(params[1])

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        # Both sides touched: the first write to fresh memory would pay page faults.
        self.net = checkpoints.layer(size, device)
        self.checkpoint = checkpoints.snapshot(self.net)
        self.load = checkpoints.LOADS[idiom]

    def time_load(self, device, idiom, size):
        return self.load(self.net, self.checkpoint)

    def check_load(self, device, idiom, size):
        checkpoints.poison(self.net)
        self.time_load(device, idiom, size)
        checkpoints.check_state(self.net, self.checkpoint, idiom)
        checkpoints.check_tie(idiom)


class LoadAcrossDtypes(Suite):
    """Load a checkpoint of one dtype into a model that keeps another.

    `assign` alone is not a rival: it converts nothing, so the model gets the checkpoint's dtype. `assign_converted`
    converts first, and unties tied parameters: each gets memory of its own (see KEEPS_TIED).
    """

    param_names = ["device", "idiom", "conversion", "size"]
    params = [
        DEVICES,
        labels("load_state_dict", "assign_converted", "foreach_copy"),
        labels("bfloat16_to_float32", "float32_to_bfloat16"),
        LOADED_SIZES,
    ]
    quick = {"device": ["cpu"], "idiom": ["load_state_dict"], "size": ["1024x1024"]}
    rivals = "idiom"
    unties = checkpoints.untying(params[1])

    def setup(self, device, idiom, conversion, size):
        super().setup(device, idiom, conversion, size)
        given, wanted = conversion.split("_to_")
        self.net = checkpoints.layer(size, device, wanted)
        self.checkpoint = checkpoints.snapshot(checkpoints.layer(size, device, given))
        self.load = checkpoints.LOADS[idiom]

    def time_load(self, device, idiom, conversion, size):
        return self.load(self.net, self.checkpoint)

    def check_load(self, device, idiom, conversion, size):
        checkpoints.poison(self.net)
        self.time_load(device, idiom, conversion, size)
        wanted = dtype_of(conversion.partition("_to_")[2])
        converted = {name: tensor.to(wanted) for name, tensor in self.checkpoint.items()}
        checkpoints.check_state(self.net, converted, conversion)
        checkpoints.check_tie(idiom)


class ModelStateDict(Suite):
    """`state_dict()` against `get_model_state_dict` of torch.distributed.checkpoint, on a model that is not sharded.

    Both return the same tensors. `get_model_state_dict` also resolves the name of every entry, and runs the garbage
    collector: in pytorch/torchtitan#3066 it took 17 ms instead of 8 ms. A sharded model needs it for a full state dict.
    """

    param_names = ["idiom", "form", "modules"]
    params = [labels(*checkpoints.MODEL_STATES), FORMS, MODULES]
    quick = None  # a part of torch that takes seconds to import
    rivals = "idiom"
    reports = [
        Report(
            source="pytorch/torchtitan#3066",
            what="`get_model_state_dict` where `state_dict()` returns the same tensors",
            instead="`state_dict()`, unless the model is sharded and its full state is needed",
            benchmark="time_state_dict",
            slow={"idiom": "get_model_state_dict", "form": "nested", "modules": "1000"},
            fast={"idiom": "state_dict"},
            where="usage",
        ),
    ]

    def why_not(self, idiom, form, modules):
        return checkpoints.why_no_model_state(idiom) or super().why_not(idiom, form, modules)

    def setup(self, idiom, form, modules):
        super().setup(idiom, form, modules)
        self.net = net_of(form, modules)
        self.state = checkpoints.MODEL_STATES[idiom]()  # imports torch.distributed.checkpoint

    def time_state_dict(self, idiom, form, modules):
        return self.state(self.net)

    def check_state_dict(self, idiom, form, modules):
        found = self.time_state_dict(idiom, form, modules)
        assert isinstance(found, dict), f"found {found!r}"
        held = dict(self.net.named_parameters())
        oracles.same(list(found), list(held), "names")
        for name, parameter in held.items():
            aliases(found[name], parameter, name)


class MovingAverage(Suite):
    """Update a moving average of the weights after a step: by two state dicts, in a loop, or with one foreach call.

    By two state dicts, it took 20 ms a step for a ResNet-50 (open-mmlab/mmengine#281). torch's `AveragedModel` was a
    loop until pytorch/pytorch#94820; it uses foreach if it is given a `multi_avg_fn`. `state_dicts` averages a tied
    weight once for each of its names, so twice too fast: skip a tensor that was there before.
    """

    param_names = ["device", "idiom", "modules"]
    params = [DEVICES, labels(*averages.MOVING_AVERAGES), MODULES]
    quick = {"device": ["cpu"], "idiom": ["state_dicts", "foreach"], "modules": ["100"]}
    rivals = "idiom"
    reports = [
        Report(
            source="pytorch/pytorch#94820, open-mmlab/mmengine#281",
            what="a moving average of the weights by two state dicts a step",
            instead="`torch._foreach_lerp_` over lists of the parameters that are made once (make them again if a "
            "parameter is replaced); average or copy the buffers on their own",
            benchmark="time_update",
            slow={"device": "cpu", "idiom": "state_dicts", "modules": "1000"},
            fast={"idiom": "foreach_listed_once"},
            where="usage",
        ),
    ]

    def setup(self, device, idiom, modules):
        super().setup(device, idiom, modules)
        # Small layers: Python and dispatch, not memory.
        self.net, self.average = (net_of("nested", modules).to(device) for _ in range(2))
        self.update = averages.MOVING_AVERAGES[idiom](self.average, self.net)

    def time_update(self, device, idiom, modules):
        self.update()

    def check_update(self, device, idiom, modules):
        parameters, weights = list(self.average.parameters()), list(self.net.parameters())
        before, given = ([tensor.detach().clone() for tensor in tensors] for tensors in (parameters, weights))
        self.time_update(device, idiom, modules)
        for found, expected in zip(parameters, averages.expected(before, given), strict=True):
            oracles.close(found, expected.to(found.dtype), "average")
        for found, expected in zip(weights, given, strict=True):
            oracles.identical(found, expected, "weight of the model")


class Copy(Suite):
    """Make an independent copy of a model of one layer.

    `construct_and_load` initializes parameters that the load then overwrites. `meta_and_assign` clones every entry, and
    unties tied parameters: each gets memory of its own (see KEEPS_TIED). Only `deepcopy` copies buffers with
    ``persistent=False``: `construct_and_load` gives them the constructor's values, and `meta_and_assign` leaves them on
    meta. This layer has none.
    """

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels(*checkpoints.COPIES), LOADED_SIZES]
    quick = {"device": ["cpu"], "idiom": ["deepcopy", "meta_and_assign"], "size": ["1024x1024"]}
    rivals = "idiom"
    unties = checkpoints.untying(params[1])

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        # The copy's memory is part of the job: whatever the allocator hands out, the same for all rivals.
        self.net = checkpoints.layer(size, device)
        self.copy = checkpoints.COPIES[idiom]
        rows, columns = shape_of(size)
        self.construct = lambda on: nn.Linear(columns, rows, bias=False, device=on)

    @traffic(reads=1, writes=1)
    def time_copy(self, device, idiom, size):
        return self.copy(self.net, self.construct)

    def check_copy(self, device, idiom, size):
        found = self.time_copy(device, idiom, size)
        assert isinstance(found, nn.Linear), f"found {found!r}"
        checkpoints.check_state(found, self.net.state_dict(), idiom)
        oracles.not_alias(found.weight, self.net.weight, "weight of the copy")
        oracles.same((found.weight.device.type, found.weight.requires_grad), (device, True), "device, requires_grad")
        checkpoints.check_tie(idiom)


class Filed(Suite):
    """Base of the classes on files: a model of one layer, and a folder for its file."""

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.folder = tempfile.TemporaryDirectory(prefix="bench-core-")
        self.path = Path(self.folder.name) / "checkpoint"
        self.net = checkpoints.layer(size, device)
        self.saved = checkpoints.snapshot(self.net)

    def teardown(self, device, idiom, size):
        folder = self.__dict__.pop("folder", None)
        super().teardown(device, idiom, size)  # first, since parameters may be mapped from the file
        if folder is not None:
            folder.cleanup()


class SaveFile(Filed):
    """Overwrite a file with a model of one layer, as a training loop does, without waiting for the disk (no fsync).

    `safetensors_save_file` refuses tied parameters; `safetensors_save_model` keeps them tied (see KEEPS_TIED).
    """

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels(*checkpoints.SAVES), LOADED_SIZES]
    quick = {"device": ["cpu"], "idiom": ["torch_save", "safetensors_save_file"], "size": ["1024x1024"]}
    rivals = "idiom"

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.save = checkpoints.SAVES[idiom]
        self.save(self.net, self.path)  # the first save imports and allocates blocks

    def time_save(self, device, idiom, size):
        self.save(self.net, self.path)

    def check_save(self, device, idiom, size):
        self.path.unlink()
        self.time_save(device, idiom, size)
        assert self.path.is_file(), "there is no file"
        checkpoints.poison(self.net)
        load = checkpoints.FILE_LOADS[checkpoints.PLAIN_LOAD[idiom]].load
        checkpoints.check_state(load(self.net, self.path, device), self.saved, idiom)
        self.net.load_state_dict(self.saved)
        checkpoints.check_tie(idiom)


class SaveView(Filed):
    """Save an eighth of a weight: as a view, with which `torch.save` writes the whole weight, or as a clone.

    torch keeps what views share, so it saves the storage behind a view (pytorch/pytorch#40157); in
    pytorch/pytorch#128219, the files of a split model were each as large as the model.
    """

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels(*checkpoints.PARTS), LOADED_SIZES]
    quick = None  # `SaveFile` stands for it
    rivals = "idiom"
    reports = [
        Report(
            source="pytorch/pytorch#128219, pytorch/pytorch#40157",
            what="a part of a weight saved as a view, with which the whole weight is written",
            instead="save `part.clone()`; the parts then share no memory after they are loaded",
            benchmark="time_save",
            slow={"device": "cpu", "idiom": "view", "size": "4096x4096"},
            fast={"idiom": "clone"},
            where="usage",
        ),
    ]

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        weight = self.net.weight.detach()
        self.part = weight[: len(weight) // 8]
        self.form = checkpoints.PARTS[idiom]
        self.time_save(device, idiom, size)  # the first save imports and allocates blocks

    def time_save(self, device, idiom, size):
        torch.save(self.form(self.part), self.path)

    def check_save(self, device, idiom, size):
        self.path.unlink()
        self.time_save(device, idiom, size)
        assert self.path.is_file(), "there is no file"
        found = torch.load(self.path, weights_only=True)
        oracles.identical(found, self.part, "part of the weight")
        if idiom == "clone":  # what a view writes is not checked: a later torch may write less
            oracles.own_memory(found, "part of the weight")
            written = self.path.stat().st_size
            assert written < self.part.nbytes + 4096, f"{written} bytes for {self.part.nbytes} bytes of elements"


class WarmFile(Filed):
    """Load a file that is in the page cache into a model whose memory is mapped.

    `torch_load_mmap_assign` and `safetensors_load_file_assign` map the parameters from the file. A page is copied only
    when it is written to, so the first optimizer step pays for the copies. `torch_load_module` unpickles the model
    itself, and runs any code that the file holds.

    `torch_load_assign` and `torch_load_mmap_assign` untie tied parameters: two parameters over one memory
    (pytorch/pytorch#188346). `safetensors_load_file` and `safetensors_load_file_assign` refuse a tied model, whose
    file has one name of the two (see KEEPS_TIED).
    """

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels(*checkpoints.FILE_LOADS), LOADED_SIZES]
    quick = {
        "device": ["cpu"],
        "idiom": ["torch_load", "torch_load_mmap", "torch_load_mmap_assign", "safetensors_load_file"],
        "size": ["1024x1024"],
    }
    rivals = "idiom"
    unties = checkpoints.untying(params[1])

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        # Written here, so in the page cache; and loaded once, since the first load imports.
        file_load = checkpoints.FILE_LOADS[idiom]
        checkpoints.SAVES[file_load.saved_by](self.net, self.path)
        self.load = file_load.load
        self.load(self.net, self.path, device)

    def time_load(self, device, idiom, size):
        return self.load(self.net, self.path, device)

    def check_load(self, device, idiom, size):
        checkpoints.poison(self.net)
        found = self.time_load(device, idiom, size)
        assert isinstance(found, nn.Linear), f"found {found!r}"
        checkpoints.check_state(found, self.saved, idiom)
        oracles.same(found is not self.net, idiom == "torch_load_module", "another model")
        checkpoints.check_tie(idiom)


class ColdFile(Filed):
    """Load a file that was dropped from the page cache, so that its bytes come from the disk.

    A virtual machine's host, or the disk itself, may still have the file in memory. The cell is n/a if this system
    cannot drop a file from the page cache, or keeps some of its pages.

    `torch_load_mmap_assign` unties tied parameters: two parameters over one memory (pytorch/pytorch#188346).
    `safetensors_load_file` and `safetensors_load_file_assign` refuse a tied model, whose file has one name of the two
    (see KEEPS_TIED).
    """

    number = 1  # a file is cold once
    param_names = ["device", "idiom", "size"]
    params = [
        DEVICES,
        labels(
            "torch_load",
            "torch_load_mmap",
            "torch_load_mmap_assign",
            "safetensors_load_file",
            "safetensors_load_file_assign",
        ),
        LOADED_SIZES[1:],
    ]
    quick = {
        "device": ["cpu"],
        "idiom": ["torch_load", "safetensors_load_file"],
        "size": ["1024x1024"],
    }
    rivals = "idiom"
    unties = checkpoints.untying(params[1])

    def why_not(self, device, idiom, size):
        return checkpoints.why_no_cold_read() or super().why_not(device, idiom, size)

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        file_load = checkpoints.FILE_LOADS[idiom]
        save, self.load = checkpoints.SAVES[file_load.saved_by], file_load.load
        # Imports and first calls are not the file's: they are done on another file, since a mapped page of this one
        # could not be dropped.
        other = self.path.with_name("warm_up")
        small = checkpoints.layer("8x4", device)
        save(small, other)
        self.load(small, other, device)
        save(self.net, self.path)
        reason = checkpoints.evict(self.path)
        if reason:
            self.teardown(device, idiom, size)
            raise NotImplementedError(reason)

    def time_load(self, device, idiom, size):
        return self.load(self.net, self.path, device)

    def check_load(self, device, idiom, size):
        oracles.same(checkpoints.cached_share(self.path), 0.0, "share of the file in the page cache")
        checkpoints.poison(self.net)
        found = self.time_load(device, idiom, size)
        assert isinstance(found, nn.Linear), f"found {found!r}"
        checkpoints.check_state(found, self.saved, idiom)
        read = checkpoints.cached_share(self.path)  # the system may have taken back a page meanwhile
        assert read > 0.9, f"share of the file in the page cache after the load: found {read:.1%}, expected all"
