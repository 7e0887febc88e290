"""The specifications of the charts, and the words and numbers around them."""

import math
from dataclasses import replace

import pytest

from bench_core import units
from bench_core.records.run import Interval
from bench_core.report.page import charts, vega, views
from bench_core.report.page.findings import anchor, findings


def drawn(report):
    figures = views.Figures(report)
    for view in (views.costs, views.rooflines, views.jobs, views.crossings):
        view(report, figures)
    return figures.charts


def test_every_specification_is_valid_vega_lite(schema, small, two):
    one_size = replace(small, jobs=tuple(replace(job, rankings=job.rankings[:1], axis="") for job in small.jobs))
    specs = [chart.spec for report in (small, two, one_size) for chart in drawn(report)]
    specs += [spec() for spec in charts.SHARED.values()]
    for spec in specs:
        wrong = [error.message for error in schema.iter_errors({**spec, "config": vega.STYLE})]
        assert wrong == []


def test_a_row_has_a_value_for_every_column(small):
    for chart in drawn(small):
        assert {len(row) for row in chart.rows} == {len(chart.columns)}


def test_every_colour_has_its_own_shape():
    found = vega.told_apart("field", [str(number) for number in range(20)])
    colours, shapes = (found[channel]["scale"]["range"] for channel in ("color", "shape"))
    assert len(set(zip(colours, shapes, strict=True))) == 20
    assert len(set(shapes[:8])) == 8


def test_a_cache_is_marked_where_the_elements_of_a_line_fill_it(small):
    marked = drawn(small)[0].spec["layer"][0]["data"]["values"]
    assert [(edge["name"], edge["n"]) for edge in marked] == [
        ("L1d full", 8192),
        ("L2 full", 262_144),
        ("L3 full", 8_388_608),
    ]


def test_caches_are_marked_for_each_width_of_an_element(small):
    narrow = replace(small.series[0], item_bytes=2)
    marked = drawn(replace(small, series=(narrow, *small.series[1:])))[0].spec["layer"][0]["data"]["values"]
    assert [(edge["name"], edge["n"], edge["row"]) for edge in marked[:2]] == [
        ("L1d full, 2 B each", 16_384, 0),
        ("L1d full, 4 B each", 8192, 1),
    ]


def test_a_job_and_a_line_are_in_the_unit_of_their_cells(small):
    line = replace(small.series[0], unit="bytes")
    for chart in drawn(replace(small, series=(line,), jobs=small.jobs[-1:], limits=(), crossings=())):
        assert chart.columns["value"] == "bytes"
        assert {param["name"]: param["value"] for param in chart.spec["params"]} == {"unit": "bytes"}


def test_a_ceiling_is_a_line_through_all_sizes_of_a_yardstick(small):
    by_bound = {
        view.bound: view.figures[0].chart.spec["layer"][0] for view in views.rooflines(small, views.Figures(small))
    }
    lines = {bound: layer["data"]["values"] for bound, layer in by_bound.items()}
    assert {bound: {row["yardstick"] for row in rows} for bound, rows in lines.items()} == {
        "memory": {"copy(cpu, 1)", "fill(cpu, 1)"},
        "generator": {"draw(cpu, torch.uniform_)"},
        "interpreter": {"loop"},
    }
    copy = [row for row in lines["memory"] if "copy" in row["yardstick"]]
    assert [row["work"] for row in copy] == pytest.approx(
        [8 * n for n in (32, 65_536, 1_048_576, 16_777_216)], rel=1e-4
    )
    assert [row["where"] for row in copy] == ["in L1d", "in L2", "in L3", "in memory"]
    cell = small.subjects[0].cells["limits.Memory.time_copy(cpu, 1, 1024x1024)"].cell
    assert copy[2]["achieved"] == pytest.approx(cell.bandwidth, rel=1e-4)
    assert len(by_bound["memory"]["encoding"]["stroke"]["scale"]["domain"]) == 2


def test_a_ceiling_has_no_level_where_caches_are_not_known_or_do_not_matter(small):
    (subject,) = small.subjects
    assert {stick.level for stick in views._yardsticks(replace(subject, caches={}), "memory")} == {""}
    copy = subject.cells["limits.Memory.time_copy(cpu, 1, 8x4)"]
    on_gpu = replace(copy, cell=replace(copy.cell, params={"device": "cuda", "size": "8x4"}))
    (stick,) = views._yardsticks(replace(subject, cells={"it": on_gpu}), "memory")
    assert (stick.line, stick.level) == ("copy(cuda)", "")


def test_ceilings_differ_in_dash_or_in_grey():
    lines = [str(number) for number in range(3 * len(vega.DASHES))]
    drawn_as = list(zip(map(str, vega.repeated(vega.DASHES, lines)), vega.greys(lines), strict=True))
    assert len(set(drawn_as)) == len(lines)


def test_a_line_that_is_on_no_cpu_has_no_edges_of_its_caches(small):
    lines = [replace(line, fixed={**line.fixed, "device": "cuda"}) for line in small.series]
    assert not [chart for chart in drawn(replace(small, series=tuple(lines))) if "L2 full" in str(chart.spec)]


def test_an_unknown_end_of_an_interval_is_nothing_in_the_data(small):
    line = small.series[0]
    unknown = replace(line.points[0], value=Interval(-math.inf, 1e-6, math.inf, 0.99))
    chart = drawn(replace(small, series=(replace(line, points=(unknown, *line.points[1:])),)))[0]
    assert chart.rows[0][3:6] == [1e-6, None, None]


@pytest.mark.parametrize(
    ("values", "unit", "ticks"),
    [
        ([1e-6, 1e-1], "", [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ([0.9, 2.2], "", [1, 1.5, 2]),
        ([3e-7, 40], "", [1e-6, 1e-4, 1e-2, 1]),
        ([1000, 5000], "bytes", [1024, 2048, 4096]),
        ([5.0], "", None),
        ([], "", None),
    ],
)
def test_an_axis_has_few_round_ticks(values, unit, ticks):
    assert vega.ticks(values, unit).get("values") == (ticks and pytest.approx(ticks))


def test_a_benchmark_gives_one_finding_of_a_kind(small):
    gains = [finding for finding in findings(small) if finding.kind == "to gain"]
    assert len({finding.sentence.split("(")[0] for finding in gains}) == len(gains) == 2
    assert gains[0].figure == units.time(max(limit.to_gain for limit in small.limits))


def test_a_limit_with_nothing_to_gain_is_no_finding(small):
    limits = tuple(replace(limit, to_gain=0.0) for limit in small.limits)
    assert "to gain" not in {finding.kind for finding in findings(replace(small, limits=limits))}


def test_advice_that_holds_at_every_size_comes_first(small):
    *others, last = (job for job in small.jobs if job.axis)
    alone = [replace(ranking, rivals=(ranking.rivals[0], ranking.rivals[-1])) for ranking in last.rankings]
    steady = replace(last, flips=(), rankings=tuple(alone))
    (first, *_) = [
        found for found in findings(replace(small, jobs=(*others, steady))) if "slowest over fastest" in found.kind
    ]
    assert first.link == f"#job-{len(others)}"


def test_a_law_that_does_not_hold_has_no_departures_to_tell(small):
    broken = tuple(replace(growth, follows=False) for growth in small.growths)
    assert not [found for found in findings(replace(small, growths=broken)) if found.kind == "off its law"]


def test_the_newest_step_comes_before_a_larger_one(small):
    history = small.histories[0]
    newest = replace(history.tracks[1], changes=(replace(history.tracks[0].changes[0], moment=11, ratio=0.9),))
    tracks = (history.tracks[0], newest)
    found = findings(replace(small, histories=(replace(history, tracks=tracks),)))
    (first,) = [finding for finding in found if finding.kind in ("slower", "faster")]
    assert (first.kind, first.figure) == ("faster", "1.11x")


def test_a_regression_that_the_last_gate_found_comes_first_and_an_older_one_not_at_all(small):
    history = small.histories[0]
    quiet = tuple(replace(moment, verdicts=()) for moment in history.moments)
    red = replace(quiet[1], verdicts=(("main", "regression", "2 cells slower"),))
    green = replace(quiet[2], verdicts=(("main", "pass", ""),))
    last = replace(small, histories=(replace(history, moments=(quiet[0], red, *quiet[2:])),))
    first = findings(last)[0]
    assert (first.kind, first.figure) == ("regression", red.commit.hash[:8])
    assert first.sentence == "Against main: 2 cells slower."
    older = replace(small, histories=(replace(history, moments=(quiet[0], red, green, *quiet[3:])),))
    assert "gate" not in findings(older)[0].kind


def test_a_yardstick_that_is_off_its_law_is_no_finding(small):
    growth = next(one for one in small.growths if any(residual.departs for residual in one.residuals))
    own = replace(growth, series=replace(growth.series, benchmark="limits.Memory.time_fill"))
    told = [found for found in findings(replace(small, growths=(own,))) if found.kind == "off its law"]
    assert told == []


def test_a_step_is_described_in_the_words_of_its_unit(small):
    history = small.histories[0]
    step = history.tracks[0].changes[0]
    tracks = tuple(
        replace(history.tracks[0], cell=f"a.B{number}.c", unit=unit, changes=(replace(step, ratio=ratio),))
        for number, (unit, ratio) in enumerate((("bytes", 0.25), ("steps", 4.5)))
    )
    found = findings(replace(small, histories=(replace(history, tracks=tracks),)))
    assert [(one.kind, one.figure) for one in found if one.link == "#history-0" and one.kind != "regression"] == [
        ("higher", "4.50x"),
        ("less", "4.00x"),
    ]


def test_an_anchor_has_no_space_and_is_an_address():
    assert anchor("a.b(cpu, 8x4)") == "cell=a.b(cpu,_8x4)"
    assert anchor('a.b(50%, "ä"[1])') == "cell=a.b(50%25,_%22%C3%A4%22%5B1%5D)"
