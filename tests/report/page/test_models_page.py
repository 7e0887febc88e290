"""The section of the page on models: its markup, its charts, and how it looks."""

import json
from dataclasses import replace

import pytest
from made_models import CODE, gpt2, hostile
from test_page import data, section

from bench_core.analysis.models import ranked
from bench_core.report.page import html, vega
from bench_core.report.page.models import access_chart, answers, waterfall

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}


def charts(record):
    found = ranked(record)
    yield from (waterfall(job, 2.2, "alt") for job in found.start)
    yield access_chart([(job, one) for job in found.access for one in job.placed], "alt")


@pytest.fixture(scope="module")
def page():
    return html(answers([gpt2(ranks=True)]))


def test_every_specification_is_valid_vega_lite(schema):
    for chart in charts(gpt2()):
        wrong = [error.message for error in schema.iter_errors({**chart.spec, "config": vega.STYLE})]
        assert wrong == []
        assert {len(row) for row in chart.rows} == {len(chart.columns)}


def test_the_stages_of_a_way_follow_each_other_and_end_at_its_time():
    chart, *_ = charts(gpt2())
    rows = [dict(zip(chart.columns, row, strict=True)) for row in chart.rows]
    eager = [row for row in rows if row["way"] == "eager_copy"]
    assert [row["stage"] for row in eager] == ["construct", "initialize", "read", "load"]
    assert [row["letter"] for row in eager] == ["c", "i", "r", "l"]
    assert [row["start"] for row in eager] == [0.0, *(row["end"] for row in eager[:-1])]
    assert eager[-1]["end"] == pytest.approx(eager[-1]["whole"], rel=0.02)
    assert {row["fate"] for row in rows} == {"wrong", "may be the fastest", ""}


def test_both_waterfalls_have_one_axis():
    load, initialize, _ = charts(gpt2())
    axes = [chart.spec["layer"][0]["encoding"]["x"]["scale"] for chart in (load, initialize)]
    assert axes[0] == axes[1] == {"domain": [0, 2.75], "nice": False}


def test_a_report_without_models_has_no_such_section_and_one_of_models_has_no_other(small, page):
    assert 'id="models"' not in html(small)
    assert page.count("<section") == 1
    assert "<nav" not in page
    assert "<title>Benchmark report: gpt2</title>" in page


def test_a_report_of_both_has_the_models_last(small):
    both = html(replace(small, models=(gpt2(),)))
    assert both.index('<section id="cells"') < both.index('<section id="models"')
    assert '<a href="#models">Models</a>' in both


def test_the_section_has_the_advice_every_way_and_the_code(page):
    said = section(page, "models")
    assert "<code>eager_copy</code> spends 64 % of its time" in said
    for way in gpt2().ways:
        assert f'class="cell">{way.name}<' in said
    assert '<span class="cell">meta_assign_unfinished</span>: Wrong: 12 buffers stay on meta' in said
    assert "Not measured: the model has no lazy module" in said
    assert CODE.strip().replace('"', "&#34;") in said
    assert "torch 2.13.0 rejects a tied embedding across shards" in said


def test_a_name_cannot_break_out_of_the_markup():
    page = html(answers([hostile("</script><script>alert(1)</script><img src=x>\"'`{{7*7}}\u202e")]))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert page.count("</script>") == 4
    assert "\u202e" not in json.dumps(data(page), ensure_ascii=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory, page):
    path = tmp_path_factory.mktemp("page") / "model.html"
    path.write_text(page, newline="\n")
    return path


def test_every_chart_is_drawn_and_the_narrow_page_does_not_scroll_sideways(look, written):
    for viewport in (DESK, PHONE):
        view = look(written, viewport=viewport, color_scheme="dark", permissions=["clipboard-read", "clipboard-write"])
        plots = view.page.locator(".plot").all()
        assert len(plots) == 3
        assert view.page.locator(".plot svg .mark-rect path").count() > 20
        assert view.page.locator(".plot svg .mark-text text", has_text=", may be the fastest").count() > 0
        assert view.page.evaluate("document.documentElement.scrollWidth") == viewport["width"]


def test_a_remark_on_several_ways_stands_once_below_their_table():
    remark = "Building on meta unties parameters."
    ways = tuple(replace(way, needs=(remark,) * way.name.startswith("meta_assign")) for way in gpt2().ways)
    said = section(html(answers([gpt2(ways=ways)])), "models")
    assert said.count(remark) == 1
    names = "meta_assign_unfinished, meta_assign_safetensors, meta_assign_mmap and meta_assign"
    assert f'<span class="cell">{names}</span>: {remark}' in said


@pytest.mark.parametrize("width", [1280, 800])
def test_the_tables_of_a_model_show_all_columns_however_long_the_remarks(look, tmp_path, width):
    path = tmp_path / "model.html"
    long = ("Every parameter must get its values from the checkpoint, as a strict load makes sure. " * 3,)
    ways = tuple(
        replace(way, needs=long, title="construct without drawing, torch.load(mmap=True), assign")
        for way in gpt2().ways
    )
    path.write_text(html(answers([gpt2(ranks=True, ways=ways)])), newline="\n")
    view = look(path, viewport={"width": width, "height": 900})
    hidden = "[...document.querySelectorAll('.model .scroll')].map(each => each.scrollWidth - each.clientWidth)"
    assert view.page.evaluate(hidden) == [0, 0, 0, 0]


def test_the_code_is_copied(look, written):
    view = look(written, viewport=DESK, permissions=["clipboard-read", "clipboard-write"])
    view.page.locator(".code button").first.click()
    view.page.locator("#said", has_text="The code was copied.").wait_for(state="attached")
    assert view.page.evaluate("navigator.clipboard.readText()").strip() == CODE.strip()


@pytest.mark.thorough
def test_axe_finds_nothing_serious(look, written, axe):
    for scheme in ("light", "dark"):
        view = look(written, viewport=DESK, color_scheme=scheme)
        found = axe.run(view.page, options={"resultTypes": ["violations"]})
        serious = [rule for rule in found.response["violations"] if rule["impact"] in ("serious", "critical")]
        assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in serious] == []
