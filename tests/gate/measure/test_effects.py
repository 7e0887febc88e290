import math
from dataclasses import replace

import pytest

from bench_core.gate.measure.effects import CellFaultError, agree, effect, reading, require_plan
from bench_core.workers.messages import Log, Sampling, SamplingPlan

WHERE = {"pair": 3, "parent": 2, "first": "head"}


def log(spans, *, number=1, rate=1.0, lasted=(0.1, 0.1, 0.1, 0.1)):
    """The samples of base, which is first in every other alternation.

    Args:
        lasted: of each block, in seconds by our clock.
    """
    positions = [0, 1] * (len(spans) // 2)
    by_timer = [rate * block for block in lasted]
    return Log(number, spans, positions, by_timer=by_timer, by_host=list(lasted))


def test_an_effect_is_the_median_of_the_log_ratios_of_neighbours():
    found = effect(log([1.0, 2.0, 4.0, 8.0], number=10), log([1.1, 2.2, 4.4, 80.0], number=10), **WHERE)
    assert found.log_ratio == pytest.approx(math.log(1.1))
    assert (found.base, found.head) == pytest.approx((0.3, 0.33))
    assert (found.samples, found.pair, found.parent, found.forked_first) == (4, 3, 2, "head")


def test_an_effect_is_per_call_where_the_sides_have_their_own_numbers_of_calls():
    found = effect(log([3e-4, 3e-4], number=1500), log([0.02, 0.02], number=2), **WHERE)
    assert (found.base, found.head) == pytest.approx((2e-7, 0.01))
    assert found.log_ratio == pytest.approx(math.log(50_000))


def test_the_scatter_inside_a_pair_is_that_of_its_median():
    calm = effect(log([1.0] * 4), log([1.1] * 4), **WHERE)
    wild = effect(log([1.0] * 4), log([1.0, 1.1, 1.2, 1.3]), **WHERE)
    assert calm.within == 0
    assert 0.02 < wild.within < 0.2


def test_the_scatter_inside_a_pair_is_computed_from_the_median_deviation():
    # Four log ratios, each 0.1 from their median 0: 1.2533 * 1.4826 * 0.1 / sqrt(4).
    found = effect(log([1.0] * 4), log([math.exp(0.1), math.exp(-0.1)] * 2), **WHERE)
    assert found.within == pytest.approx(0.0929, rel=1e-3)


def test_what_the_first_side_loses_shows_as_the_effect_of_order():
    base = log([1.2, 1.0, 1.2, 1.0])  # whoever is first is slower
    head = log([1.0, 1.2, 1.0, 1.2])
    assert effect(base, head, **WHERE).order == pytest.approx(-math.log(1.2))


@pytest.mark.parametrize("rate", [0.5, 0.97, 1.03])
@pytest.mark.parametrize("side", ["base", "head"])
def test_a_clock_that_runs_at_another_rate_is_an_error(side, rate):
    logs = {"base": log([1.0, 1.0]), "head": log([1.0, 1.0]), side: log([1.0, 1.0], rate=rate)}
    with pytest.raises(CellFaultError, match=f"its clock is wrong: it counts {rate:.3f} s per second") as found:
        effect(logs["base"], logs["head"], **WHERE)
    assert found.value.side == side


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.3, 0.7), (0.997, 0.002), (0.002, 0.997), (1.001, 0.999)])
def test_an_honest_clock_of_a_process_or_of_the_wall_is_believed(rates):
    base, head = (log([1.0, 1.0], rate=rate) for rate in rates)
    assert effect(base, head, **WHERE).log_ratio == 0


def test_a_side_whose_clocks_are_all_wrong_is_found_by_the_other():
    with pytest.raises(
        CellFaultError, match="it reports 0.200 s for a time in which the other side's reports 0.400 s"
    ) as found:
        effect(log([1.0, 1.0]), log([0.5, 0.5], lasted=[0.05] * 4), **WHERE)
    assert found.value.side == "head"


def test_a_side_that_somebody_came_before_in_some_blocks_does_not_lie():
    base, head = (log([1.0, 1.0], lasted=lasted) for lasted in ([0.1, 0.1, 0.3, 0.3], [0.1, 0.11, 0.08, 0.08]))
    assert effect(base, head, **WHERE).log_ratio == 0


@pytest.mark.parametrize(("block", "lies"), [(0.078, False), (0.077, True)])
def test_a_side_lies_if_its_blocks_are_shorter_by_a_tenth_and_by_more_than_an_interruption(block, lies):
    # 0.9 * 0.4 s - 0.05 s = 0.31 s
    base, head = log([1.0, 1.0]), log([1.0, 1.0], lasted=[block] * 4)
    if lies:
        with pytest.raises(CellFaultError, match="its clock is wrong"):
            effect(base, head, **WHERE)
    else:
        assert effect(base, head, **WHERE).log_ratio == 0


@pytest.mark.parametrize(("blocks", "lies"), [(1, False), (2, False), (3, True)])
def test_in_a_few_blocks_an_interruption_may_come_before_the_same_side(blocks, lies):
    base, head = (log([1.0, 1.0], lasted=[lasted] * blocks) for lasted in (0.25, 0.16))
    if lies:
        with pytest.raises(CellFaultError, match="its clock is wrong"):
            effect(base, head, **WHERE)
    else:
        assert effect(base, head, **WHERE).log_ratio == 0


def test_a_clock_that_is_wrong_by_seconds_is_found_in_a_single_block():
    with pytest.raises(CellFaultError, match="its clock is wrong"):
        effect(log([1.0, 1.0], lasted=[2.0]), log([0.5, 0.5], lasted=[1.0]), **WHERE)


def test_a_sample_without_time_is_an_error():
    with pytest.raises(CellFaultError, match="too coarse"):
        effect(log([1.0, 0.0]), log([1.0, 1.0]), **WHERE)


def test_sides_that_do_different_things_are_an_error_that_names_the_difference():
    same = {"returns": "Tensor of 2x3 float32", "threads": "1"}
    agree(same, dict(same))
    with pytest.raises(CellFaultError, match="^the sides do not do the same: threads: 1 on base, 8 on head$") as found:
        agree(same, same | {"threads": "8"})
    assert found.value.side is None
    with pytest.raises(CellFaultError, match="torch: None on base, 2.6 on head"):
        agree(same, same | {"torch": "2.6"})


def test_a_reading_is_a_ratio_where_there_is_one():
    assert reading(2.0, 3.0, **WHERE).log_ratio == pytest.approx(math.log(1.5))
    assert reading(0.2, 0.3, **WHERE).log_ratio == pytest.approx(math.log(1.5))
    assert (reading(2.0, 3.0, **WHERE).samples, reading(2.0, 3.0, **WHERE).forked_first) == (1, "head")
    assert math.isnan(reading(0.0, 3.0, **WHERE).log_ratio)
    assert math.isnan(reading(1.0, math.inf, **WHERE).log_ratio)
    assert reading(1e300, 1e-300, **WHERE).log_ratio == pytest.approx(-600 * math.log(10))
    assert reading(1e-300, 1e300, **WHERE).log_ratio == pytest.approx(600 * math.log(10))


@pytest.mark.parametrize(("base", "head", "side"), [(None, 1.0, "base"), (1.0, None, "head"), (None, None, None)])
def test_no_reading_is_an_error_of_the_side_that_has_none(base, head, side):
    with pytest.raises(CellFaultError, match="tracks nothing") as found:
        reading(base, head, **WHERE)
    assert found.value.side == side


def interrupted(computing, *, waited):
    """Samples of base that compute, and that others interrupt for these seconds each."""
    walls = [one + other for one, other in zip(computing, waited, strict=True)]
    made = log(walls)
    made.walls.extend(walls)
    made.computing.extend(computing)
    return made


SLICES = [0.0, 0.006, 0.003, 0.003]  # what a scheduler gives to others, while samples take 4 ms


def test_samples_that_others_interrupted_are_compared_by_the_processor_time():
    base = interrupted([0.004] * 4, waited=SLICES)
    head = interrupted([0.0044] * 4, waited=SLICES[::-1])
    found = effect(base, head, **WHERE)
    assert found.log_ratio == pytest.approx(math.log(1.1))
    assert (found.base, found.head, found.within) == pytest.approx((0.004, 0.0044, 0.0))


def test_the_wall_clock_is_kept_beside_the_processor_time():
    base = interrupted([0.004] * 4, waited=[0.001] * 4)
    head = interrupted([0.004] * 4, waited=[0.002] * 4)
    assert effect(base, head, **WHERE).wall == pytest.approx(math.log(6 / 5))


@pytest.mark.parametrize(
    ("slices", "expected"),
    [
        ([0.001, 0.001, 0.001, 0.009], 28 / 28),  # the whole time; the median is 7 / 5
        ([0.003, 0.003, 0.003, 0.013], 7 / 7),  # the median; the whole time is 28 / 38
        ([0.0, 0.0, 0.0, 0.0], 7 / 4),
    ],
)
def test_of_two_effects_by_the_wall_clock_the_nearer_one_to_the_processor_time_counts(slices, expected):
    base = interrupted([0.004] * 4, waited=slices)
    head = interrupted([0.004] * 4, waited=[0.003] * 4)
    assert effect(base, head, **WHERE).wall == pytest.approx(math.log(expected))


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize(("waiting", "expected"), [(1, 1.0), (2, 6 / 5)])
def test_the_processor_time_counts_unless_more_than_a_quarter_of_the_samples_waited_by_themselves(
    side, waiting, expected
):
    logs = {"base": interrupted([0.004] * 4, waited=[0.001] * 4), "head": interrupted([0.004] * 4, waited=[0.002] * 4)}
    logs[side].computing[:waiting] = [math.nan] * waiting
    found = effect(logs["base"], logs["head"], **WHERE)
    assert found.log_ratio == pytest.approx(math.log(expected))
    assert math.isnan(found.wall) == (waiting == 2)


def test_a_sample_that_waited_keeps_its_time_by_the_clock():
    base = interrupted([0.004] * 4, waited=[0.002] * 4)
    head = interrupted([0.004] * 4, waited=[0.004] * 4)
    head.computing[0] = math.nan
    assert effect(base, head, **WHERE).head == pytest.approx(0.004)
    assert effect(base, head, **WHERE).samples == 4


def test_samples_that_are_hardly_interrupted_are_compared_by_the_wall_clock():
    base = interrupted([0.004] * 4, waited=[0.0001] * 4)
    head = interrupted([0.004] * 4, waited=[0.0002] * 4)
    assert effect(base, head, **WHERE).log_ratio == pytest.approx(math.log(42 / 41))


def test_a_timer_of_its_own_counts_even_if_samples_are_interrupted():
    base, head = log([0.004] * 4), log([0.0044] * 4)
    for one in (base, head):
        one.walls.extend([0.01] * 4)  # and no processor time
    assert effect(base, head, **WHERE).log_ratio == pytest.approx(math.log(1.1))


def test_a_report_with_processor_times_for_some_samples_alone_makes_no_sense():
    base, head = (interrupted([0.004] * 4, waited=SLICES) for _ in range(2))
    head.computing.pop()
    with pytest.raises(CellFaultError, match="its report makes no sense") as found:
        effect(base, head, **WHERE)
    assert found.value.side == "head"


def test_what_is_read_around_a_short_sample_is_no_part_of_either_effect():
    base, head = (interrupted([seconds] * 4, waited=[3 * seconds] * 4) for seconds in (1e-6, 8e-7))
    for one in (base, head):
        one.walls[:] = [wall + 3e-7 for wall in one.walls]
    found = effect(base, head, **WHERE)
    assert (found.log_ratio, found.wall) == pytest.approx((math.log(0.8), math.log(0.8)))


def test_the_total_is_that_of_all_samples_without_what_others_had_of_them():
    base = interrupted([0.004] * 4, waited=SLICES)
    head = interrupted([0.004, 0.004, 0.004, 0.016], waited=SLICES[::-1])
    found = effect(base, head, **WHERE)
    assert (found.log_ratio, found.total) == pytest.approx((0.0, math.log(28 / 16)))


def test_the_total_is_for_each_call():
    base, head = interrupted([0.004] * 4, waited=[0.0] * 4), interrupted([0.004] * 4, waited=[0.0] * 4)
    assert effect(base, replace(head, number=4), **WHERE).total == pytest.approx(math.log(1 / 4))


@pytest.mark.parametrize(("lost", "known"), [(0.0, True), (0.0008, True), (0.0009, False), (math.nan, False)])
def test_samples_that_waited_have_a_total_unless_others_had_the_core(lost, known):
    base, head = (interrupted([math.nan] * 4, waited=[0.0] * 4) for _ in range(2))
    for one, spans in ((base, [0.004] * 4), (head, [0.004, 0.004, 0.004, 0.004])):
        one.spans[:] = one.walls[:] = spans
        one.lost[:] = [lost, 0.0]
    assert math.isnan(effect(base, head, **WHERE).total) == (not known)


def test_a_cell_with_a_timer_of_its_own_has_no_total():
    base, head = log([0.004] * 4), log([0.0044] * 4)
    assert math.isnan(effect(base, head, **WHERE).total)


def test_an_infinite_processor_time_makes_no_sense():
    base, head = (interrupted([0.004] * 4, waited=SLICES) for _ in range(2))
    head.computing[0] = math.inf
    with pytest.raises(CellFaultError, match="its report makes no sense"):
        effect(base, head, **WHERE)


def counted(spans, *, besides, others=None, other_besides=0.0, untimed=0.0):
    """Samples of base, of which the kernel has counted so many seconds more, and of head if `others` are given."""
    made = replace(log(spans), untimed=untimed)
    made.used.extend(span * (1 + untimed) + besides for span in spans)
    if others is not None:
        made.others_used.extend(span + other_besides for span in others)
    return made


WILD = [0.001, 0.004, 0.002, 0.003]


def test_what_the_kernel_counts_is_compared_sample_by_sample():
    base = counted(WILD, besides=1e-4, others=WILD[::-1], other_besides=1e-4)
    head = replace(log(WILD[::-1]), untimed=0.0)
    assert effect(base, head, **WHERE).unreported == pytest.approx(0.0, abs=1e-9)
    base = counted(WILD, besides=1e-4, others=WILD[::-1], other_besides=1e-4 + 0.00025)
    assert effect(base, head, **WHERE).unreported == pytest.approx(math.log(1.1))


def test_an_untimed_call_is_part_of_what_the_kernel_counts():
    base = counted([0.001] * 4, besides=1e-4, others=[0.0015] * 4, other_besides=1e-4, untimed=0.5)
    head = replace(log([0.001] * 4), untimed=0.5)
    assert effect(base, head, **WHERE).unreported == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("unknown", "known"), [(2, True), (3, False)])
def test_two_samples_of_each_side_must_be_known_to_the_kernel(unknown, known):
    base = counted([0.001] * 4, besides=1e-4, others=[0.001] * 4, other_besides=1e-4)
    base.others_used[:unknown] = [math.nan] * unknown
    head = replace(log([0.001] * 4), untimed=0.0)
    assert math.isnan(effect(base, head, **WHERE).unreported) == (not known)


def test_a_head_that_reports_more_computing_than_its_samples_last_is_compared_by_the_samples():
    base = interrupted([0.003] * 4, waited=[0.0] * 4)
    base = replace(base, untimed=0.0, used=[0.003] * 4, others_used=[0.003] * 4)
    head = replace(interrupted([0.001] * 4, waited=[0.0] * 4), untimed=0.0, computing=[0.003] * 4)
    assert effect(base, head, **WHERE).unreported == pytest.approx(math.log(3))


PLAN = SamplingPlan(4, 1, (Sampling(4, warm=True), Sampling(4, warm=True)), 0.0)


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize("forged", [{"number": 8}, {"untimed": 3.0}, {"untimed": math.nan}, {"untimed": 0.0}])
def test_a_side_that_reports_other_calls_than_it_was_asked_for_is_at_fault(side, forged):
    logs = dict.fromkeys(("base", "head"), log([1.0] * 4, number=4))
    logs = {name: replace(one, untimed=1 / 4) for name, one in logs.items()}
    require_plan(logs["base"], logs["head"], PLAN)
    if side == "base" and forged.get("untimed", 0) is math.nan:
        return  # base is trusted to know that there are setups between its calls
    with pytest.raises(CellFaultError, match="not those that were asked for") as found:
        require_plan(*({**logs, side: replace(logs[side], **forged)}.values()), PLAN)
    assert found.value.side == side


def test_calls_with_setups_between_them_have_no_known_untimed_time():
    base = head = log([1.0] * 4, number=4)
    require_plan(base, head, PLAN)
    with pytest.raises(CellFaultError):
        require_plan(base, replace(head, untimed=0.25), PLAN)
