"""That the sentence names what differs, and claims nothing that the numbers do not say."""

import pytest

from bench_core.gate.why.cause import InstructionCounts, cause, meaning, short
from bench_core.workers.messages import CalledFunction, Operator, Profile

MIB = 2**20


def profile(calls=None, operators=None, bytecodes=None, peak=0.0, tensors=0.0, kind="time"):
    """A side: function to (count, own seconds[, with callees]), operator to (count, seconds[, bytes[, elements]])."""
    return Profile(
        kind,
        {
            name: CalledFunction(count, own, total[0] if total else own, "._C." not in name)
            for name, (count, own, *total) in (calls or {}).items()
        },
        bytecodes,
        {name: Operator(*numbers) for name, numbers in (operators or {}).items()},
        tensors,
        peak,
    )


def caused(base, head, counts=None, time=1.2):
    return cause("a.time_b", base, head, counts, ["thing"], time)


def counted(base, head, of_interpreter=()):
    """Counts by function."""
    base, head = (InstructionCounts(sum(one.values()), one, {*of_interpreter} & {*one}) for one in (base, head))
    return base, head


def test_an_operator_that_runs_once_more_is_named_with_both_counts():
    found = caused(
        profile(operators={"aten::normal_": (1, 1e-3), "aten::empty": (2, 1e-6)}),
        profile(operators={"aten::normal_": (2, 2e-3), "aten::empty": (2, 2e-6)}),
    )
    assert found.sentence == "1 more aten::normal_ (1 → 2)"


def test_of_several_operators_that_is_named_first_which_adds_most():
    found = caused(
        profile(operators={"aten::copy_": (1, 1e-4)}),
        profile(operators={"aten::to": (1, 1e-6), "aten::copy_": (2, 3e-4), "aten::_to_copy": (1, 1e-4)}),
    )
    assert found.sentence == "1 more aten::copy_ (1 → 2), with aten::_to_copy"


def test_what_python_calls_to_reach_an_operator_is_not_named_once_more():
    head = profile({"torch._C.TensorBase.normal_": (1, 1e-3)}, {"aten::normal_": (1, 9e-4)})
    assert caused(profile(), head).sentence == "1 more aten::normal_ (0 → 1)"


def test_a_function_of_the_version_is_named_before_what_it_calls():
    head = profile({"thing.watch": (10, 1e-6, 1e-3), "torch._C.mean": (10, 9e-4)}, {"aten::mean": (10, 9e-4)})
    found = caused(profile(), head)
    assert found.sentence == "10 more calls of thing.watch (0 → 10); 10 more aten::mean (0 → 10)"


def test_what_runs_inside_a_function_that_runs_more_often_is_not_named_instead_of_it():
    # The function took longer than the call as a whole did without the profiler: by that, it would wrap what was there.
    head = profile({"thing.table": (1, 1e-6, 1e-3), "thing.table.<locals>.<listcomp>": (1, 9e-4, 9e-4)})
    assert caused(profile(), head).sentence == "1 more call of thing.table (0 → 1)"


def test_a_hook_is_named_though_the_calling_of_hooks_costs_more():
    head = profile({"thing.watch": (10, 1e-5, 1e-5), "torch.nn.Module.inner": (10, 1e-4)})
    expected = "10 more calls of thing.watch (0 → 10); 10 more calls of torch.nn.Module.inner (0 → 10)"
    assert caused(profile(), head).sentence == expected


def test_a_function_that_wraps_what_was_there_before_is_not_blamed_for_it():
    base = profile({"thing.old": (1, 1e-3, 1e-3)}, {"aten::mul": (1, 9e-4)})
    head = profile({"thing.old": (1, 1e-3, 1e-3), "thing.new": (1, 1e-6, 1.001e-3)}, {"aten::mul": (2, 1.8e-3)})
    assert caused(base, head).sentence.startswith("1 more aten::mul (1 → 2)")


def test_what_one_call_did_before_is_named_beside_the_loop():
    base = profile({"torch._C._foreach_mul_": (1, 2e-4)})
    head = profile({"torch._C.TensorBase.mul_": (50, 3e-4)})
    expected = "50 more calls of torch._C.TensorBase.mul_ (0 → 50), in place of torch._C._foreach_mul_ (1 → 0)"
    assert caused(base, head).sentence == expected


def test_a_larger_buffer_is_as_many_operators_with_more_bytes():
    found = caused(
        profile(operators={"aten::empty": (1, 1e-5, 8 * MIB)}), profile(operators={"aten::empty": (1, 2e-5, 16 * MIB)})
    )
    assert found.sentence == "same operators, 2 times the bytes: aten::empty (8 MiB → 16 MiB)"


def test_a_buffer_that_is_not_allocated_shows_by_its_elements():
    found = caused(
        profile(operators={"aten::fill_": (1, 1e-5, 0, 1000)}), profile(operators={"aten::fill_": (1, 2e-5, 0, 3000)})
    )
    assert found.sentence == "same operators, 3 times the elements: aten::fill_ (1,000 → 3,000)"


def test_where_no_call_differs_the_function_with_more_bytecodes_is_named():
    calls = {"thing.walk": (1, 1e-5)}
    found = caused(
        profile(calls, bytecodes={"thing.walk": {"LOAD_ATTR": 100, "STORE_FAST": 100}}),
        profile(calls, bytecodes={"thing.walk": {"LOAD_ATTR": 200, "STORE_FAST": 100}}),
    )
    assert found.sentence == "100 more bytecodes in thing.walk (200 → 300), 100 more of them LOAD_ATTR"


def test_more_instructions_than_bytecodes_take_are_of_what_they_call():
    calls = {"thing.add": (1, 1e-5)}
    found = caused(
        profile(calls, bytecodes={"thing.add": {"BINARY_OP": 1}}),
        profile(calls, bytecodes={"thing.add": {"BINARY_OP": 2}}),
        counted({"add_doubles": 100_000.0}, {"add_doubles": 200_000.0}),
    )
    assert found.sentence.startswith("100,000 more instructions in add_doubles (100,000 → 200,000); 1 more bytecodes")


def test_same_calls_and_more_instructions_name_the_function_of_the_machine():
    counts = counted({"f": 1000.0, "g": 1000.0}, {"f": 1000.0, "g": 1500.0})
    found = caused(profile(), profile(), counts)
    assert found.sentence == (
        "same calls and operators, 500 more instructions in g (1,000 → 1,500); instructions +25.0 %: more work"
    )
    assert [change.name for change in found.functions] == ["g"]


CALLING = "_PyObject_MakeTpCall"


def test_a_function_of_a_library_is_named_before_one_of_the_interpreter():
    counts = counted({CALLING: 1000.0, "walk": 1000.0}, {CALLING: 9000.0, "walk": 1500.0}, [CALLING])
    assert "500 more instructions in walk (1,000 → 1,500)" in caused(profile(), profile(), counts).sentence


@pytest.mark.parametrize("walk", [1000.0, 1010.0])
def test_where_no_library_does_more_the_function_of_the_interpreter_is_called_one(walk):
    counts = counted({CALLING: 1000.0, "walk": 1000.0}, {CALLING: 9000.0, "walk": walk}, [CALLING])
    assert f"8,000 more instructions in {CALLING}, a function of the Python interpreter (1,000 → 9,000)" in (
        caused(profile(), profile(), counts).sentence
    )


def test_more_memory_of_python_or_numpy_is_named():
    found = caused(profile(peak=1 * MIB), profile(peak=2 * MIB))
    assert found.sentence == "same calls, more memory: peak of Python and numpy 1 MiB → 2 MiB"


def test_an_operator_that_only_takes_longer_is_memory_traffic_or_another_kernel():
    found = caused(profile(operators={"aten::copy_": (1, 1e-3)}), profile(operators={"aten::copy_": (1, 3e-3)}))
    expected = (
        "under the profiler, aten::copy_ takes 3 times as long for the same bytes: memory traffic, or another kernel"
    )
    assert found.sentence == f"same calls, operators and bytes; {expected}"


def test_a_trifle_that_is_called_more_often_does_not_hide_what_takes_longer():
    base = profile(operators={"aten::copy_": (1, 1e-3)})
    head = profile({"dict.get": (1, 1e-7)}, {"aten::copy_": (1, 3e-3)})
    assert caused(base, head).sentence.startswith("under the profiler, aten::copy_ takes 3 times as long")


def test_a_cause_without_any_difference_says_so():
    found = caused(profile(), profile(), counted({"f": 1000.0}, {"f": 1001.0}))
    assert found.sentence == (
        "same calls, operators and bytes: memory traffic, or the clock; instructions the same within 0.5 %: same work, "
        "more waiting"
    )


def test_without_counts_code_that_nobody_saw_is_not_excluded():
    assert caused(profile(), profile()).sentence.endswith("or code that no Python profiler sees")


def test_what_happens_in_some_calls_only_is_no_difference():
    base, head = profile({"thing.grow": (100.0, 1e-6)}), profile({"thing.grow": (100.4, 2e-6)})
    assert "thing.grow" not in caused(base, head).sentence


def test_the_table_of_operators_is_sorted_by_what_they_add():
    found = caused(
        profile(operators={"a": (1, 5e-3), "b": (1, 1e-3), "c": (1, 3e-3)}),
        profile(operators={"a": (1, 1e-3), "b": (1, 2e-3), "c": (1, 9e-3)}),
    )
    assert [change.name for change in found.operators] == ["c", "b", "a"]


def sizes(calls=None, operators=None, **sides):
    """Profile of a cell that reads its peak memory."""
    return profile(calls, operators, kind="peakmemory", **sides)


def test_of_a_memory_cell_bytes_are_named_before_what_runs_more_often():
    found = caused(
        sizes({"thing.copy": (1, 1e-6)}, {"aten::empty": (1, 1e-5, 8 * MIB)}, tensors=8 * MIB),
        sizes({"thing.copy": (2, 2e-6)}, {"aten::empty": (2, 1e-4, 24 * MIB)}, tensors=24 * MIB),
    )
    assert found.sentence == (
        "peak memory of tensors 16 MiB higher (8 MiB → 24 MiB); 16 MiB more in aten::empty (8 MiB → 24 MiB); "
        "1 more call of thing.copy (1 → 2)"
    )


def test_of_operators_that_allocate_that_is_named_first_which_adds_most_bytes_and_not_most_seconds():
    base = sizes(operators={"aten::empty": (1, 1e-5, 1 * MIB), "aten::resize_": (1, 1e-6, 1 * MIB)})
    head = sizes(operators={"aten::empty": (1, 1e-2, 2 * MIB), "aten::resize_": (1, 1e-6, 9 * MIB)})
    found = caused(base, head)
    assert found.sentence == "8 MiB more in aten::resize_ (1 MiB → 9 MiB)"
    assert found.operators[0].name == "aten::resize_"


def test_what_is_freed_later_is_no_allocation_more():
    operators = {"aten::empty": (4, 1e-5, 32 * MIB)}
    found = caused(sizes(operators=operators, tensors=8 * MIB), sizes(operators=operators, tensors=32 * MIB))
    assert found.sentence == (
        "peak memory of tensors 24 MiB higher (8 MiB → 32 MiB); no operator allocates more: what is allocated is "
        "freed later"
    )


def test_memory_of_python_is_named_from_a_kibibyte_on():
    more = "peak memory of Python and numpy 1 KiB higher (1 KiB → 2 KiB)"
    assert caused(sizes(peak=1024), sizes(peak=2048)).sentence == more
    assert "more of what" not in caused(sizes(peak=1024), sizes(peak=2047)).sentence


def test_calls_that_differ_are_not_taken_for_bytes():
    found = caused(sizes(), sizes({"thing.more": (1, 1e-6)}))
    assert found.sentence == "no more bytes allocated; 1 more call of thing.more (0 → 1)"


def test_where_nothing_in_the_call_differs_a_memory_cell_points_outside_it():
    found = caused(sizes(), sizes())
    assert found.sentence == ("same calls, operators and bytes: imports, setup, or code that no Python profiler sees")


def test_a_memory_cell_whose_functions_run_less_often_does_not_do_the_same():
    found = caused(sizes({"thing.f": (3, 1e-6)}), sizes({"thing.f": (1, 1e-6)}))
    assert found.sentence == "no more bytes allocated; 2 fewer calls of thing.f (3 → 1)"


def tracked(base, head, reached=""):
    sides = (profile(*one, peak=peak, kind="track") for one, peak in ((base, MIB), (head, 2 * MIB)))
    return cause("a.track_b", *sides, None, ["thing"], 1.2, reached=reached).sentence


def test_of_a_tracked_cell_what_runs_more_often_is_named_and_no_memory():
    assert tracked([{"thing.f": (1, 1e-6)}], [{"thing.f": (3, 1e-6)}]) == "2 more calls of thing.f (1 → 3)"


def test_of_a_tracked_cell_what_runs_less_often_is_named_if_nothing_runs_more_often():
    base = {"thing.hit": (3, 1e-6), "dict.get": (90, 1e-3)}, {"aten::add": (7, 1e-6)}
    assert tracked(base, [{"thing.hit": (1, 1e-6)}]) == "2 fewer calls of thing.hit (3 → 1)"


SAME_WORK = (
    "the value differs, and the work that makes it is the same: same calls, operators and bytes. The difference is in "
    "what the functions compute, or in what imports and setup leave to them"
)


@pytest.mark.parametrize(
    ("reached", "end"),
    [
        ("runs thing.f and 2 more", "; the change reaches the cell, which runs thing.f and 2 more"),
        ("imports thing.f, which differs", "; the change reaches the cell, which imports thing.f, which differs"),
        ("it was not recorded", ""),
        ("", ""),
    ],
)
def test_a_tracked_value_that_differs_by_the_same_work_points_at_what_the_change_reaches(reached, end):
    same = [{"thing.f": (1, 1e-6)}]
    assert tracked(same, same, reached) == SAME_WORK + end


@pytest.mark.parametrize("kind", ["peakmemory", "memory", "track"])
def test_seconds_of_untimed_cells_are_not_named(kind):
    base = profile(operators={"aten::copy_": (1, 1e-3)}, kind=kind)
    head = profile({"thing.more": (1, 1e-6)}, {"aten::copy_": (1, 9e-3)}, kind=kind)
    found = caused(base, head)
    assert "takes" not in found.sentence
    assert found.operators == ()


@pytest.mark.parametrize(
    ("time", "head", "word"),
    [
        (1.2, 1.2, "more work"),
        (1.5, 1.1, "more work, and more waiting"),
        (1.0, 1.1, "more work, not slower"),
        (0.9, 1.1, "more work, less waiting"),
        (1.2, 1.001, "same work, more waiting"),
        (1.0, 0.999, "same work"),
        (0.8, 1.0, "same work, less waiting"),
        (1.2, 0.9, "less work, more waiting"),
        (1.0, 0.9, "less work, not faster"),
        (0.9, 0.9, "less work"),
    ],
)
def test_time_and_instructions_have_one_meaning_together(time, head, word):
    assert meaning(time, 1000.0, 1000.0 * head) == word


def test_a_function_of_c_plus_plus_is_named_without_its_types():
    name = "void at::native::(anonymous namespace)::fill<float, std::vector<int> >(at::Tensor&, int) [clone .isra.0]"
    assert short(name) == "at::native::fill"
    assert short("_int_malloc") == "_int_malloc"
