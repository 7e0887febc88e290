"""The page's markup, without a browser."""

import base64
import gzip
import hashlib
import json
import math
import re
from dataclasses import replace

import pytest
from markupsafe import escape

from bench_core import units
from bench_core.analysis.subjects import reproduce
from bench_core.records.accepted import AcceptedRegression
from bench_core.records.report import Apart
from bench_core.records.run import Interval, LeftOut
from bench_core.report.page import SECTIONS, changes_of, html, prose
from bench_core.report.page.findings import anchor


def unpacked(page, name):
    (found,) = re.findall(rf'<script type="application/gzip" id="{name}">([^<]*)</script>', page)
    return gzip.decompress(base64.b64decode(found)).decode()


def data(page):
    return json.loads(unpacked(page, "data"))


def section(page, name):
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


def test_no_script_runs_but_the_three_of_the_page_and_nothing_is_loaded(page):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    scripts = [
        text for kind, text in re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL) if "gzip" not in kind
    ]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in (*scripts, unpacked(page, "vega"))
    ]
    assert set(re.search(r"script-src ([^;]*)", policy)[1].split()) == set(hashes)
    assert len(hashes) == 3
    assert policy.startswith("default-src 'none'; ")
    assert not re.findall(r'<(?:link|img|script|iframe)[^>]* (?:src|href)="(?!data:)', page)


def test_the_same_report_gives_the_same_page(small, page, monkeypatch):
    monkeypatch.setattr(gzip.time, "time", lambda: 2e9)
    assert html(small) == page


def test_a_name_cannot_break_out_of_the_markup(attacks):
    page = html(attacks)
    assert "<script>window.stolen" not in page
    assert "<img" not in page
    assert page.count("</script>") == 4
    assert any("<script>window.stolen=1" in name for name in data(page)["cells"])  # as text, where it is data


@pytest.mark.parametrize("name", [name for name, _ in SECTIONS])
def test_an_empty_section_says_why_there_is_nothing_and_what_fills_it(empty, name):
    said = section(html(empty), name)
    assert 'class="note"' in said
    assert "<code>bench-core run</code>" in said


def test_a_thousand_cells_over_fifty_commits_stay_below_three_megabytes(large):
    assert len(large.subjects[0].cells) >= 1000
    assert len(large.histories[0].moments) == 50
    assert len(html(large).encode()) < 3e6


def test_every_cell_has_a_row_with_an_anchor_its_value_and_a_command(small, page):
    rows = section(page, "cells").split("<tbody>")[1]
    for name, measured in small.subjects[0].cells.items():
        row = rows.split(f'<tr id="{escape(anchor(name))}">')[1].split("</tr>")[0]
        assert f'data-v="{measured.cell.value.middle:.4g}"' in row
        assert f"bench-core run &#39;^{name}$&#39;" in row
        assert f'data-v="{measured.date} {measured.commit[:8]}"' in row


def columns(page, name):
    """The row of a cell: what stands in each column, by its title."""
    cells = section(page, "cells")
    titles = re.findall(r"<th scope=\"col\"[^>]*>(.*?)</th>", cells)
    (row,) = re.findall(f'<tr id="{re.escape(str(escape(anchor(name))))}">(.*?)</tr>', cells, re.DOTALL)
    values = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
    assert len(titles) == len(values)
    plain = [re.sub("<[^>]*>", "", each).strip() for each in (*titles, *values)]
    return dict(zip(plain[: len(titles)], plain[len(titles) :], strict=True))


def test_machines_stand_side_by_side_each_with_its_own_columns(two):
    page = html(two)
    name = two.limits[0].cell
    shares = {limit.subject: limit.share.middle for limit in two.limits if limit.cell == name}
    shown = columns(page, name)
    for subject in two.subjects:
        measured = subject.cells[name]
        assert shown[subject.name] == units.time(measured.cell.value.middle)
        assert shown[f"of its limit on {subject.name}"] == units.share(shares[subject.name])
        assert shown[f"measured on {subject.name}"] == f"{measured.date[:10]} {measured.commit[:8]}"
    assert section(page, "cost").count("<figcaption>epyc, torch") == 2


def test_a_cell_that_one_machine_lacks_has_the_columns_of_the_other(two):
    first, second = two.subjects
    name = two.limits[0].cell
    less = replace(first, cells={other: cell for other, cell in first.cells.items() if other != name})
    shown = columns(html(replace(two, subjects=(less, second))), name)
    assert shown[first.name] == shown[f"measured on {first.name}"] == shown["second over first"] == ""
    assert shown[f"measured on {second.name}"].endswith(second.cells[name].commit[:8])


@pytest.mark.parametrize(
    ("ratio", "width", "over", "told"),
    [
        (1.3, 0.01, "1.30x", "slower"),
        (0.5, 0.01, "0.50x", "faster"),
        (1.1, 0.01, "1.10x", "inconclusive"),
        (2.0, 0.5, "2.00x", "inconclusive"),
        (2.0, math.inf, "2.00x", "slower, no interval"),
    ],
)
def test_two_machines_are_told_apart_as_two_stored_results_are(two, ratio, width, over, told):
    first, second = two.subjects
    name, measured = next(iter(first.cells.items()))
    middle = measured.cell.value.middle
    cells = [
        replace(measured, cell=replace(measured.cell, value=Interval(at * (1 - width), at, at * (1 + width), 0.99)))
        for at in (middle, middle * ratio)
    ]
    subjects = (replace(first, cells={name: cells[0]}), replace(second, cells={name: cells[1]}))
    shown = columns(html(replace(two, subjects=subjects)), name)
    assert (shown["second over first"], shown["told apart"]) == (over, told)


def test_what_was_left_out_is_in_the_findings_and_listed_in_full(small):
    more = replace(small, left_out=(*small.left_out, LeftOut("<b>.json", "of a newer schema")))
    page = html(more)
    assert "and 1 more" in section(page, "findings")
    assert "&lt;b&gt;.json" in section(page, "trust")
    assert "of a newer schema" in section(page, "trust")


def test_the_doctors_findings_are_shown_for_their_run(page):
    trust = section(page, "trust")
    known, unknown = trust.split("What the doctor said")[1].split("</ul>", 1)
    assert "26 of 28 cells in the run of 2026-03-01 09:58 UTC, commit <code>7b13ed90</code>:" in known
    assert "The clock frequency is not fixed." in known
    assert "2 of 28 cells in a run without a date, of no commit: not stored." in unknown


def test_the_numbers_of_cells_without_an_interval_and_of_controls_are_shown(page):
    trust = section(page, "trust")
    assert "Half of the 27 cells that have an interval are uncertain by at most" in trust
    assert "1 of 28 cells have no interval" in trust
    assert "1 of 60 controls, in 12 gates" in trust
    assert "% to 8.9" in trust


def test_trials_of_the_gate_stand_beside_what_they_say_about(page):
    trust = section(page, "trust")
    assert "tried on epyc" in trust
    row = trust[trust.index("gates that are &lt;red&gt;") :].split("</tr>")[0]
    assert "0 of 60 (0 %)" in row
    assert "0 % to 5.96 %" in row
    assert "python -m trials aa" in trust


def test_every_verdict_is_on_the_axis_and_a_gate_without_a_commit_beside_it(small):
    history = small.histories[0]
    moment = replace(history.moments[0], verdicts=(("v1", "pass", "none slower"), ("v0", "regression", "")))
    apart = (Apart("2026-03-01T00:00:00+00:00", "torch==1", "torch==2", "inconclusive", "noise"),)
    told = replace(history, moments=(moment, *history.moments[1:]), apart=apart)
    page = html(replace(small, histories=(told, *small.histories[1:])))
    marks = data(page)["histories"][0]["marks"]
    assert [0, "other verdict", "pass against v1: none slower"] in marks
    assert [0, "regression", "regression against v0"] in marks
    assert "1 gate whose head is no commit" in section(page, "history")
    assert "against torch==1: noise" in section(page, "history")


def test_a_share_says_that_it_is_uncertain(small):
    sure = section(html(small), "limits")
    assert ">uncertain<" not in sure
    unknown = replace(small.limits[0], share=replace(small.limits[0].share, low=-math.inf, high=math.inf))
    page = html(replace(small, limits=(unknown, *small.limits[1:])))
    assert section(page, "limits").count(">uncertain<") == 1
    assert section(page, "cells").count(">uncertain<") == 1


def test_names_between_backticks_are_code_and_nothing_else_is_markup():
    assert prose("`a_<b>` is <fast>") == "<code>a_&lt;b&gt;</code> is &lt;fast&gt;"


def test_the_link_to_asvs_pages_is_there_only_where_they_are(small, page):
    assert 'href=".asv/html/index.html"' in page
    assert "asv's own pages" not in html(replace(small, published=""))


def test_a_track_is_packed_without_loss_that_could_be_seen(small, page):
    history, packed = small.histories[0], data(page)["histories"][0]
    for track, found in zip(history.tracks, packed["tracks"], strict=True):
        for (_, value), middle, less in zip(track.values, found["value"], found["less"], strict=True):
            assert middle * found["tick"] == pytest.approx(value.middle, rel=1e-3)
            low = -math.inf if less is None else (middle - less) * found["tick"]
            assert low == pytest.approx(value.low, rel=2e-3)


def test_a_track_with_gaps_knows_its_commits(small):
    history = small.histories[0]
    track = replace(history.tracks[0], values=history.tracks[0].values[3:5])
    found = data(html(replace(small, histories=(replace(history, tracks=(track,)),))))
    assert found["histories"][0]["tracks"][0]["at"] == [3, 4]


def test_the_newest_change_point_comes_first(small):
    history = small.histories[0]
    changed = [change.moment for _, change, _ in changes_of(history)]
    assert len(set(changed)) > 1
    assert changed == sorted(changed, reverse=True)


def test_a_long_name_is_cut_and_its_links_still_meet(small):
    subject = small.subjects[0]
    name, measured = next(iter(subject.cells.items()))
    cell = replace(measured.cell, params={**measured.cell.params, "size": "y" * 3000})
    long = replace(measured, cell=cell, reproduce=reproduce(cell))
    cells = {cell.name if key == name else key: long if key == name else one for key, one in subject.cells.items()}
    limits = tuple(replace(one, cell=cell.name, yardsticks=(cell.name,)) for one in small.limits)
    trust = tuple(replace(one, unsure=(cell.name,)) for one in small.trust)
    page = html(
        replace(small, subjects=(replace(subject, cells=cells, failed=(cell.name,)),), limits=limits, trust=trust)
    )
    assert not re.search("y{300}", re.sub('<script type="application/gzip".*?</script>', "", page))
    assert not re.search("y{300}", data(page)["cells"][0] + "".join(data(page)["cells"]))
    assert f'id="{escape(anchor(cell.name))}"' in page
    assert f'href="#{escape(anchor(cell.name))}"' in page


def test_accepted_regressions_stand_in_the_history_as_text(small):
    hostile = AcceptedRegression(12, "a" * 40, "b" * 40, "<b>me</b>", "2026-01-02", "ok", ("<i>cell</i> +9 %",))
    history = section(html(replace(small, accepted=(hostile,))), "history")
    assert "<h3>Accepted regressions</h3>" in history
    assert "&lt;b&gt;me&lt;/b&gt; (ok)" in history
    assert "&lt;i&gt;cell&lt;/i&gt; +9 %" in history
    assert "Accepted regressions" not in section(html(small), "history")
