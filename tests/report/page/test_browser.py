"""The page in Chromium."""

import re

import pytest

CELLS = 42
"""Of the small report: 28 times, 2 peaks of memory, 12 yardsticks."""

PERCENT = "materialization.Build.peakmem_build(50%_meta)"


def visible(view, selector):
    return view.page.locator(f"{selector}:visible")


def names(view, table):
    """The first column of a table, as it is seen."""
    return [text.strip() for text in visible(view, f"{table} tbody th .cell").all_text_contents()]


def follow(view, hash_):
    view.page.evaluate("hash => { location.hash = hash }", hash_)


def test_the_page_logs_nothing_and_requests_nothing_from_the_network(view):
    assert view.said == []
    assert view.asked == []


def test_an_address_that_was_typed_need_not_be_encoded(view):
    assert view.page.evaluate("location.hash").endswith("(50%_meta)")
    assert view.page.locator("#cells-table tr.shown th .cell").text_content() == PERCENT
    assert view.page.locator("nav.sections [aria-current]").count() == 1


def test_every_chart_that_can_be_seen_is_drawn_with_marks(light):
    plots = visible(light, ".plot").all()
    assert len(plots) >= 6
    for plot in plots:
        assert plot.locator("svg .mark-symbol path").count() > 0, plot.get_attribute("aria-label")


def test_every_chart_has_a_text_its_table_and_a_download(light):
    tables = []
    for figure in light.page.locator("figure.chart").all():
        plot, own = figure.locator(".plot"), figure.locator("details.data")
        assert len(plot.get_attribute("aria-label")) > 20
        assert figure.locator("button.csv").count() == 1
        beside = plot.get_attribute("aria-details")
        assert (own.count() == 1) != (beside is not None)
        if beside is None:
            own.evaluate("details => { details.open = true }")
            own.locator("tbody tr").first.wait_for(state="attached")
            own.evaluate("details => { details.open = false }")
        else:
            tables.append(beside)
            assert figure.locator(f"xpath=ancestor::*[.//*[@id='{beside}']][1]").evaluate(
                "around => around.matches('.job, .cost')"
            )
            assert light.page.locator(f"[id='{beside}'] tbody tr").count() > 1
    assert len(tables) == len(set(tables)) > 3


def test_a_column_is_sorted_by_its_numbers_and_says_so(light):
    head = light.page.locator("#cells-table thead th", has_text="value")
    column = light.page.locator("#cells-table tbody tr td:nth-child(2)")
    for key, order in (("Enter", "descending"), ("Space", "ascending")):
        head.get_by_role("button").press(key)
        assert head.get_attribute("aria-sort") == order
        assert light.page.locator("#cells-table th[aria-sort]").count() == 1
        values = [float(value) for value in column.evaluate_all("cells => cells.map(cell => cell.dataset.v)")]
        assert values == sorted(values, reverse=order == "descending")


def test_the_limits_begin_with_what_is_to_be_gained_most(light):
    gains = light.page.locator("#limits-table tbody tr td:nth-child(3)")
    values = [float(value) for value in gains.evaluate_all("cells => cells.map(cell => cell.dataset.v)")]
    assert values == sorted(values, reverse=True)
    assert light.page.locator("#limits-table th[aria-sort=descending]").text_content().strip() == "to gain"


def test_a_column_of_dates_is_sorted_by_them_and_kept_with_the_commits(light):
    light.page.locator("#cells-table thead th", has_text="measured").get_by_role("button").click()
    shown = light.page.locator("#cells-table tbody td:nth-child(5)").all_inner_texts()
    assert [text[:10] for text in shown] == sorted(text[:10] for text in shown)
    with light.page.expect_download() as download:
        light.page.locator("button[data-table=cells-table]").click()
    lines = download.value.path().read_text().splitlines()
    assert all(re.search(r",2026-03-\d\dT10:00:00\+00:00 [0-9a-f]{8},", line) for line in lines[1:])


def test_a_filter_shows_rows_that_hold_every_word(light):
    light.page.fill("[data-finds=cells-table]", "8X4 Zeros")
    assert {name.split("(")[0] for name in names(light, "#cells-table")} == {"initialization.Zeros.time_it"}
    assert all("8x4" in name for name in names(light, "#cells-table"))
    assert light.page.locator("[data-counts=cells-table]").inner_text() == f"7 of {CELLS}"
    light.page.fill("[data-finds=cells-table]", "")


def test_a_link_to_a_cell_opens_and_marks_it_though_a_filter_hid_it(light):
    light.page.fill("[data-finds=cells-table]", "nothing of that name")
    follow(light, "#cell=tying.Loop.time_it(data, 8x4)")
    row = light.page.locator("#cells-table tr.shown")
    assert row.locator("th .cell").inner_text() == "tying.Loop.time_it(data, 8x4)"
    assert row.evaluate(
        "row => { const box = row.getBoundingClientRect(); return box.top > 0 && box.top < innerHeight }"
    )


def test_a_link_to_a_cell_with_a_percent_sign_is_followed(light):
    light.page.locator(".job", has_text="peakmem_build").locator("summary").click()
    light.page.locator(".job a[href*=meta]").click()
    light.page.locator("#cells-table tr.shown", has_text=PERCENT).wait_for()


def test_a_change_point_is_shown_though_a_filter_hid_its_cell(light):
    light.page.fill(".track-finder", "loop data 4096")
    link = light.page.locator("a[data-track]", has_text=PERCENT)
    link.click()
    assert light.page.locator(".track-finder").input_value() == ""
    assert light.page.locator(".track-choice").input_value() == link.get_attribute("data-track")
    assert light.page.locator(".history figcaption").inner_text() == PERCENT
    label = light.page.locator(".history .plot").get_attribute("aria-label")
    assert "2.00x less since 00000004" in label


def test_a_command_is_copied(light):
    light.page.locator("#cells-table tbody tr", has_text="tying.Loop").first.get_by_role("button", name="Copy").click()
    light.page.locator("#said", has_text="The command was copied.").wait_for(state="attached")
    assert light.page.evaluate("navigator.clipboard.readText()").startswith("bench-core run '^tying.Loop.time_it(")


def test_another_benchmark_is_drawn_when_it_is_chosen(light):
    light.page.select_option("#cost-choice", label="Loop.time_it, along size")
    assert visible(light, "article.cost h3").all_inner_texts() == ["tying.Loop.time_it along size"]
    visible(light, "article.cost .plot").scroll_into_view_if_needed()
    visible(light, "article.cost").locator("svg").wait_for()


def test_six_lines_are_told_apart_and_another_one_takes_the_place_of_one_that_is_given_up(light):
    picker = visible(light, ".lines")
    assert picker.locator("input:checked").count() == 6
    other = picker.locator("input:not(:checked)")
    name = other.get_attribute("value")
    assert other.is_disabled()
    legend = visible(light, "article.cost").locator("svg .role-legend-label text")
    assert name not in legend.all_text_contents()
    picker.locator("input:checked").first.uncheck()
    other = picker.locator(f"input[value='{name}']")
    other.check()
    legend.filter(has_text=re.compile(f"^{name}$")).wait_for()
    assert len(set(legend.all_text_contents())) == 6


def test_a_law_is_drawn_when_its_link_is_followed(light):
    follow(light, "#law-9")
    said = light.page.locator("#law-sentence").inner_text()
    assert said.startswith("tying.Loop.time_it, way no_grad, along size")
    assert light.page.locator("#law-chart .plot").get_attribute("aria-label").startswith(said)
    assert light.page.locator("#growth-table tr.shown").get_attribute("id") == "law-9"
    light.page.locator("#residual-chart svg text", has_text="cache edge: leaves L2").wait_for()


def test_the_history_of_a_cell_is_drawn_with_its_marks(light):
    light.page.fill(".track-finder", "loop data 4096")
    assert light.page.locator(".track-choice option").count() == 1
    light.page.locator(".history figcaption", has_text="tying.Loop.time_it(data, 4096x4096)").wait_for()
    light.page.locator(".history svg text", has_text="torch 2.12.0 to 2.13.0").wait_for()
    shapes = light.page.locator(".history svg .role-legend-label text").all_text_contents()
    assert {"regression", "torch upgrade", "change point"} <= set(shapes)
    light.page.fill(".track-finder", "")


def test_the_data_of_a_chart_is_downloaded_without_a_request(light):
    before = len(light.requests)
    with light.page.expect_download() as download:
        visible(light, "article.cost").locator("button.csv").click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0] == "operation,at,elements,seconds,low,high,cell"
    assert any(
        re.match(r'data,8x4,32,[\d.e-]+,[\d.e-]+,[\d.e-]+,"tying.Loop.time_it\(data, 8x4\)"', line) for line in lines
    )
    assert all(url.startswith("blob:") for url in light.requests[before:])


def test_the_table_of_a_chart_is_there_when_it_is_opened(light):
    details = light.page.locator("#residual-chart details")
    details.locator("summary").click()
    details.locator("table tbody tr").nth(1).wait_for()
    assert details.locator("table").get_by_text("cache edge: leaves L2").count() == 1


def test_a_finding_leads_to_its_evidence(light):
    light.page.locator(".findings a", has_text="slowest over fastest").first.click()
    job = light.page.locator(light.page.evaluate("location.hash"))
    job.and_(light.page.locator("[open]")).locator("svg").wait_for()


def test_the_first_tab_stop_skips_the_head(nothing):
    nothing.page.keyboard.press("Tab")
    assert nothing.page.evaluate("document.activeElement.textContent") == "Skip to the findings"
    nothing.page.keyboard.press("Enter")
    assert nothing.page.evaluate("document.activeElement.id") == "main"


def test_the_narrow_view_scrolls_tables_and_never_the_page(phone):
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 360
    wide = phone.page.locator(".scroll:visible").evaluate_all(
        "regions => regions.filter(region => region.scrollWidth > region.clientWidth)"
        ".map(region => [region.tabIndex, region.getAttribute('role'), !!region.getAttribute('aria-label')])"
    )
    assert wide
    assert all(found == [0, "region", True] for found in wide)


STROKES = "[...document.querySelectorAll('.cost.shown svg .mark-line path')].map(e => getComputedStyle(e).stroke)"


def test_the_light_view_has_the_colours_of_paper(light):
    assert "rgb(0, 114, 178)" in light.page.evaluate(STROKES)


def test_the_dark_view_has_colours_of_its_own_and_print_has_those_of_paper(dark):
    assert "rgb(86, 180, 233)" in dark.page.evaluate(STROKES)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert dark.page.evaluate(ground) == "rgb(15, 19, 24)"
    dark.page.emulate_media(media="print", color_scheme="light")
    assert dark.page.evaluate(ground) == "rgb(255, 255, 255)"
    assert "rgb(0, 114, 178)" in dark.page.evaluate(STROKES)
    dark.page.emulate_media(media="screen")


@pytest.mark.parametrize("name", ["phone", "unfolded", "machines", "nothing"])
@pytest.mark.thorough
def test_axe_finds_nothing_serious(name, request, axe):
    """In the light view and in the dark one, folded and unfolded, with one machine, two and none."""
    found = axe.run(request.getfixturevalue(name).page, options={"resultTypes": ["violations"]})
    serious = [rule for rule in found.response["violations"] if rule["impact"] in ("serious", "critical")]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in serious] == []


def test_without_scripts_tables_and_advice_can_be_read(browser, written):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    assert page.get_by_text("Charts, sorting and filters need JavaScript").is_visible()
    assert page.get_by_text("is fastest at 4096x4096, by at least 3 %").first.is_visible()
    assert page.locator("#cells-table tbody tr").count() == CELLS
    assert page.locator("article.cost").count() == page.locator("article.cost:visible").count() == 2
    assert page.locator("figure:visible, input:visible, button:visible").count() == 0
    context.close()


def test_a_name_from_the_results_runs_nothing(look, hostile):
    view = look(hostile)
    view.page.on("dialog", lambda dialog: (view.said.append(dialog.message), dialog.dismiss()))
    view.page.locator("#law-chart .plot").scroll_into_view_if_needed()
    view.page.locator("#law-chart .mark-symbol path").first.hover()
    view.page.locator("#vg-tooltip-element.visible").wait_for()
    assert view.page.evaluate("window.stolen") is None
    assert view.page.locator("img").count() == 0
    assert view.said == []
