"""What a model consists of, and how two models differ."""

import copy
import functools
import itertools
import math
import types

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from bench_core.suite import lazy, oracles
from bench_core.suite.target import comparing, describe, differences, memory
from bench_core.suite.target.attributes import held


class Net(nn.Module):
    """Every kind of tensor that a model can hold."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), parametrizations.weight_norm(nn.Linear(4, 4)), nn.BatchNorm1d(4))
        self.memory = nn.LSTM(4, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embedding.weight
        self.turn = nn.Parameter(torch.ones(2, dtype=torch.complex64))
        self.count = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        self.frozen = nn.Parameter(torch.tensor([math.nan, 0.0]), requires_grad=False)
        whole = torch.arange(6.0)
        self.left, self.whole = nn.Parameter(whole[:3]), nn.Parameter(whole)
        self.body[0].weight.no_decay = True
        self.body[0].bias.register_hook(lambda grad: grad)
        self.body[0].register_forward_pre_hook(lambda module, args: args)
        self.register_buffer("angles", torch.ones(3), persistent=False)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.slopes = torch.ones(2)
        self.cache = {"tables": [torch.ones(2)], "alias": self.whole}


def made():
    torch.manual_seed(3)
    return Net()


def test_two_models_that_were_built_alike_do_not_differ():
    assert differences(made(), made()) == ""


def test_a_model_does_not_differ_from_itself_nor_from_itself_on_meta():
    net = made()
    assert differences(net, net) == ""
    with torch.device("meta"):
        assert differences(Net(), Net()) == ""


def test_a_tensor_that_is_conjugated_or_negated_when_it_is_read_has_the_values_that_one_reads():
    turned = torch.tensor([1 + 2j])
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    other.load_state_dict(one.state_dict())
    one.turned, one.negated = turned.conj(), turned.conj().imag
    other.turned, other.negated = torch.tensor([1 - 2j]), torch.tensor([-2.0])
    assert "turned: other values" not in differences(one, other)
    assert "negated: other values" not in differences(one, other)
    other.turned, other.negated = turned, torch.tensor([2.0])
    assert "turned, negated: other values" in differences(one, other)


def test_strides_of_dimensions_without_a_step_do_not_count():
    one, other = nn.Linear(3, 1), nn.Linear(3, 1)
    other.load_state_dict(one.state_dict())
    other.weight.data = torch.empty_strided((1, 3), (7, 1)).copy_(one.weight.data)
    assert differences(other, one) == ""


def swapped(net):
    net.left, net.whole = net.whole, net.left


def removed(net):
    del net._parameters["turn"]


def added(net):
    net.register_buffer("other", torch.ones(1))


def reordered(net):
    net._parameters["turn"] = net._parameters.pop("turn")


def on_meta(net):
    net.angles = net.angles.to("meta")


def plain_on_meta(net):
    net.slopes = net.slopes.to("meta")


def listed_on_meta(net):
    net.cache["tables"][0] = torch.ones(2, device="meta")


def stale(net):
    net.cache["alias"] = nn.Parameter(net.whole.detach().clone())


def persistent(net):
    net._non_persistent_buffers_set.clear()


def thawed(net):
    net.frozen.requires_grad_(True)


def negative_zero(net):
    with torch.no_grad():
        net.frozen[1] = -0.0


def another_nan(net):
    with torch.no_grad():
        net.frozen.view(torch.int32)[0] += 1


def conjugate(net):
    with torch.no_grad():
        net.turn.copy_(torch.full((2,), 1 - 1j))


def counted(net):
    with torch.no_grad():
        net.count[0] = 7


def converted(net):
    net.slopes = net.slopes.double()


def reshaped(net):
    net.slopes = torch.ones(3)


def transposed(net):
    net.head.weight.data = net.head.weight.data.t().contiguous().t()


def untied(net):
    net.head.weight = nn.Parameter(net.head.weight.detach().clone())


def untied_over_one_memory(net):
    net.head.weight = nn.Parameter(net.head.weight.detach())


def tied_to_more(net):
    net.body[2].weight, net.body[2].bias = net.body[2].bias, net.body[2].bias


def apart(net):
    net.left = nn.Parameter(net.left.detach().clone())


def viewed(net):
    net.angles = torch.ones(300)[:3]


def plain_class(net):
    class Special(nn.Parameter):
        pass

    net.turn = Special(net.turn.detach())


def evaluated(net):
    net.body[2].eval()


def without_hook(net):
    net.body[0].bias = nn.Parameter(net.body[0].bias.detach())


def without_attribute(net):
    net.body[0].weight = nn.Parameter(net.body[0].weight.detach())


def without_module_hook(net):
    net.body[0]._forward_pre_hooks.clear()


def another_module(net):
    net.body[2].__class__ = nn.BatchNorm2d


def more_modules(net):
    net.body.append(nn.ReLU())


CHANGES = {
    removed: "turn: missing",
    added: "other: not expected",
    reordered: "parameters: in another order",
    on_meta: "angles: on meta, without values",
    plain_on_meta: "slopes: on meta, without values",
    listed_on_meta: "cache['tables'][0]: on meta, without values",
    stale: "whole and cache['alias']: no longer one tensor",
    persistent: "angles: persistent, expected not persistent",
    thawed: "frozen: requires_grad True, expected False",
    negative_zero: "frozen: other values",
    another_nan: "frozen: other values",
    conjugate: "turn: other values",
    counted: "count: other values",
    converted: "slopes: dtype torch.float64, expected torch.float32",
    reshaped: "slopes: shape (3,), expected (2,)",
    transposed: "embedding.weight, head.weight: strides (1, 6), expected (4, 1)",
    untied: "embedding.weight and head.weight: no longer one tensor",
    untied_over_one_memory: "embedding.weight and head.weight: no longer one tensor",
    apart: "left and whole and cache['alias']: no longer in one memory",
    viewed: "angles: a view of more memory, which is saved with it",
    plain_class: "turn: class plain_class.<locals>.Special, expected Parameter",
    evaluated: "body.2: training=False, expected True",
    without_hook: "body.0.bias: no hooks, expected 1 in _backward_hooks",
    without_attribute: "body.0.weight: without the attributes no_decay",
    without_module_hook: "body.0: no hooks, expected 1 in _forward_pre_hooks",
    another_module: (
        "body.2: class torch.nn.modules.batchnorm.BatchNorm2d, expected torch.nn.modules.batchnorm.BatchNorm1d"
    ),
    more_modules: "body.3: not expected",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_each_kind_of_difference_is_seen_and_named(change):
    net = made()
    change(net)
    assert differences(net, made()) == CHANGES[change]


def test_a_parameter_that_became_tied_is_named():
    net = made()
    tied_to_more(net)
    assert "body.2.weight and body.2.bias: one tensor, which is not expected" in differences(net, made())


def test_parameters_that_changed_places_differ_in_shape():
    net = made()
    swapped(net)
    assert differences(net, made()).startswith("left: shape (6,), expected (3,); whole: shape (3,), expected (6,)")


def test_many_differences_of_one_kind_are_counted():
    net, expected = (nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(6))) for _ in range(2))
    assert differences(net, expected) == "0.weight, 1.weight, 2.weight and 3 more: other values"


def test_a_model_that_was_built_on_meta_and_loaded_by_assignment_has_lost_what_no_checkpoint_holds():
    net = made()
    with torch.device("meta"):
        found = Net()
    found.load_state_dict(copy.deepcopy(net).state_dict(), assign=True)
    said = differences(found, net)
    assert "angles, slopes, cache['tables'][0] and 1 more: on meta, without values" in said
    assert "embedding.weight and head.weight: no longer one tensor" in said
    assert "body.0.weight: without the attributes no_decay" in said


class Rotary(nn.Module):
    """A model whose angles are in no checkpoint (huggingface/transformers#30703)."""

    def __init__(self, device=None):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("angles", torch.arange(1.0, 5.0, device=device).reciprocal(), persistent=False)


def test_a_buffer_that_a_strict_load_leaves_on_meta_is_seen_by_every_comparison_of_models():
    plain = Rotary()
    with torch.device("meta"):
        found = Rotary()
    found.load_state_dict(plain.state_dict(), strict=True, assign=True)
    assert differences(found, plain) == "angles: on meta, without values"
    for check in (
        lambda: oracles.same_tensors(found, plain, "cpu"),
        lambda: oracles.all_on(found, {torch.device("cpu")}, "model"),
    ):
        with pytest.raises(AssertionError, match="angles.*meta"):
            check()


def test_a_buffer_that_is_made_with_an_explicit_device_never_was_on_meta():
    plain = Rotary()
    with torch.device("meta"):
        found = Rotary("cpu")
    found.load_state_dict(plain.state_dict(), assign=True)
    assert differences(found, plain) == ""


def test_a_lazy_model_differs_from_a_materialized_one():
    lazy, other = nn.LazyLinear(2), nn.LazyLinear(2)
    assert differences(lazy, other) == ""
    other(torch.ones(1, 3))
    assert "weight, bias: lazy, without values" in differences(lazy, other)


def test_containers_that_hold_themselves_end():
    one, other = nn.Linear(1, 1), None
    one.loop = [torch.ones(1)]
    one.loop.append(one.loop)
    other = copy.deepcopy(one)
    assert differences(one, other) == ""


def test_names_are_of_parameters_buffers_and_attributes_under_all_their_names():
    assert {"head.weight", "memory._flat_weights[0]", "cache['alias']"} < set(
        comparing._tensors(made(), held(made()).tensors).all
    )


# -------------------------------------------------------------------------------------------------- what it consists of


def test_memory_that_several_names_share_counts_once():
    net = nn.Module()
    net.one = nn.Linear(4, 6, bias=False)  # 24 elements, 96 bytes
    net.other = nn.Linear(4, 6, bias=False)
    net.other.weight = net.one.weight
    whole = torch.arange(6.0)
    net.left, net.whole = nn.Parameter(whole[:3]), nn.Parameter(whole)  # 24 bytes
    net.register_buffer("table", torch.ones(2, dtype=torch.float64), persistent=False)
    net.register_buffer("again", net.table)
    layout = describe(net)
    assert (layout.modules, layout.parameters, layout.elements) == (3, 3, 24 + 3 + 6)
    assert (layout.bytes, layout.tied_bytes) == (96 + 24, 96 + 12)
    assert (layout.buffers, layout.buffer_bytes, layout.non_persistent) == (1, 16, ("table",))
    assert layout.ties == (("one.weight", "other.weight"),)
    assert (layout.largest, layout.largest_bytes) == ("one.weight", 96)
    assert layout.dtypes == {"float32": 33}


def test_a_model_on_meta_is_described_like_one_with_values():
    with torch.device("meta"):
        on_meta = Net()
    assert describe(on_meta) == describe(made())


def test_elements_are_counted_by_dtype():
    assert describe(made()).dtypes.keys() == {"float32", "complex64", "int64"}


def test_lazy_parameters_are_named_and_have_no_size():
    layout = describe(nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 1)))
    assert layout.lazy == ("0.weight", "0.bias")
    assert (layout.parameters, layout.elements, layout.bytes) == (4, 4, 16)


def test_a_module_that_two_names_hold_has_its_names_twice():
    shared = nn.BatchNorm1d(2)
    shared.register_buffer("extra", torch.ones(1), persistent=False)
    layout = describe(nn.Sequential(shared, shared))
    assert layout.ties == (("0.weight", "1.weight"), ("0.bias", "1.bias"))
    assert layout.non_persistent == ("0.extra", "1.extra")


def test_tensors_that_only_touch_share_nothing():
    whole = torch.arange(6.0)
    tensors = {"a": whole[:3], "b": whole[3:], "c": whole[2:4]}
    assert memory.sharing({name: tensors[name] for name in "ab"}) == []
    assert memory.sharing(tensors) == [("a", "b", "c")]
    assert memory.occupied(tensors.values()) == 24


def test_a_tensor_that_lies_in_a_larger_one_does_not_end_it():
    whole = torch.arange(6.0)
    tensors = {"whole": whole, "one": whole[1:2], "three": whole[3:4]}
    assert memory.sharing(tensors) == [("whole", "one", "three")]
    assert memory.occupied(tensors.values()) == 24


def test_gaps_between_elements_are_not_occupied():
    whole = torch.zeros(4, 100)
    assert memory.occupied([whole[:, 0]]) == 16
    assert memory.occupied([whole[:, 0], whole[:, 50]]) == 32


def test_tensors_without_memory_share_nothing():
    empty = torch.zeros(0)
    assert memory.sharing({"a": empty, "b": empty, "c": torch.eye(2).to_sparse()}) == []
    assert memory.occupied([empty]) == 0


class Helper:
    """No module, and so nothing that a module walks into."""

    __slots__ = ("table",)

    def __init__(self, table):
        self.table = table


def bound(table):
    return lambda: table


HOLDERS = {
    "holder.table": Helper,
    "holder.keywords['table']": lambda table: functools.partial(print, table=table),
    "holder.table[0]": lambda table: bound([table]),
    "holder.__self__.table": lambda table: types.MethodType(print, Helper(table)),
    "holder[0].weight": lambda table: [nn.Embedding.from_pretrained(table.reshape(1, 2))],
    "holder": lambda table: table.numpy(),
}
"""Makes a value that holds a tensor, by the name that the tensor is told by."""


@pytest.mark.parametrize("name", HOLDERS)
def test_a_tensor_is_compared_in_whatever_an_attribute_reaches(name):
    one, other = nn.Identity(), nn.Identity()
    one.holder, other.holder = (HOLDERS[name](torch.tensor(values)) for values in ([1.0, 2.0], [1.0, 3.0]))
    assert differences(one, other) == f"{name}: other values"


def test_a_weight_that_a_hook_holds_must_be_that_of_its_module():
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    one.load_state_dict(other.state_dict())
    for net in (one, other):
        net.register_forward_hook(lambda *_, weight=net.weight: weight)
    assert differences(one, other) == ""
    one.load_state_dict(other.state_dict(), assign=True)
    assert "weight and _forward_hooks[0].__kwdefaults__['weight']: no longer one tensor" in differences(one, other)


def test_a_number_that_was_computed_from_other_weights_is_a_difference():
    one, other = nn.Identity(), nn.Identity()
    one.scale, other.scale = math.nan, 0.5
    assert differences(one, other) == "scale: nan, expected 0.5"
    one.scale = other.scale = math.nan
    assert differences(one, other) == ""


def test_a_number_that_is_another_one_in_each_model_is_not_compared():
    number = itertools.count()

    def numbered():
        net = nn.Identity()
        net.number, net.scale = next(number), 2.0
        return net

    assert differences(numbered(), numbered()) == "number: 0, expected 1"
    assert differences(numbered(), numbered(), numbered) == ""
    other = numbered()
    other.scale = 3.0
    assert differences(other, numbered(), numbered) == "scale: 3.0, expected 2.0"


def test_a_device_that_is_still_meta_is_a_difference():
    one, other = nn.Identity(), nn.Identity()
    one.place, other.place = torch.device("meta"), torch.device("cpu")
    one.many, other.many = {torch.ones(1, device="meta")}, {torch.ones(1)}
    assert differences(one, other) == "many, place: on meta"


def test_what_torch_notes_on_a_tensor_until_it_is_a_buffer_is_no_difference():
    one, other = nn.BatchNorm1d(2), nn.LazyBatchNorm1d()
    other(torch.ones(2, 2))
    other.reset_running_stats()
    assert differences(one, other) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch.compile imports
def test_how_a_process_compiles_is_no_difference():
    one, other = nn.Linear(1, 1), nn.Linear(1, 1)
    one.load_state_dict(other.state_dict())
    given = torch.compile(one)
    with lazy.poisoned_memory():
        assert differences(torch.compile(other), given, lambda: torch.compile(other)) == ""


def test_values_of_sparse_tensors_are_compared():
    one, other = nn.Identity(), nn.Identity()
    one.table, other.table = torch.eye(2).to_sparse(), torch.eye(2).to_sparse()
    assert differences(one, other) == ""
    one.table *= 2
    assert differences(one, other) == "table: other values"
