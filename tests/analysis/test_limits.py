"""What a cell is held to, from yardsticks whose speed is known."""

import math
from dataclasses import replace

import pytest

from bench_core.analysis.limits import level, limits
from bench_core.records.report import RunKey
from bench_core.records.run import Interval

GIGA = 1e9
SIZES = ("8x4", "64x64", "256x256", "1024x1024", "4096x4096")


def weight(size, item=4):
    return math.prod(map(int, size.split("x"))) * item


@pytest.fixture
def memory(make_cell):
    """A yardstick of memory with a bandwidth for each size."""

    def of(operation, bandwidths, *, device="cpu", threads="1"):
        reads, writes = {"fill": (0, 1), "update": (1, 1), "copy": (1, 1), "triad": (2, 1)}[operation]
        return [
            make_cell(
                f"limits.Memory.time_{operation}",
                {"device": device, "threads": threads, "size": size},
                (reads + writes) * weight(size) / bandwidth,
                reads=reads,
                writes=writes,
            )
            for size, bandwidth in bandwidths.items()
        ]

    return of


@pytest.fixture
def generator(make_cell):
    def of(name, speeds, device="cpu"):
        return [
            make_cell(
                "limits.Generators.time_draw",
                {"device": device, "generator": name, "size": size},
                weight(size, 1) / speed,
                writes=1,
                draws=1,
            )
            for size, speed in speeds.items()
        ]

    return of


@pytest.fixture
def loop(make_cell):
    """An empty loop at 10 ns a turn."""
    return [make_cell("limits.EmptyLoop.time_loop", {"iterations": str(n)}, n * 1e-8) for n in (10, 100, 1000)]


@pytest.fixture
def limit(make_subject):
    """The limit of one cell, beside yardsticks."""

    def of(cell, *sticks, **options):
        found = limits(make_subject([cell, *(each for group in sticks for each in group)], **options))
        assert {each.cell for each in found} <= {cell.name}
        return found[0] if found else None

    return of


@pytest.fixture
def job(make_cell):
    def of(size, seconds, *, device="cpu", operation="write", **options):
        return make_cell(f"f.C.time_{operation}", {"device": device, "size": size}, seconds, **options)

    return of


def test_a_job_that_writes_is_compared_with_a_fill_of_its_size(limit, memory, job):
    fill = memory("fill", {"256x256": 80 * GIGA, "4096x4096": 20 * GIGA})
    found = limit(job("256x256", 2 * weight("256x256") / (80 * GIGA), writes=1), fill)
    assert (found.bound, found.yardstick) == ("memory", "limits.Memory.time_fill(cpu, 1, 256x256)")
    assert found.ceiling == pytest.approx(80 * GIGA)
    assert found.achieved == pytest.approx(40 * GIGA)
    assert found.share.middle == pytest.approx(0.5)
    assert found.to_gain == pytest.approx(weight("256x256") / (80 * GIGA))
    assert found.subject == "box, torch 2.13.0"


def test_a_job_that_also_reads_is_compared_with_the_fastest_reader_and_never_with_a_fill(limit, memory, job):
    sticks = [
        memory("fill", {"256x256": 900 * GIGA}),
        memory("update", {"256x256": 100 * GIGA}),
        memory("copy", {"256x256": 60 * GIGA}),
        memory("triad", {"256x256": 120 * GIGA}),
    ]
    found = limit(job("256x256", 1e-5, reads=1, writes=1), *sticks)
    assert found.ceiling == pytest.approx(120 * GIGA)
    assert found.yardstick == "limits.Memory.time_triad(cpu, 1, 256x256)"


def test_a_job_that_only_writes_is_not_compared_with_a_reader(limit, memory, job):
    assert limit(job("256x256", 1e-5, writes=1), memory("update", {"256x256": GIGA})) is None


def test_between_two_sizes_the_ceiling_is_interpolated_over_logarithms(limit, memory, job):
    fill = memory("fill", {"256x256": 80 * GIGA, "1024x1024": 20 * GIGA})
    found = limit(job("512x512", 1e-3, writes=1), fill)
    assert found.ceiling == pytest.approx(40 * GIGA)
    assert found.share.confidence == pytest.approx(0.97)  # of three intervals of 99 %
    assert found.yardstick == (
        "limits.Memory.time_fill(cpu, 1, 256x256) and limits.Memory.time_fill(cpu, 1, 1024x1024)"
    )


@pytest.mark.parametrize(
    ("size", "ceiling", "known"), [("128x128", 120, True), ("512x512", 40, True), ("2048x2048", 10, False)]
)
def test_a_ceiling_is_interpolated_between_the_two_sizes_around_the_cells(limit, memory, job, size, ceiling, known):
    bandwidths = {"64x64": 180, "256x256": 80, "1024x1024": 20, "4096x4096": 5}
    fill = memory("fill", {size: bandwidth * GIGA for size, bandwidth in bandwidths.items()})
    found = limit(job(size, 1e-3, writes=1), fill, caches={"L3": 32 << 20})
    assert found.ceiling == pytest.approx(ceiling * GIGA)
    assert found.share.known == known


def test_a_weight_is_measured_in_bytes_and_not_in_elements(limit, memory, make_cell):
    fill = memory("fill", {"256x256": 80 * GIGA, "512x512": 10 * GIGA})
    half = make_cell("f.C.time_it", {"size": "512x256", "dtype": "bfloat16"}, 1e-3, writes=1)
    assert limit(half, fill).ceiling == pytest.approx(80 * GIGA)


def test_beyond_the_largest_size_the_bandwidth_stays(limit, memory, job):
    fill = memory("fill", {"256x256": 80 * GIGA, "4096x4096": 20 * GIGA})
    assert limit(job("8192x8192", 1.0, writes=1), fill).ceiling == pytest.approx(20 * GIGA)


def test_below_the_smallest_size_the_time_of_a_call_stays(limit, memory, job):
    fill = memory("fill", {"8x4": 0.128 * GIGA, "256x256": GIGA})  # 1 µs
    found = limit(job("4x4", 2e-6, writes=1), fill)
    assert found.share.middle == pytest.approx(0.5)
    assert found.yardstick == "limits.Memory.time_fill(cpu, 1, 8x4)"


@pytest.mark.parametrize(
    ("size", "known"), [("32x32", False), ("64x64", True), ("128x128", True), ("256x256", True), ("512x512", False)]
)
def test_beyond_the_sizes_of_a_yardstick_nothing_says_how_sure_a_share_is(limit, generator, job, size, known):
    sticks = generator("torch.normal_", {"64x64": 3e8, "256x256": 3e8})
    assert limit(job(size, 1.0, draws=1), sticks).share.known == known


@pytest.mark.parametrize(
    ("caches", "known"),
    [
        ({"L3": 32 << 20}, True),
        ({"L2": 1 << 20, "L3": 32 << 20}, False),
        ({"L2": 1 << 20}, False),
        ({}, False),
    ],
    ids=["one cache has room for both", "two caches", "a cache and memory", "not known"],
)
def test_between_two_sizes_a_share_is_sure_in_one_cache_alone(limit, memory, job, caches, known):
    fill = memory("fill", {"256x256": 80 * GIGA, "1024x1024": 20 * GIGA})
    assert limit(job("512x512", 1e-3, writes=1), fill, caches=caches).share.known == known
    assert limit(job("256x256", 1e-3, writes=1), fill, caches=caches).share.known


def test_the_caches_of_the_cpu_do_not_matter_on_another_device(limit, memory, job):
    fill = memory("fill", {"256x256": 80 * GIGA, "1024x1024": 20 * GIGA}, device="cuda")
    cell = job("512x512", 1e-3, writes=1, device="cuda")
    assert not limit(cell, fill, caches={"L3": 32 << 20}).share.known


@pytest.mark.parametrize(
    ("device", "threads"), [("cuda", "1"), ("cpu", "all")], ids=["another device", "another number of threads"]
)
def test_a_yardstick_on_another_device_or_with_other_threads_is_ignored(limit, memory, job, device, threads):
    assert (
        limit(job("256x256", 1e-5, writes=1), memory("fill", {"256x256": GIGA}, device=device, threads=threads)) is None
    )


def test_a_cell_with_all_threads_is_compared_with_all_threads(limit, memory, make_cell):
    cell = make_cell("f.C.time_it", {"threads": "all", "size": "256x256"}, 1e-3, writes=1)
    sticks = memory("fill", {"256x256": 20 * GIGA}), memory("fill", {"256x256": 40 * GIGA}, threads="all")
    assert limit(cell, *sticks).ceiling == pytest.approx(40 * GIGA)


def test_the_interval_of_a_share_comes_from_both_sides(limit, memory, job):
    found = limit(job("256x256", 1e-4, writes=1, spread=0.1), memory("fill", {"256x256": 20 * GIGA}))
    exact = weight("256x256") / (20 * GIGA) / 1e-4
    assert found.share.low == pytest.approx(exact * 0.99 / 1.1)
    assert found.share.high == pytest.approx(exact * 1.01 / 0.9)
    assert found.share.confidence == pytest.approx(0.98)


@pytest.mark.parametrize("unknown", [0, 1])
def test_an_interval_that_is_not_known_leaves_the_share_open(limit, memory, job, unknown):
    cell, one_cache = job("512x512", 1e-4, writes=1), {"L3": 32 << 20}
    fill = memory("fill", {"256x256": 80 * GIGA, "1024x1024": 20 * GIGA})
    assert limit(cell, fill, caches=one_cache).share.known
    fill[unknown] = replace(fill[unknown], value=Interval(-math.inf, fill[unknown].value.middle, math.inf, 0.99))
    found = limit(cell, fill, caches=one_cache)
    assert (found.share.low, found.share.high) == (-math.inf, math.inf)
    assert found.ceiling == pytest.approx(40 * GIGA)


def test_above_its_ceiling_a_cell_has_nothing_to_gain(limit, memory, job):
    found = limit(job("256x256", weight("256x256") / (40 * GIGA), writes=1), memory("fill", {"256x256": 20 * GIGA}))
    assert found.share.middle == pytest.approx(2)
    assert found.to_gain == 0


def test_a_job_that_draws_is_compared_with_the_fastest_generator_of_any_distribution(limit, generator, job):
    sticks = generator("torch.normal_", {"256x256": 3e8}), generator("numpy.PCG64.random", {"256x256": 5e8})
    found = limit(job("256x256", 65536 / 1e8, draws=1), *sticks)
    assert (found.bound, found.ceiling, found.achieved) == ("generator", pytest.approx(5e8), pytest.approx(1e8))
    assert found.yardstick == "limits.Generators.time_draw(cpu, numpy.PCG64.random, 256x256)"
    assert found.level == ""


def test_a_generator_on_another_device_is_ignored(limit, generator, job):
    assert limit(job("256x256", 1e-3, draws=1), generator("torch.normal_", {"256x256": 3e8}, device="cuda")) is None


def test_a_job_that_draws_on_all_threads_is_compared_with_a_generator_on_one(limit, generator, make_cell):
    cell = make_cell("f.C.time_it", {"threads": "all", "size": "256x256"}, 65536 / 1e8, draws=1)
    assert limit(cell, generator("torch.normal_", {"256x256": 2e8})).share.middle == pytest.approx(0.5)


def test_two_numbers_an_element_are_twice_as_many_numbers(limit, generator, job):
    found = limit(job("128x256", 1e-3, draws=2), generator("torch.normal_", {"256x256": 3e8}))
    assert found.achieved == pytest.approx(65536 / 1e-3)


@pytest.mark.parametrize(
    ("numbers_a_second", "bound"), [(2e8, "generator"), (2e10, "memory")], ids=["slow generator", "fast generator"]
)
def test_of_several_limits_the_one_that_is_nearest_binds(limit, memory, generator, job, numbers_a_second, bound):
    sticks = memory("fill", {"256x256": 20 * GIGA}), generator("torch.normal_", {"256x256": numbers_a_second})
    assert limit(job("256x256", 1e-3, writes=1, draws=1), *sticks).bound == bound


@pytest.mark.parametrize("counted", ["modules", "parameters", "tensors", "keys"])
def test_a_python_loop_over_things_is_compared_with_an_empty_loop_of_the_same_length(limit, loop, make_cell, counted):
    found = limit(make_cell("f.C.time_it", {counted: "100"}, 1e-4), loop)
    assert (found.bound, found.yardstick) == ("interpreter", "limits.EmptyLoop.time_loop(100)")
    assert found.ceiling == pytest.approx(1e8)
    assert found.achieved == pytest.approx(1e6)
    assert found.share.middle == pytest.approx(0.01)


def test_no_job_can_be_an_empty_loop_so_nothing_is_to_gain_on_one(limit, loop, make_cell):
    found = limit(make_cell("f.C.time_it", {"modules": "100"}, 1e-4), loop)
    assert found.share.high < 1
    assert found.to_gain == 0


def test_what_is_done_before_the_loop_would_be_does_not_go_through_them_at_any_number(make_subject, loop, make_along):
    lookup = make_along("f.C.time_it", "modules", {10: 2e-6, 1000: 2e-6}, {"idiom": "get_parameter"})
    walk = make_along("f.C.time_it", "modules", {10: 2e-6, 1000: 2e-4}, {"idiom": "walk"})
    found = limits(make_subject([*lookup, *walk, *loop]))
    assert [each.cell for each in found] == ["f.C.time_it(walk, 10)", "f.C.time_it(walk, 1000)"]


def test_a_width_is_nothing_that_python_goes_through(limit, loop, make_cell):
    assert limit(make_cell("f.C.time_it", {"width": "100"}, 1e-4), loop) is None


def test_what_is_no_time_and_what_declares_nothing_has_no_limit(make_subject, memory, loop, make_cell):
    cells = [
        make_cell("f.C.peakmem_it", {"size": "256x256"}, 1e6, writes=1, kind="peakmemory", unit="bytes"),
        make_cell("f.C.time_it", {"size": "256x256"}, 1e-3),
        make_cell("f.C.track_it", {"size": "256x256"}, 1e-3, writes=1, kind="track"),
        make_cell("f.C.time_negative", {"size": "256x256"}, -1e-3, writes=1),  # a clock was set back
    ]
    assert limits(make_subject([*cells, *memory("fill", {"256x256": GIGA}), *loop])) == ()


def test_how_sure_a_share_is_is_not_known_where_the_yardstick_is_of_another_run(make_subject, memory, job):
    cell, *sticks = cells = [job("256x256", 1e-3, writes=1), *memory("fill", {"256x256": GIGA})]
    subject = make_subject(cells)
    assert limits(subject)[0].share.known
    earlier = {stick.name: replace(subject.cells[stick.name], run=RunKey("another.json", "")) for stick in sticks}
    (found,) = limits(replace(subject, cells={**subject.cells, **earlier}))
    assert found.cell == cell.name
    assert not found.share.known
    assert found.share.middle == limits(subject)[0].share.middle


def test_a_yardstick_without_a_size_is_ignored(make_subject, make_cell, memory):
    cell = make_cell("f.C.time_it", {"modules": "10", "size": "256x256"}, 1e-3, writes=1, draws=1)
    strange = [
        make_cell("limits.EmptyLoop.time_loop", {"n": "10"}, 1e-6),
        make_cell("limits.Generators.time_draw", {}, 1e-6),
        make_cell("limits.Memory.time_fill", {"size": "8x4"}, 1e-6),
    ]
    assert limits(make_subject([cell, *strange])) == ()
    (found,) = limits(make_subject([cell, *strange, *memory("fill", {"256x256": GIGA})]))
    assert found.bound == "memory"


def test_without_yardsticks_there_are_no_limits(make_subject, job):
    assert limits(make_subject([job("256x256", 1e-3, writes=1, draws=1)])) == ()


CACHES = {"L1d": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}


@pytest.mark.parametrize(
    ("size", "where"), [(128, "L1d"), (32 << 10, "L2"), (1 << 18, "L2"), (1 << 22, "L3"), (1 << 30, "memory")]
)
def test_the_level_is_the_smallest_cache_that_has_room_for_more_than_the_weight(size, where):
    assert level(size, CACHES) == where
    assert level(size, dict(reversed(CACHES.items()))) == where
    names = {"L1d": "c", "L2": "b", "L3": "a"}
    assert level(size, {names[name]: room for name, room in CACHES.items()}) == names.get(where, where)
    assert level(size, {}) == ""


def test_the_level_of_a_cell_is_that_of_its_weight_and_none_on_another_device(limit, memory, job):
    bandwidths = {"256x256": 80 * GIGA}
    here = limit(job("256x256", 1e-3, writes=1), memory("fill", bandwidths))
    there = limit(job("256x256", 1e-3, writes=1, device="cuda"), memory("fill", bandwidths, device="cuda"))
    assert (here.level, there.level) == ("L2", "")
