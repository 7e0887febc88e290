"""A. In-place initialization: overwrite existing parameters."""

from __future__ import annotations

import contextlib
import math
import mmap

import torch
from torch import nn

from bench_core.suite import (
    DEVICES,
    DTYPES,
    SIZES,
    THREADS,
    Report,
    Suite,
    denormals,
    dtype_of,
    elements,
    initializers,
    labels,
    models,
    oracles,
    shape_of,
    traffic,
)
from bench_core.suite.initializers import DRAWS, INITIALIZERS


def weight_for(initializer: str, device: str, size: str, dtype: str = "float32") -> torch.Tensor:
    """A weight of `size` elements whose memory is already mapped. For `dirac_`, the weight of a 2x2 convolution."""
    rows, columns = shape_of(size)
    shape = (rows, columns // 4, 2, 2) if initializer == "dirac_" else (rows, columns)
    return torch.zeros(shape, device=device, dtype=dtype_of(dtype))


class InPlace(Suite):
    """Overwrite a weight that is already in memory, as `nn.init` does after construction.

    `normal_` in bfloat16 against float32 shows pytorch/pytorch#173173, and NVIDIA/FasterTransformer#583 for the
    weights of a whole model in half precision.
    """

    param_names = ["device", "initializer", "size", "dtype"]
    params = [DEVICES, labels(*INITIALIZERS), SIZES, DTYPES]
    quick = {
        "device": ["cpu"],
        "initializer": ["zeros_", "uniform_", "normal_", "trunc_normal_", "orthogonal_", "sparse_"],
        "size": ["8x4", "256x256"],
        "dtype": ["float32"],
    }
    draws = DRAWS
    reports = [
        Report(
            source="pytorch/pytorch#173173",
            what="`normal_` in bfloat16 on the CPU against float32 (before 2.13: 4 to 5 times slower)",
            instead="draw in float32 and copy into the bfloat16 weight",
            benchmark="time_initialize",
            slow={"device": "cpu", "initializer": "normal_", "size": "1024x1024", "dtype": "bfloat16"},
            fast={"dtype": "float32"},
        ),
    ]

    def setup(self, device, initializer, size, dtype):
        super().setup(device, initializer, size, dtype)
        # Touched here: the first write to fresh memory pays page faults, which FreshMemory times.
        self.weight = weight_for(initializer, device, size, dtype)
        self.initialize = INITIALIZERS[initializer].apply

    def why_not(self, device, initializer, size, dtype):
        chosen = INITIALIZERS[initializer]
        if dtype not in chosen.dtypes:
            return f"torch has no {initializer} in {dtype}"
        if chosen.cubic and elements(size) > 1024 * 1024:
            return f"{initializer} is cubic in the side of the weight: {size} takes minutes"
        return super().why_not(device, initializer, size, dtype)

    @traffic(writes=1)
    def time_initialize(self, device, initializer, size, dtype):
        self.initialize(self.weight)

    def check_initialize(self, device, initializer, size, dtype):
        def initialize():
            self.time_initialize(device, initializer, size, dtype)

        INITIALIZERS[initializer].check(self.weight, initialize)


class PeakMemory(Suite):
    """Peak memory of an initializer.

    `orthogonal_` needs several times the memory of the weight for its QR factorization (pytorch/pytorch#36569). The
    others need none.
    """

    param_names = ["initializer", "size"]
    params = [labels("xavier_uniform_", "orthogonal_"), labels("1024x1024", "2048x2048")]
    quick = {"size": ["2048x2048"]}
    rivals = "initializer"

    def setup(self, initializer, size):
        super().setup(initializer, size)
        self.weight = weight_for(initializer, "cpu", size)
        self.initialize = INITIALIZERS[initializer].apply
        # The first factorization loads LAPACK and its threads' buffers, which are not the initializer's own.
        self.initialize(torch.empty(8, 4))

    def peakmem_initialize(self, initializer, size):
        self.initialize(self.weight)

    def check_initialize(self, initializer, size):
        INITIALIZERS[initializer].check(self.weight, lambda: self.peakmem_initialize(initializer, size))


class Threads(Suite):
    """Initialize with one thread and with all: which initializers gain from more cores, and from which size?"""

    param_names = ["threads", "initializer", "size"]
    params = [THREADS, labels("zeros_", "uniform_", "normal_"), labels("256x256", "1024x1024", "4096x4096")]
    quick = {"initializer": ["zeros_", "normal_"], "size": ["1024x1024"]}
    rivals = "threads"
    draws = DRAWS

    def setup(self, threads, initializer, size):
        super().setup(threads, initializer, size)
        self.weight = weight_for(initializer, "cpu", size)  # touched, and the threads' pool started by the fill
        self.initialize = INITIALIZERS[initializer].apply

    @traffic(writes=1)
    def time_initialize(self, threads, initializer, size):
        self.initialize(self.weight)

    def check_initialize(self, threads, initializer, size):
        def initialize():
            self.time_initialize(threads, initializer, size)

        INITIALIZERS[initializer].check(self.weight, initialize)


class FreshMemory(Suite):
    """The first write to memory that is allocated but not yet mapped: each page faults once.

    InPlace is the same on mapped memory. This is on the CPU only: an accelerator's allocator maps its memory itself.
    """

    number = 1  # a page faults once
    param_names = ["initializer", "size"]
    params = [labels("zeros_", "normal_"), labels("256x256", "1024x1024", "4096x4096", "8192x8192")]
    quick = {"initializer": ["zeros_"], "size": ["1024x1024"]}
    draws = DRAWS

    def setup(self, initializer, size):
        super().setup(initializer, size)
        # Mapped anew for every call and touched by nobody: malloc would hand out pages that were freed a moment ago.
        # Private, as malloc's own are: shared ones are another kind of page, and fault 1.5 times as slowly.
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        self.pages = mmap.mmap(-1, 4 * elements(size), **private)
        self.weight = torch.frombuffer(self.pages, dtype=torch.float32).view(shape_of(size))
        self.initialize = INITIALIZERS[initializer].apply

    def teardown(self, initializer, size):
        pages = self.__dict__.pop("pages", None)
        super().teardown(initializer, size)
        if pages is not None:
            pages.close()

    @traffic(writes=1)
    def time_first_write(self, initializer, size):
        self.initialize(self.weight)

    def check_first_write(self, initializer, size):
        def initialize():
            self.time_first_write(initializer, size)

        oracles.filled_with(self.weight[-1], 0.0, "fresh pages")
        INITIALIZERS[initializer].check(self.weight, initialize)


def normal_with_zero_biases(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, mean=0, std=0.01)
        nn.init.zeros_(module.bias)


def constant_one(module):
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.weight, 1)
        nn.init.zeros_(module.bias)


def xavier(module):
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)


def forty_two(module):
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.weight, 42)


class NotebookNet(Suite):
    """Initialize the notebook's net, Linear(4, 8), ReLU, Linear(8, 1), through `net.apply`."""

    param_names = ["device", "scheme"]
    params = [DEVICES, labels("normal_zero_bias", "constant", "xavier_and_42", "my_init")]
    quick = {"device": ["cpu"]}

    def setup(self, device, scheme):
        super().setup(device, scheme)
        self.net = models.notebook_net(device)
        first, last = self.net[0], self.net[2]
        # Which function goes to which module is looked up here, not in the timed call.
        self.plan = {
            "normal_zero_bias": [(self.net, normal_with_zero_biases)],
            "constant": [(self.net, constant_one)],
            "xavier_and_42": [(first, xavier), (last, forty_two)],
            "my_init": [(self.net, initializers.my_init)],
        }[scheme]

    def time_apply(self, device, scheme):
        for module, function in self.plan:
            module.apply(function)

    def check_apply(self, device, scheme):
        first, last = self.net[0], self.net[2]

        def apply():
            self.time_apply(device, scheme)

        for layer in (first, last):
            initializers.poisoned(layer.weight)
        if scheme == "normal_zero_bias":
            initializers.normal(lambda _: 0.01)(first.weight, apply)
            oracles.filled_with(first.bias, 0, "bias")
            oracles.filled_with(last.bias, 0, "bias")
        elif scheme == "constant":
            initializers.constant(1)(first.weight, apply)
            oracles.filled_with(last.weight, 1, "last weight")
        elif scheme == "xavier_and_42":
            INITIALIZERS["xavier_uniform_"].check(first.weight, apply)
            oracles.filled_with(last.weight, 42, "last weight")
        else:
            initializers.check_masked(first.weight, apply, negative_zeros=True)


class Masked(Suite):
    """Ways to write the notebook's `my_init`: 0 with probability 1/2, else a magnitude that is uniform on 5 to 10.

    Where a negative draw is masked, `as_written` and `in_place` leave -0.0, and the others 0.0.
    """

    param_names = ["device", "idiom", "size"]
    params = [
        DEVICES,
        labels("as_written", "in_place", "masked_fill_", "where", "sign_bernoulli_uniform"),
        SIZES[:-1],
    ]
    quick = {"device": ["cpu"], "size": ["8x4", "256x256"]}
    rivals = "idiom"
    draws = 1  # one uniform draw has the sign, the magnitude and the mask in it
    copies = 6

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.weight = nn.Parameter(weight_for(idiom, device, size))
        self.initialize = getattr(initializers, f"masked_{idiom.rstrip('_')}")

    @traffic(writes=1)
    def time_initialize(self, device, idiom, size):
        self.initialize(self.weight)

    def check_initialize(self, device, idiom, size):
        def initialize():
            self.time_initialize(device, idiom, size)

        keeps_sign = idiom in ("as_written", "in_place")
        initializers.check_masked(self.weight, initialize, negative_zeros=keeps_sign)


class TruncatedNormal(Suite):
    """`trunc_normal_` of the installed torch, against the inverse distribution function, which torch used before 2.12.

    Since 2.12, `trunc_normal_` draws about three normal numbers for each element that it keeps
    (pytorch/pytorch#182116). A slow library for truncated normals once made the construction of a model 100 times
    slower (pytorch/vision#2166).
    """

    param_names = ["device", "idiom", "size", "dtype"]
    params = [DEVICES, labels("nn_init", "inverse_cdf"), labels("8x4", "512x512", "2048x2048"), DTYPES]
    quick = {"device": ["cpu"], "size": ["512x512"], "dtype": ["float32"]}
    rivals = "idiom"
    draws = 1
    reports = [
        Report(
            source="pytorch/pytorch#182116",
            what="`trunc_normal_` draws by rejection since torch 2.12",
            instead="uniform, `erfinv_`, scale and clamp: the way of torch 2.11",
            benchmark="time_initialize",
            slow={"device": "cpu", "idiom": "nn_init", "size": "2048x2048", "dtype": "float32"},
            fast={"idiom": "inverse_cdf"},
        ),
    ]

    def setup(self, device, idiom, size, dtype):
        super().setup(device, idiom, size, dtype)
        self.weight = weight_for(idiom, device, size, dtype)
        self.initialize = nn.init.trunc_normal_ if idiom == "nn_init" else initializers.trunc_normal_by_inverse_cdf

    @traffic(writes=1)
    def time_initialize(self, device, idiom, size, dtype):
        self.initialize(self.weight)

    def check_initialize(self, device, idiom, size, dtype):
        def initialize():
            self.time_initialize(device, idiom, size, dtype)

        INITIALIZERS["trunc_normal_"].check(self.weight, initialize)


class Bernoulli(Suite):
    """Fill a weight with random zeros and ones. This shows slowdowns like pytorch/pytorch#11945 and
    pytorch/pytorch#8673.

    There `bernoulli_` filled a float64 tensor, expanded it and copied it. It should cost no more than `uniform_() < p`.
    """

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels("bernoulli_", "uniform_less"), labels("8x4", "256x256", "1024x1024")]
    quick = {"device": ["cpu"], "size": ["256x256"]}
    rivals = "idiom"
    draws = 1
    reports = [
        Report(
            source="pytorch/pytorch#11945, pytorch/pytorch#8673",
            what="`bernoulli_(p)` after a refactoring, and through a float64 temporary",
            instead="compare a uniform draw with p",
            benchmark="time_toss",
            slow={"device": "cpu", "idiom": "bernoulli_", "size": "1024x1024"},
            fast={"idiom": "uniform_less"},
        ),
    ]

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.weight = weight_for(idiom, device, size)
        self.toss = {
            "bernoulli_": lambda weight: weight.bernoulli_(0.25),
            "uniform_less": lambda weight: weight.uniform_().lt_(0.25),
        }[idiom]

    @traffic(writes=1)
    def time_toss(self, device, idiom, size):
        self.toss(self.weight)

    def check_toss(self, device, idiom, size):
        drawn = oracles.draw(lambda: self.time_toss(device, idiom, size), self.weight)
        oracles.share(float((drawn == 1).double().mean()), 0.25, drawn.numel(), "ones")
        oracles.same(int(((drawn != 0) & (drawn != 1)).sum()), 0, "elements that are neither 0 nor 1")


class ManyParameters(Suite):
    """The same small edit of many parameters: Python loops against one `torch._foreach_*` call."""

    param_names = ["device", "idiom", "parameters"]
    params = [
        DEVICES,
        labels("loop_nn_init", "loop_no_grad", "loop_data", "foreach"),
        labels("10", "100", "1000"),
    ]
    quick = {"device": ["cpu"], "parameters": ["100"]}
    rivals = "idiom"

    def setup(self, device, idiom, parameters):
        super().setup(device, idiom, parameters)
        # 8x4 each: Python and dispatch, not memory.
        self.parameters = [nn.Parameter(torch.full((8, 4), 3.0, device=device)) for _ in range(int(parameters))]
        self.zero = getattr(initializers, f"zero_{idiom}")

    def time_zero(self, device, idiom, parameters):
        self.zero(self.parameters)

    def check_zero(self, device, idiom, parameters):
        for parameter in self.parameters:
            oracles.filled_with(parameter, 3.0, "parameter before")
        self.time_zero(device, idiom, parameters)
        for parameter in self.parameters:
            oracles.filled_with(parameter, 0.0, "parameter")


class DefaultDevice(Suite):
    """Edit many parameters while torch has a default device, which none of the edits needs.

    `set_default_device`, and a block `with torch.device(...)`, put a function of Python before every function of torch,
    also those that make no tensor: pytorch/pytorch#92701, where a multiplication took 0.162 ms instead of 0.036 ms
    until its kernel began. The default device of these cells is the device of the parameters.
    """

    param_names = ["device", "idiom", "parameters"]
    params = [DEVICES, labels(*initializers.DEFAULT_DEVICES), labels("10", "100", "1000")]
    quick = {"device": ["cpu"], "idiom": ["no_default_device", "set_default_device"], "parameters": ["100"]}
    rivals = "idiom"
    reports = [
        Report(
            source="pytorch/pytorch#92701",
            what="`torch.set_default_device` costs every later call, also those that make no tensor",
            instead="a block `with torch.device(...)` around the construction alone, or `device=` where a tensor is "
            "made",
            benchmark="time_zero",
            slow={"device": "cpu", "idiom": "set_default_device", "parameters": "1000"},
            fast={"idiom": "no_default_device"},
        ),
    ]

    def setup(self, device, idiom, parameters):
        super().setup(device, idiom, parameters)
        # 8x4 each: dispatch, not memory.
        self.parameters = [nn.Parameter(torch.full((8, 4), 3.0, device=device)) for _ in range(int(parameters))]
        self.zero = initializers.DEFAULT_DEVICES[idiom]

    def time_zero(self, device, idiom, parameters):
        # The default device is set and reset in the call, since cells that take turns share a process.
        self.zero(self.parameters, device)

    def check_zero(self, device, idiom, parameters):
        before = torch.get_default_device()
        for parameter in self.parameters:
            oracles.filled_with(parameter, 3.0, "parameter before")
        self.time_zero(device, idiom, parameters)
        for parameter in self.parameters:
            oracles.filled_with(parameter, 0.0, "parameter")
        oracles.same(torch.get_default_device(), before, "default device afterwards")


LEAST = torch.finfo(torch.float32).tiny
DENORMAL = {
    "linear": ((256, 256), (32, 256), nn.functional.linear),
    "conv2d": ((32, 32, 3, 3), (1, 32, 16, 16), nn.functional.conv2d),
    "mul": ((256, 256), (256, 256), torch.mul),
    "sqrt": ((256, 256), (1,), lambda _, weight: weight.sqrt()),
}


class Denormals(Suite):
    """Compute with a weight whose elements are denormal numbers, which are below 1.2e-38 in float32.

    A convolution with a trained weight was 50 times slower than with a random one (pytorch/pytorch#19651,
    pytorch/pytorch#21734), and a linear layer 100 times (pytorch/pytorch#63853). How much slower depends on the
    processor: one of Zen 4 multiplies denormal numbers as fast as others, also in a convolution, and takes 33 times as
    long for a square root.

    `flushed` takes denormal numbers for zero. `torch.set_flush_denormal(True)` holds for the calling thread, and for
    the threads that torch starts later: call it before the first computation. The square root and the logarithm of
    MKL, which torch uses where it can, ignore it.
    """

    param_names = ["operation", "values"]
    params = [labels(*DENORMAL), labels("normal", "denormal", "flushed")]
    quick = None  # what it finds is the processor's
    rivals = "values"
    reports = [
        Report(
            source="pytorch/pytorch#19651, pytorch/pytorch#21734",
            what="a convolution whose weights are denormal numbers",
            instead="`torch.set_flush_denormal(True)` before the first computation (later, it holds for the calling "
            "thread alone), which takes them for zero; or zero them in the weight",
            benchmark="time_compute",
            slow={"operation": "conv2d", "values": "denormal"},
            fast={"values": "flushed"},
            where="usage",
        ),
    ]

    def why_not(self, operation, values):
        return (denormals.why_no_flush() if values == "flushed" else None) or super().why_not(operation, values)

    def setup(self, operation, values):
        super().setup(operation, values)
        shape, inputs, self.compute = DENORMAL[operation]
        self.inputs = torch.rand(inputs)
        self.weight = torch.empty(shape).uniform_(0.5, 1)
        self.weight *= 1.0 if values == "normal" else 0.01 * LEAST
        self.around = denormals.flushed if values == "flushed" else contextlib.nullcontext

    def time_compute(self, operation, values):
        with self.around():  # in the call, since cells that take turns share a process
            return self.compute(self.inputs, self.weight)

    def check_compute(self, operation, values):
        expected = 0 if values == "normal" else self.weight.numel()
        oracles.same(denormals.count(self.weight), expected, "denormal elements of the weight")
        found = self.time_compute(operation, values)
        exact = self.compute(self.inputs.double(), self.weight.double())
        allowed = 1e-4 * float(exact.abs().max())
        if values == "flushed" and not found.any():
            exact = torch.zeros_like(exact)
        error = float((found.double() - exact).abs().max())
        assert error <= allowed, f"the outcome is off by {error:.1e}, more than {allowed:.1e}"
        oracles.same(float(torch.tensor(0.01 * LEAST) * 1) > 0, True, "a denormal number is above zero afterwards")


class DirectEdit(Suite):
    """The notebook's direct edits, `weight.data[:] += 1` and `weight.data[0, 0] = 42`, with and without `.data`."""

    param_names = ["device", "idiom", "size"]
    params = [DEVICES, labels("data", "no_grad", "detach"), SIZES[:-1]]
    quick = {"device": ["cpu"], "size": ["8x4", "1024x1024"]}
    rivals = "idiom"

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.weight = nn.Parameter(weight_for(idiom, device, size))
        self.add_one = getattr(initializers, f"add_one_{idiom}")
        self.set_element = getattr(initializers, f"set_element_{idiom}")

    @traffic(reads=1, writes=1)
    def time_add_one(self, device, idiom, size):
        self.add_one(self.weight)

    def check_add_one(self, device, idiom, size):
        self.time_add_one(device, idiom, size)
        oracles.filled_with(self.weight, 1.0, "weight")
        oracles.same(self.weight.requires_grad, True, "requires_grad")

    def time_set_element(self, device, idiom, size):
        self.set_element(self.weight)

    def check_set_element(self, device, idiom, size):
        self.time_set_element(device, idiom, size)
        oracles.same(float(self.weight[0, 0].detach()), 42.0, "weight[0, 0]")
        oracles.same(float(self.weight.detach().double().sum()), 42.0, "sum of the weight")


class ApplyDepth(Suite):
    """`net.apply` on models of many small modules, where Python's walk over the modules dominates."""

    param_names = ["form", "modules"]
    params = [labels("flat", "nested"), labels("10", "100", "1000")]
    quick = {"modules": ["100"]}

    def setup(self, form, modules):
        super().setup(form, modules)
        self.net = models.many_linears(int(modules), nested=form == "nested")

    def time_apply(self, form, modules):
        self.net.apply(normal_with_zero_biases)

    def check_apply(self, form, modules):
        layers = [module for module in self.net.modules() if isinstance(module, nn.Linear)]
        oracles.same(len(layers), int(modules), "number of layers")
        for layer in layers:
            initializers.poisoned(layer.weight)
            initializers.poisoned(layer.bias)
        self.time_apply(form, modules)
        drawn = torch.cat([layer.weight.detach().reshape(-1) for layer in layers])
        oracles.distributed(drawn, oracles.normal_cdf(0, 0.01), "weights")
        for layer in layers:
            oracles.filled_with(layer.bias, 0, "bias")


class SignalPropagation(Suite):
    """How activations and gradients grow or shrink with depth.

    The net is a stack of Linear(64, 64) and ReLU. The value is log10 of a ratio of root mean squares: output to input
    for activations, input to output for gradients. 0 means that the signal is kept, -10 that it vanishes, and +10 that
    it explodes.
    """

    unit = "log10 ratio"
    param_names = ["initializer", "depth"]
    params = [
        labels("normal_", "constant", "xavier_uniform_", "kaiming_normal_", "orthogonal_"),
        labels("4", "16", "64"),
    ]
    quick = {"depth": ["16"]}

    def setup(self, initializer, depth):
        super().setup(initializer, depth)
        self.width = 64
        # float64: 64 layers of N(0, 0.01) shrink a signal by 1e-80, which float32 cannot hold.
        self.layers = models.relu_stack(self.width, int(depth)).double()
        initialize = INITIALIZERS["ones_" if initializer == "constant" else initializer].apply
        for layer in self.layers[::2]:
            initialize(layer.weight)
        self.inputs = torch.randn(256, self.width, dtype=torch.float64, requires_grad=True)

    def _outputs(self):
        return self.layers(self.inputs)

    def track_activation(self, initializer, depth):
        return log10_ratio(self._outputs(), self.inputs)

    def track_gradient(self, initializer, depth):
        outputs = self._outputs()
        at_output = torch.randn_like(outputs)
        (at_input,) = torch.autograd.grad(outputs, self.inputs, at_output)
        return log10_ratio(at_input, at_output)

    def _check(self, found, initializer, depth):
        # A ReLU halves the mean square, so a layer whose weights have variance v scales it by width * v / 2, forward
        # and backward (He et al. 2015, eq. 10 and 14); a layer of ones multiplies by its width.
        if initializer == "constant":
            expected, margin = int(depth) * math.log10(self.width), 2.0
        else:
            variance = {
                "normal_": 1e-4,
                "xavier_uniform_": 1 / 64,
                "kaiming_normal_": 2 / 64,
                "orthogonal_": 1 / 64,
            }
            expected = int(depth) / 2 * math.log10(self.width * variance[initializer] / 2)
            margin = 0.5 + 0.25 * int(depth) ** 0.5
        assert abs(found - expected) < margin, f"log10 ratio {found:.2f}, expected {expected:.2f} ± {margin:.2f}"

    def check_activation(self, initializer, depth):
        self._check(self.track_activation(initializer, depth), initializer, depth)

    def check_gradient(self, initializer, depth):
        self._check(self.track_gradient(initializer, depth), initializer, depth)


def log10_ratio(one, other):
    """log10 of the ratio of the root mean squares of two float64 tensors."""
    first, second = (float(tensor.detach().square().mean().sqrt()) for tensor in (one, other))
    return math.log10(first / second)
