"""D. Tied parameters: what sharing a layer or a weight costs and saves, compared with the same arithmetic untied."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import nn

from bench_core.suite import DEVICES, Report, Suite, denormals, labels, oracles, parametrized, shape_of, tied

SHARINGS = labels("tied", "untied")
# A weight of the shared layer has 256 B at width 8 (the notebook's), 16 KiB at 64, and 1 MiB at 512: there, 32 untied
# weights are larger than an L2 cache, and one tied weight is not.
WIDTHS = labels("8", "64", "512")


class _Net(Suite):
    """A net, its inputs, and the gradients of one backward pass. Subclasses make the net."""

    rivals = "sharing"

    def setup(self, device, sharing, *shape):
        super().setup(device, sharing, *shape)
        self.net, self.inputs, self.loss_of = self.build(device, sharing, *shape)
        self.parameters = list(self.net.parameters())
        self.loss = self.loss_of(self.net)
        self.gradients_before = [parameter.grad for parameter in self.parameters]
        # The first backward pass allocates every .grad, and the later ones add to it: timed are the later ones.
        self.loss.backward(retain_graph=True)

    def gradients(self):
        return [parameter.grad for parameter in self.parameters]

    def poison_gradients(self):
        for gradient in self.gradients():
            gradient.fill_(float("nan"))


class _SharedLayer(_Net):
    def build(self, device, sharing, *rest):
        width, uses = self.width_and_uses(device, sharing, *rest)
        net = tied.shared_layer(sharing, width, uses, device)
        inputs = torch.rand(tied.BATCH, tied.INPUTS, device=device)
        return net, inputs, lambda net: tied.stack_loss(net, inputs)

    def width_and_uses(self, *values):
        cell = self.named(*values)
        return int(cell["width"]), int(cell["uses"])

    def peak_bytes(self, *values):
        # The net, its gradients, two states of AdamW and its temporaries, and in a check two untied copies.
        width, uses = self.width_and_uses(*values)
        return 4 * width * width * uses * 9

    def check_net(self, net, sharing, width, uses):
        tied.check_shared_layer(net, sharing, int(uses))


class _Passes:
    """Forward and backward. The check compares them with a net that has separate parameters for every use."""

    def time_forward(self, *values):
        return self.net(self.inputs)

    def check_forward(self, device, sharing, *shape):
        self.check_net(self.net, sharing, *shape)
        self.check_net(copy.deepcopy(self.net), sharing, *shape)
        self.net.zero_grad()
        found = self.time_forward(device, sharing, *shape)
        oracles.close(found, tied.untied_copy(self.net)(self.inputs), "outputs")
        oracles.same(self.gradients(), [None] * len(self.parameters), "gradients after a forward pass alone")

    def time_backward(self, *values):
        self.loss.backward(retain_graph=True)

    def check_backward(self, device, sharing, *shape):
        self.check_net(self.net, sharing, *shape)
        oracles.same(self.gradients_before, [None] * len(self.parameters), "gradients before backward")
        expected = tied.gradients_of_untied(self.net, self.loss_of)
        self.net.zero_grad()
        self.time_backward(device, sharing, *shape)
        tied.check_gradients(self.gradients(), expected, "first backward")
        self.time_backward(device, sharing, *shape)
        tied.check_gradients(self.gradients(), [2 * gradient for gradient in expected], "second backward")

    def time_forward_backward(self, *values):
        return tied.forward_backward(self.loss_of, self.net)

    def check_forward_backward(self, device, sharing, *shape):
        self.check_net(self.net, sharing, *shape)
        expected = tied.gradients_of_untied(self.net, self.loss_of)
        self.net.zero_grad()
        loss = self.time_forward_backward(device, sharing, *shape)
        oracles.close(loss, self.loss, "loss")
        tied.check_gradients(self.gradients(), expected, "forward and backward")


class SharedLayer(_Passes, _SharedLayer):
    """One layer used several times, compared with as many layers. Width 8 and two uses are the notebook's net.

    Both backward passes add to existing gradients, as after ``zero_grad(set_to_none=False)`` or in gradient
    accumulation. ZeroGradAndBackward and AutogradGrad time the other case. `backward` keeps its graph from call to
    call. In NVIDIA/TransformerEngine#3437, the second use replaced the gradient of the first: the check sees that.
    """

    # Cached parametrizations (`parametrize.cached()`) are not a rival: each layer reads its parameters once per pass,
    # so the cache only adds up to 6 %.
    param_names = ["device", "sharing", "width", "uses"]
    params = [DEVICES, labels("tied", "untied", "parametrized"), WIDTHS, labels("2", "8", "32")]
    quick = {"device": ["cpu"], "width": ["8"], "uses": ["2", "32"]}


class AutogradGrad(_SharedLayer):
    """`torch.autograd.grad`: gradients in new memory and not in ``.grad``, as backward makes them after `zero_grad()`.

    Tied, the gradient of each use is added to the sum, and its memory is used for the next one. Untied, all gradients
    stay alive.
    """

    param_names = ["device", "sharing", "width", "uses"]
    params = SharedLayer.params
    quick = None  # at the sizes of the quick profile it differs from `backward` by the clock's noise

    def time_autograd_grad(self, *values):
        return torch.autograd.grad(self.loss, self.parameters, retain_graph=True)

    def check_autograd_grad(self, device, sharing, *shape):
        self.check_net(self.net, sharing, *shape)
        found = self.time_autograd_grad(device, sharing, *shape)
        tied.check_gradients(found, tied.gradients_of_untied(self.net, self.loss_of), "autograd.grad")


class TiedEmbedding(_Passes, _Net):
    """An embedding and an output layer with one weight, as in language models, or with two.

    `size` is vocabulary x width. There are 64 tokens, cross entropy and dense gradients. The backward passes add to
    existing gradients. Tied, autograd adds the gradients of the two uses into a third tensor; all three are as large as
    the weight and alive at once.
    Untied, each goes to its own ``.grad`` and is freed. At 32000x512, tying makes backward about a third slower on one
    core.
    """

    param_names = ["device", "sharing", "size"]
    params = [DEVICES, SHARINGS, labels("1000x64", "8000x256", "32000x512")]
    quick = {"device": ["cpu"], "size": ["1000x64"]}
    copies = 10  # two weights, their gradients, two more while they are added, and the check's untied copy

    def build(self, device, sharing, size):
        vocabulary, width = shape_of(size)
        # Made on the CPU, so that every device sees the same tokens.
        tokens = torch.randint(0, vocabulary, (tied.TOKENS + 1,)).to(device)
        net = tied.language_model(sharing, vocabulary, width, device)
        return net, tokens, lambda net: tied.token_loss(net, tokens)

    def check_net(self, net, sharing, size):
        tied.check_language_model(net, sharing)


class OptimizerStep(_SharedLayer):
    """One optimizer step with gradients that do not change: tied, one weight; untied, one for each use."""

    param_names = ["device", "sharing", "optimizer", "implementation", "width", "uses"]
    params = [
        DEVICES,
        SHARINGS,
        labels("SGD", "AdamW"),
        labels("for_loop", "foreach", "fused"),
        labels("8", "512"),
        labels("2", "32"),
    ]
    quick = {"device": ["cpu"], "sharing": ["tied"], "optimizer": ["AdamW"], "width": ["8"], "uses": ["2"]}
    rivals = "implementation"
    rate = 1e-3

    def setup(self, device, sharing, optimizer, implementation, width, uses):
        super().setup(device, sharing, optimizer, implementation, width, uses)
        chosen = {"foreach": implementation == "foreach", "fused": implementation == "fused"}
        self.optimizer = getattr(torch.optim, optimizer)(self.parameters, lr=self.rate, **chosen)
        self.optimizer.step()  # AdamW allocates its state in the first step

    def why_not(self, device, sharing, optimizer, implementation, width, uses):
        return super().why_not(device, sharing, optimizer, implementation, width, uses) or tied.no_implementation(
            implementation, device
        )

    def time_step(self, device, sharing, optimizer, implementation, width, uses):
        self.optimizer.step()

    def check_step(self, device, sharing, optimizer, implementation, width, uses):
        self.check_net(self.net, sharing, width, uses)
        self.optimizer.state.clear()
        before = [parameter.detach().clone() for parameter in self.parameters]
        for _ in range(2):  # the second with the state of the first
            self.time_step(device, sharing, optimizer, implementation, width, uses)
        for weight, parameter in zip(before, self.parameters, strict=True):
            expected = tied.after_step(optimizer, weight, parameter.grad, 2, rate=self.rate)
            tied.check_step(weight, parameter, expected, "after two steps")


class ZeroGrad(_SharedLayer):
    """Reset the gradients of the last step: set them to None, or write zeros.

    The next backward pass may pay for what this saves: see ZeroGradAndBackward.
    """

    number = 1  # gradients are dropped once
    param_names = ["device", "sharing", "idiom", "width", "uses"]
    params = [DEVICES, SHARINGS, labels("set_to_none", "set_to_zero"), labels("8", "512"), labels("2", "32")]
    quick = {"device": ["cpu"], "sharing": ["tied"], "width": ["8"], "uses": ["2"]}
    rivals = "idiom"

    def setup(self, device, sharing, idiom, width, uses):
        super().setup(device, sharing, idiom, width, uses)
        self.optimizer = torch.optim.SGD(self.parameters)
        self.optimizer.zero_grad(set_to_none=False)  # its first call prepares the profiler's hooks
        self.loss.backward(retain_graph=True)
        self.set_to_none = idiom == "set_to_none"

    def time_zero_grad(self, device, sharing, idiom, width, uses):
        self.optimizer.zero_grad(set_to_none=self.set_to_none)

    def check_zero_grad(self, device, sharing, idiom, width, uses):
        before = self.gradients()
        self.poison_gradients()
        self.time_zero_grad(device, sharing, idiom, width, uses)
        for old, new in zip(before, self.gradients(), strict=True):
            if idiom == "set_to_none":
                assert new is None, "a gradient is still there"
            else:
                assert new is old, "a gradient is another tensor now"
                oracles.filled_with(new, 0.0, "gradient")


class ZeroGradAndBackward(_SharedLayer):
    """Reset the gradients, then backward: it keeps its gradients after `set_to_none`, and adds them after zeros."""

    param_names = ZeroGrad.param_names
    params = ZeroGrad.params
    quick = None  # `ZeroGrad` stands for it
    rivals = "idiom"

    def setup(self, device, sharing, idiom, width, uses):
        super().setup(device, sharing, idiom, width, uses)
        self.optimizer = torch.optim.SGD(self.parameters)
        self.set_to_none = idiom == "set_to_none"

    def time_zero_grad_and_backward(self, device, sharing, idiom, width, uses):
        self.optimizer.zero_grad(set_to_none=self.set_to_none)
        self.loss.backward(retain_graph=True)

    def check_zero_grad_and_backward(self, device, sharing, idiom, width, uses):
        self.check_net(self.net, sharing, width, uses)
        expected = tied.gradients_of_untied(self.net, self.loss_of)
        before = self.gradients()
        self.poison_gradients()
        for call in ("first", "second"):
            self.time_zero_grad_and_backward(device, sharing, idiom, width, uses)
            tied.check_gradients(self.gradients(), expected, f"{call} call")
        kept = all(old is new for old, new in zip(before, self.gradients(), strict=True))
        oracles.same(kept, idiom == "set_to_zero", "the gradients are still the tensors of before")


class ClipGradNorm(_SharedLayer):
    """`clip_grad_norm_` to a norm of 1. Gradients that are already clipped are still multiplied, by 1."""

    param_names = ["device", "sharing", "implementation", "width", "uses"]
    params = [DEVICES, SHARINGS, labels("for_loop", "foreach"), labels("8", "512"), labels("2", "32")]
    quick = {"device": ["cpu"], "sharing": ["tied"], "width": ["8"], "uses": ["2"]}
    rivals = "implementation"
    max_norm = 1.0

    def setup(self, device, sharing, implementation, width, uses):
        super().setup(device, sharing, implementation, width, uses)
        self.foreach = implementation == "foreach"

    def why_not(self, device, sharing, implementation, width, uses):
        return super().why_not(device, sharing, implementation, width, uses) or tied.no_implementation(
            implementation, device
        )

    def time_clip(self, device, sharing, implementation, width, uses):
        return nn.utils.clip_grad_norm_(self.parameters, self.max_norm, foreach=self.foreach)

    def check_clip(self, device, sharing, implementation, width, uses):
        self.check_net(self.net, sharing, width, uses)
        before = [gradient.clone() for gradient in self.gradients()]
        norm = tied.exact_norm(before)
        assert norm > 2 * self.max_norm, f"a norm of {norm} leaves nothing to clip"
        found = self.time_clip(device, sharing, implementation, width, uses)
        tied.check_norm(float(found), norm, "returned norm")
        tied.check_norm(tied.exact_norm(self.gradients()), self.max_norm, "norm of the clipped gradients")
        scaled = [gradient * (self.max_norm / norm) for gradient in before]
        tied.check_gradients(self.gradients(), scaled, "clipped")


class _ManyGradients(Suite):
    """A model's gradients, of 512 elements each, as of a bias or a layer norm."""

    params = [DEVICES, (), labels("100", "2000")]
    param_names = ["device", "idiom", "tensors"]
    rivals = "idiom"

    def setup(self, device, idiom, tensors):
        super().setup(device, idiom, tensors)
        self.parameters, self.buffer = tied.parameters_with_gradients(int(tensors), 512, device)
        self.gradients = [parameter.grad for parameter in self.parameters]


class GradientNorm(_ManyGradients):
    """The norm of all gradients, where the host's work for each exceeds the device's (pytorch/pytorch#133586).

    In `flat_buffer`, the gradients are views of one buffer, as in DistributedDataParallel with
    `gradient_as_bucket_view`. For 2,000 tensors of 512 elements, it takes 1/30 of the loop's time on one core. A view
    has the buffer's whole storage (pytorch/pytorch#128219): `torch.save` writes it all for one gradient, `deepcopy`
    copies it, and one gradient keeps it alive. Clone a gradient before it is saved or copied. `zero_grad()` drops the
    views, so that the next backward makes separate gradients: fill the buffer with zeros instead.
    """

    params = [
        DEVICES,
        labels("loop", "foreach", "get_total_norm", "cat", "flat_buffer"),
        labels("100", "2000"),
    ]
    quick = {"device": ["cpu"], "idiom": ["loop", "foreach", "flat_buffer"], "tensors": ["2000"]}
    reports = [
        Report(
            source="pytorch/pytorch#133586",
            what="the norm over 2,000 gradients, one `vector_norm` after the other",
            instead="`torch._foreach_norm`, and one norm over its scalars",
            benchmark="time_norm",
            slow={"device": "cpu", "idiom": "loop", "tensors": "2000"},
            fast={"idiom": "foreach"},
            where="usage",
        ),
        Report(
            source="pytorch/pytorch#133586",
            what="`get_total_norm` (so `clip_grad_norm_`) makes a scalar for each of 2,000 gradients, with foreach too",
            instead="gradients that are views of one flat buffer, and the norm of that; clone a gradient before it is "
            "saved or copied, or the whole buffer is (pytorch/pytorch#128219), and zero the buffer, since "
            "`zero_grad()` drops the views",
            benchmark="time_norm",
            slow={"device": "cpu", "idiom": "get_total_norm", "tensors": "2000"},
            fast={"idiom": "flat_buffer"},
        ),
    ]

    def setup(self, device, idiom, tensors):
        super().setup(device, idiom, tensors)
        self.norm, self.argument = {
            "loop": (tied.norm_loop, self.gradients),
            "foreach": (tied.norm_foreach, self.gradients),
            "get_total_norm": (nn.utils.get_total_norm, self.gradients),
            "cat": (tied.norm_cat, self.gradients),
            "flat_buffer": (torch.linalg.vector_norm, self.buffer),
        }[idiom]

    def time_norm(self, device, idiom, tensors):
        return self.norm(self.argument)

    def check_norm(self, device, idiom, tensors):
        found = self.time_norm(device, idiom, tensors)
        tied.check_norm(float(found), tied.exact_norm(self.gradients), "norm")


class ZeroGradients(_ManyGradients):
    """Write zeros into all gradients: with one kernel per tensor, or one kernel for all (pytorch/pytorch#82777).

    `zero_grad` is the optimizer's method with its defaults, which loops on every device. It uses one kernel for all
    only if the optimizer was made with ``foreach=True`` or ``fused=True`` (`zero_grad_foreach`). The gradients of
    `flat_buffer` are views of one buffer, with the consequences that GradientNorm names.
    """

    params = [
        DEVICES,
        labels("loop", "foreach", "zero_grad", "zero_grad_foreach", "flat_buffer"),
        labels("100", "2000"),
    ]
    quick = {"device": ["cpu"], "idiom": ["loop", "foreach"], "tensors": ["2000"]}
    reports = [
        Report(
            source="pytorch/pytorch#82777",
            what="2,000 gradients zeroed one after the other",
            instead="`torch._foreach_zero_`, or `zero_grad()`, which drops them",
            benchmark="time_zero",
            slow={"device": "cpu", "idiom": "loop", "tensors": "2000"},
            fast={"idiom": "foreach"},
            where="usage",
        ),
    ]

    def setup(self, device, idiom, tensors):
        super().setup(device, idiom, tensors)
        optimizer = torch.optim.SGD(self.parameters, foreach=True if idiom == "zero_grad_foreach" else None)
        self.zero, self.argument = {
            "loop": (tied.zero_loop, self.gradients),
            "foreach": (torch._foreach_zero_, self.gradients),
            "zero_grad": (optimizer.zero_grad, False),  # set_to_none=False
            "zero_grad_foreach": (optimizer.zero_grad, False),
            "flat_buffer": (torch.Tensor.zero_, self.buffer),
        }[idiom]

    def time_zero(self, device, idiom, tensors):
        self.zero(self.argument)

    def check_zero(self, device, idiom, tensors):
        self.buffer.fill_(float("nan"))
        self.time_zero(device, idiom, tensors)
        oracles.filled_with(self.buffer, 0.0, "gradients")
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            assert parameter.grad is gradient, "a gradient is another tensor now"
            oracles.filled_with(gradient, 0.0, "gradient of a parameter")


class ParametrizedReads(Suite):
    """Read a parametrized weight once, or in every step of a recurrent cell.

    `torch.nn.utils.parametrize` computes the weight anew at each read. In a block `with parametrize.cached():` it is
    computed once: 0.024 s instead of 0.555 s for a recurrent net with `spectral_norm` (pytorch/pytorch#167645, where
    `torch.export` loses the cache; lezcano/geotorch#34). The cache ends with its block: `cached_each_read` opens one
    for each read, which caches nothing (huggingface/peft#2912). `variable` reads the weight before the loop.

    The layer has 128x128 weights and is in eval mode.
    """

    param_names = ["device", "parametrization", "idiom", "uses"]
    params = [
        DEVICES,
        labels(*parametrized.PARAMETRIZATIONS),
        labels(*parametrized.READS),
        labels("1", "32"),
    ]
    quick = {
        "device": ["cpu"],
        "parametrization": ["spectral_norm"],
        "idiom": ["each_read", "cached"],
        "uses": ["32"],
    }
    rivals = "idiom"
    reports = [
        Report(
            source="pytorch/pytorch#167645, lezcano/geotorch#34",
            what="a parametrized weight read in every step of a recurrent cell, and computed anew each time",
            instead="read it in one block `with parametrize.cached():`, or once into a variable before the loop; in "
            "training mode, `spectral_norm` then makes one step of its power iteration, and not one a read",
            benchmark="time_read",
            slow={"device": "cpu", "parametrization": "spectral_norm", "idiom": "each_read", "uses": "32"},
            fast={"idiom": "cached"},
            where="usage",
        ),
    ]

    def setup(self, device, parametrization, idiom, uses):
        super().setup(device, parametrization, idiom, uses)
        self.layer = parametrized.layer(parametrization, 128, device)
        self.state = torch.linspace(0.1, 1, 128, device=device)
        self.read, self.uses = parametrized.READS[idiom], int(uses)

    def time_read(self, device, parametrization, idiom, uses):
        return self.read(self.layer, "weight", self.uses, parametrized.recur, self.state)

    def check_read(self, device, parametrization, idiom, uses):
        found, weight = self.time_read(device, parametrization, idiom, uses), self.layer.weight
        oracles.same((found.shape, found.requires_grad), (self.state.shape, True), "shape and requires_grad")
        expected = self.state
        for _ in range(self.uses):
            expected = torch.tanh(weight @ expected)
        oracles.close(found, expected, "state")
        # The weight is computed, and not the layer's own parameter, and nothing stays in a cache.
        (original,) = torch.autograd.grad(found.sum(), [next(self.layer.parameters())])
        assert original.abs().max() > 0, "the state does not depend on the layer's parameter"
        parameters = list(self.layer.parameters())
        kept = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for parameter in parameters:
                parameter.uniform_()
            assert not torch.equal(self.layer.weight, weight), "the weight is as before the parameters changed"
            torch._foreach_copy_(parameters, kept)


class DenormalMoments(Suite):
    """One step of AdamW whose averages of squared gradients are denormal numbers, as of gradients below 3e-18.

    The step takes their square root. Training with Adam became slower from epoch to epoch (LBANN/lbann#56,
    chelsea0x3b/dfdx#59, keras-team/keras#3576). `flushed` takes denormal numbers for zero, see
    initialization.Denormals. On the CPU, `fused` suffers least: 1.4 times, and `foreach` 7 to 11 times (Zen 4).
    """

    param_names = ["implementation", "gradients"]
    params = [labels("for_loop", "foreach", "fused"), labels("normal", "tiny", "flushed")]
    quick = None  # what it finds is the processor's
    rivals = "gradients"
    rate = 1e-3
    reports = [
        Report(
            source="LBANN/lbann#56, chelsea0x3b/dfdx#59",
            what="a step of AdamW on the CPU whose averages of squared gradients are denormal numbers",
            instead="`torch.set_flush_denormal(True)` before the first computation (later, it holds for the calling "
            "thread alone); or `fused=True`",
            benchmark="time_step",
            slow={"implementation": "foreach", "gradients": "tiny"},
            fast={"gradients": "flushed"},
            where="usage",
        ),
    ]

    def why_not(self, implementation, gradients):
        return (denormals.why_no_flush() if gradients == "flushed" else None) or super().why_not(
            implementation, gradients
        )

    def setup(self, implementation, gradients):
        super().setup(implementation, gradients)
        self.parameter = nn.Parameter(torch.rand(256, 256))
        self.parameter.grad = torch.full_like(self.parameter, 1e-3 if gradients == "normal" else 1e-20)
        chosen = {"foreach": implementation == "foreach", "fused": implementation == "fused"}
        self.optimizer = torch.optim.AdamW([self.parameter], lr=self.rate, **chosen)
        self.around = denormals.flushed if gradients == "flushed" else contextlib.nullcontext
        self.optimizer.step()  # its state is allocated in the first step

    def time_step(self, implementation, gradients):
        with self.around():  # in the call, since cells that take turns share a process
            self.optimizer.step()

    def check_step(self, implementation, gradients):
        self.optimizer.state.clear()
        before = self.parameter.detach().clone()
        for _ in range(2):  # the second with the state of the first
            self.time_step(implementation, gradients)
        expected = tied.after_step("AdamW", before, self.parameter.grad, 2, rate=self.rate)
        tied.check_step(before, self.parameter, expected, "after two steps")
        squares = self.optimizer.state[self.parameter]["exp_avg_sq"]
        found = (denormals.count(squares), int((squares == 0).sum()))
        every = squares.numel()
        oracles.same(
            found,
            {"normal": (0, 0), "tiny": (every, 0), "flushed": (0, every)}[gradients],
            "denormal numbers and zeros",
        )


# Large enough to stand out from the 250 MB of a process with torch. The layer's weights have 4 MiB tied and 128 MiB
# untied, the language model's 62.5 and 125 MiB. A step needs four times as much, and more.
WEIGHT_BYTES = {"shared_layer_1024x32": 4 * 32 * 1024**2, "language_model_32000x512": 4 * 2 * 32000 * 512}  # untied
MODELS = labels(*WEIGHT_BYTES)


class _TrainingStep(Suite):
    rivals = "sharing"

    def build(self, device, model, sharing):
        # Weights are made in setup and counted all the same: a peak is that of the process or the device. Gradients
        # and the optimizer's state are allocated by the step.
        self.net, self.loss_of = tied.net_and_loss(model, sharing, device)
        self.optimizer = torch.optim.AdamW(self.net.parameters())

    def step(self):
        tied.training_step(self.loss_of, self.net, self.optimizer)

    def check_parameters_change(self, operation, model, sharing):
        if model.startswith("language_model"):
            tied.check_language_model(self.net, sharing)
        else:
            tied.check_shared_layer(self.net, sharing, shape_of(model.rpartition("_")[2])[1])
        before = [parameter.detach().clone() for parameter in self.net.parameters()]
        result = operation()
        for index, (old, new) in enumerate(zip(before, self.net.parameters(), strict=True)):
            assert new.grad is not None, f"parameter {index} has no gradient"
            assert not torch.equal(old, new), f"parameter {index} did not change"
        return result

    def peak_bytes(self, *values):
        # Weights, gradients, two states, a temporary; and the copy of the check.
        return 6 * WEIGHT_BYTES[self.named(*values)["model"]]


class HostMemory(_TrainingStep):
    """Peak memory of the process over one AdamW step, tied and untied."""

    param_names = ["model", "sharing"]
    params = [MODELS, SHARINGS]
    quick = {"model": ["language_model_32000x512"]}

    def setup(self, model, sharing):
        super().setup(model, sharing)
        self.build("cpu", model, sharing)

    def peakmem_training_step(self, model, sharing):
        self.step()

    def check_training_step(self, model, sharing):
        self.check_parameters_change(lambda: self.peakmem_training_step(model, sharing), model, sharing)


class DeviceMemory(_TrainingStep):
    """The same on an accelerator: the most that its allocator had handed out at once."""

    unit = "bytes"
    param_names = ["device", "model", "sharing"]
    params = [DEVICES, MODELS, SHARINGS]
    quick = {"device": DEVICES[1:], "model": ["language_model_32000x512"]}

    def setup(self, device, model, sharing):
        super().setup(device, model, sharing)
        self.build(device, model, sharing)

    def why_not(self, device, model, sharing):
        if not tied.counts_peak(device):
            return f"torch keeps no peak of the memory that it hands out on {device}" + (
                ": see HostMemory" if device == "cpu" else ""
            )
        return super().why_not(device, model, sharing)

    def track_training_step(self, device, model, sharing):
        return tied.device_peak(device, self.step)

    def check_training_step(self, device, model, sharing):
        peak = self.check_parameters_change(lambda: self.track_training_step(device, model, sharing), model, sharing)
        least = 4 * sum(4 * parameter.numel() for parameter in self.net.parameters())
        assert peak >= least, f"a peak of {peak} bytes is less than weights, gradients and states: {least}"
