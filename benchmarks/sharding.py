"""E. Parameters that are sharded over ranks: initialize, read, load, save, clip, and train, with `fully_shard`.

A cell with this parameter `ranks` starts as many local processes through torchrun's API, on gloo for the CPU and NCCL
for CUDA, and ends them in `teardown`. Every rank takes part in each call. The time is that of the slowest rank, by its
own clock, after a barrier: see `bench_core.suite.ranks`. `width` is that of the model in `bench_core.suite.sharding`:
64 makes 0.2 million parameters, 512 makes 10 million.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench_core.suite import DEVICES, Suite, labels, ranks, sharding

RANKS = labels("2", "4")
FROM_ONE_RANK = labels("1", "2", "4")
WIDTHS = labels("64", "512")
SHARINGS = labels("tied", "untied")
GROUPINGS = labels("together", "root", "apart")


class _Ranked(Suite):
    """A cell with ranks.

    Starting them, and constructing what they work on, is not timed. They are new in each setup, so that no cell finds
    memory or connections of another one. Cells that are only checked may share them (`ranks.shared`).
    """

    copies = 8  # on each rank: the whole model before it is sharded, the shards, gradients, and the check's own copies

    def setup(self, *values):
        super().setup(*values)
        cell = self.named(*values)
        self.ranks = ranks.take(int(cell["ranks"]), cell["device"])
        self.timer = self.ranks.clock

    def teardown(self, *values):
        if hasattr(self, "ranks"):
            ranks.give_back(self.ranks)
        super().teardown(*values)

    def why_not(self, *values):
        cell = self.named(*values)
        return super().why_not(*values) or ranks.why_not(int(cell["ranks"]), cell["device"])

    def peak_bytes(self, *values):
        cell = self.named(*values)
        whole = sharding.parameter_bytes(int(cell["width"])) if "width" in cell else super().peak_bytes(*values)
        return int(cell["ranks"]) * self.copies * whole


class InPlace(_Ranked):
    """Overwrite a sharded weight in place: each rank its rows.

    With the same seed on all ranks, the CPU draws the same numbers on each, so that all shards are alike
    (`sharding.numbers` calls it ``repeated``). torch shares the generator's state among ranks on CUDA alone.
    """

    param_names = ["device", "initializer", "size", "ranks"]
    params = [
        DEVICES,
        labels("zeros_", "normal_", "kaiming_uniform_"),
        labels("64x64", "4096x4096"),
        RANKS,
    ]
    quick = None

    def setup(self, device, initializer, size, ranks):
        super().setup(device, initializer, size, ranks)
        self.ranks.do(sharding.weight, size)  # touched here, as memory that is in use

    def time_initialize(self, device, initializer, size, ranks):
        self.ranks.timed(sharding.in_place, initializer)

    def check_initialize(self, device, initializer, size, ranks):
        self.ranks.do(sharding.poison_weight)
        self.time_initialize(device, initializer, size, ranks)
        relation = sharding.alike(self.ranks.do(sharding.check_in_place, initializer), "numbers")
        allowed = ("same",) if initializer == "zeros_" else sharding.NUMBERS["shard_then_init"]
        assert relation in allowed, f"numbers: found {relation}, expected {' or '.join(allowed)}"


class Initialize(_Ranked):
    """Construct, shard and initialize a model, in four orders, which do not give the same numbers.

    `init_then_shard` and `broadcast_from_rank0` give those of the unsharded model. `shard_then_init` constructs on
    meta, shards, allocates the shards with `to_empty` and initializes them: no rank ever holds the whole model. With
    one seed for all ranks, the shards of a weight are alike on the CPU. With a seed for each, they are independent, but
    not the unsharded numbers.
    """

    param_names = ["device", "idiom", "width", "ranks"]
    params = [DEVICES, labels(*sharding.INITIALIZE), WIDTHS, FROM_ONE_RANK]
    quick = None
    rivals = "idiom"

    def time_initialize(self, device, idiom, width, ranks):
        self.ranks.timed(sharding.initialize, idiom, int(width))

    def check_initialize(self, device, idiom, width, ranks):
        self.ranks.do(sharding.make, int(width))
        self.ranks.do(sharding.poison)
        self.time_initialize(device, idiom, width, ranks)
        relation = sharding.alike(self.ranks.do(sharding.check_initialized, int(width)), "numbers")
        allowed = sharding.NUMBERS[idiom]
        assert relation in allowed, f"numbers: found {relation}, expected {' or '.join(allowed)}"


class PeakMemory(_Ranked):
    """The most memory that a rank holds more than before while it constructs, shards and initializes a model.

    The largest of all ranks. `init_then_shard` holds the whole model on each.
    """

    unit = "bytes"
    param_names = ["device", "idiom", "width", "ranks"]
    params = [DEVICES, labels(*sharding.INITIALIZE), labels("512", "1024"), RANKS]
    quick = None
    rivals = "idiom"

    def why_not(self, *values):
        return super().why_not(*values) or ranks.why_no_peak(self.named(*values)["device"])

    def track_initialize(self, device, idiom, width, ranks):
        return max(answer.peak_bytes for answer in self.ranks.watched(sharding.initialize, idiom, int(width)))

    def check_initialize(self, device, idiom, width, ranks):
        peak = self.track_initialize(device, idiom, width, ranks)
        assert isinstance(peak, int), f"found {peak!r}, expected bytes"
        whole = sharding.parameter_bytes(int(width))
        least = whole if idiom in ("init_then_shard", "broadcast_from_rank0") else whole / int(ranks)
        assert 0.8 * least <= peak <= 4 * whole, f"a peak of {peak} bytes for a model of {whole}"


class _ReadState(_Ranked):
    param_names = ["device", "idiom", "width", "ranks"]
    rivals = "idiom"

    def setup(self, device, idiom, width, ranks):
        super().setup(device, idiom, width, ranks)
        self.ranks.do(sharding.make, int(width), "tied")

    def time_read(self, device, idiom, width, ranks):
        self.ranks.timed(sharding.read, idiom)

    def check_read(self, device, idiom, width, ranks):
        self.ranks.do(sharding.forget)
        self.time_read(device, idiom, width, ranks)
        self.ranks.do(sharding.check_read, idiom)


class ShardedState(_ReadState):
    """The state of a sharded model as it is, without communication: each entry is a DTensor over the rank's memory.

    `get_model_state_dict` also gives every parameter the name that it has without wrappers.
    """

    params = [DEVICES, labels(*sharding.SHARDED_STATE), WIDTHS, RANKS]
    quick = None


class FullState(_ReadState):
    """The whole state, gathered from all ranks: on every rank, or on rank 0 alone, in host memory.

    A tied weight is gathered once for each of its names.
    """

    params = [DEVICES, labels(*sharding.FULL_STATE), WIDTHS, FROM_ONE_RANK]
    quick = None


class LoadFullState(_Ranked):
    """Load a whole state dict into a sharded model: from every rank's own copy, or from rank 0 alone.

    `set_model_state_dict(full_state_dict=True)` replaces the tensors of the dictionary that it is given by shards, so
    that it cannot be loaded a second time. `copy_own_rows` copies the rows of each rank without communication.
    """

    param_names = ["device", "idiom", "width", "ranks"]
    params = [DEVICES, labels(*sharding.LOAD), WIDTHS, RANKS]
    quick = None
    rivals = "idiom"

    def setup(self, device, idiom, width, ranks):
        super().setup(device, idiom, width, ranks)
        self.ranks.do(sharding.make, int(width), "tied")
        self.ranks.do(sharding.hold_state)

    def time_load(self, device, idiom, width, ranks):
        self.ranks.timed(sharding.load, idiom)

    def check_load(self, device, idiom, width, ranks):
        self.ranks.do(sharding.poison)
        self.time_load(device, idiom, width, ranks)
        self.ranks.do(sharding.check_values)


class _Files(_Ranked):
    def setup(self, *values):
        super().setup(*values)
        self.folder = tempfile.TemporaryDirectory(prefix="sharding-")
        self.path = str(Path(self.folder.name, "checkpoint"))

    def teardown(self, *values):
        if hasattr(self, "folder"):
            if self.ranks.alive:
                self.ranks.do(sharding.finish)  # before the folder goes that they may write to
            self.folder.cleanup()
        super().teardown(*values)


class SaveCheckpoint(_Files):
    """Save a sharded model: each rank its shards with torch.distributed.checkpoint, or all through rank 0.

    `dcp_async_save` is the time until the ranks may go on, after their shards were copied; `dcp_async_save_to_the_end`
    waits for the files. A tied weight is written once for each of its names. The files stay in the page cache.
    """

    number = 1  # an asynchronous save must have ended before the next one
    param_names = ["device", "idiom", "width", "ranks"]
    params = [DEVICES, labels(*sharding.SAVE), WIDTHS, RANKS]
    quick = None
    rivals = "idiom"

    def setup(self, device, idiom, width, ranks):
        super().setup(device, idiom, width, ranks)
        self.ranks.do(sharding.make, int(width), "tied")
        # The first save imports, and starts the thread that later asynchronous ones use.
        self.ranks.do(sharding.save, idiom, self.path)
        self.ranks.do(sharding.finish)
        self.ranks.do(sharding.remove, self.path)

    def time_save(self, device, idiom, width, ranks):
        self.ranks.timed(sharding.save, idiom, self.path)

    def check_save(self, device, idiom, width, ranks):
        self.time_save(device, idiom, width, ranks)
        self.ranks.do(sharding.finish)
        self.ranks.do(sharding.check_saved, idiom, self.path)


class LoadCheckpoint(_Files):
    """Load what as many ranks have saved, or fewer, or more: the shards are cut anew (`saved_by` 2, `ranks` 4)."""

    param_names = ["device", "saved_by", "width", "ranks"]
    params = [DEVICES, RANKS, WIDTHS, RANKS]
    quick = None

    def setup(self, device, saved_by, width, ranks):
        super().setup(device, saved_by, width, ranks)
        self.saved(device, saved_by, width)
        self.ranks.do(sharding.make, int(width), "tied")

    def saved(self, device, saved_by, width):
        """Save with other ranks, which end."""
        others = ranks.take(int(saved_by), device)
        others.do(sharding.make, int(width), "tied")
        others.do(sharding.save, "dcp_save", self.path)
        ranks.give_back(others)

    def time_load(self, device, saved_by, width, ranks):
        self.ranks.timed(sharding.restore, self.path)

    def check_load(self, device, saved_by, width, ranks):
        self.ranks.do(sharding.poison)
        self.time_load(device, saved_by, width, ranks)
        self.ranks.do(sharding.check_values)


class ForwardBackward(_Ranked):
    """A forward and a backward pass with 64 tokens a rank, tied and untied, in three groupings of embedding and output.

    Every group is gathered for its passes, and its gradients are averaged over the ranks (reduce-scatter). Tied, one
    gradient is reduced; untied, two. torch 2.13 and later refuse a tied weight in two groups, and earlier versions
    computed wrong gradients where the ranks cannot share it evenly (pytorch/pytorch#176225, pytorch/pytorch#176076).
    Gradients are added to those of the last call.
    """

    param_names = ["device", "sharing", "grouping", "width", "ranks"]
    params = [DEVICES, SHARINGS, GROUPINGS, WIDTHS, RANKS]
    quick = None
    rivals = "sharing"

    def setup(self, device, sharing, grouping, width, ranks):
        super().setup(device, sharing, grouping, width, ranks)
        self.ranks.do(sharding.make, int(width), sharing, grouping)
        self.ranks.do(sharding.forward_backward)  # the first pass sets the groups up

    def why_not(self, device, sharing, grouping, width, ranks):
        return super().why_not(device, sharing, grouping, width, ranks) or sharding.refused(sharing, grouping)

    def time_forward_backward(self, device, sharing, grouping, width, ranks):
        self.ranks.timed(sharding.forward_backward)

    def check_forward_backward(self, device, sharing, grouping, width, ranks):
        self.ranks.do(sharding.drop_gradients)
        self.time_forward_backward(device, sharing, grouping, width, ranks)
        self.ranks.do(sharding.check_gradients)


class ClipGradNorm(_Ranked):
    """`clip_grad_norm_` over sharded gradients: the norm is a sum over the ranks, which each rank then reads.

    Gradients that are already clipped are still multiplied, by 1.
    """

    param_names = ["device", "implementation", "width", "ranks"]
    params = [DEVICES, labels("for_loop", "foreach"), WIDTHS, RANKS]
    quick = None
    rivals = "implementation"

    def setup(self, device, implementation, width, ranks):
        super().setup(device, implementation, width, ranks)
        self.ranks.do(sharding.make, int(width), "tied")
        self.ranks.do(sharding.step_again)

    def time_clip(self, device, implementation, width, ranks):
        return [answer.value for answer in self.ranks.timed(sharding.clip, implementation)]

    def check_clip(self, device, implementation, width, ranks):
        self.ranks.do(sharding.step_again)
        norms = self.time_clip(device, implementation, width, ranks)
        assert isinstance(norms, list), f"found {norms!r}"
        self.ranks.do(sharding.check_clipped, sharding.alike(norms, "norm"))
