import csv as csv_format
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.analysis.subjects import reproduce
from bench_core.errors import brief
from bench_core.records.accepted import AcceptedRegression
from bench_core.records.commit import LoggedCommit
from bench_core.records.report import (
    Answers,
    ChangePoint,
    Crossing,
    Growth,
    History,
    Limit,
    Measured,
    Moment,
    Point,
    RankedJob,
    Ranking,
    Residual,
    Rival,
    RunKey,
    Series,
    Subject,
    Track,
    Trust,
    TrustedRun,
)
from bench_core.records.results import CellResult, Tally, Trial, TrialFigure, Tried
from bench_core.records.run import Interval, LeftOut
from bench_core.report.answers import csv, markdown, to_json

HASH = "4e6b7ac4" + "0" * 32


RUN = RunKey("4e6b7ac4-env.json", "2026-01-02T03:04:05+00:00")


def interval(middle, low=None, high=None):
    return Interval(0.9 * middle if low is None else low, middle, 1.1 * middle if high is None else high, 0.99)


def cell(benchmark, params, value, *, kind="time", unit="seconds", known=True, **more):
    found = interval(value) if known else Interval(-math.inf, value, math.inf, 0.99)
    return CellResult(benchmark, params, kind, unit, found, 10, 100, 1, 1, "way", **more)


SMALL = cell("edits.Edit.time_add", {"way": "data", "size": "8x4"}, 1e-6)
LARGE = cell("edits.Edit.time_add", {"way": "data", "size": "64x64"}, 2e-6)
OTHER = cell("edits.Edit.time_add", {"way": "no|grad", "size": "8x4"}, 4e-6, unties=True)
MEMORY = cell("edits.Build.peakmem_build", {}, 3 << 20, kind="peakmemory", unit="bytes", known=False)


def subject(name="box, torch 2.13.0"):
    measured = {
        each.name: Measured(each, RUN, HASH, "2026-01-02T00:00:00+00:00", f"bench-core run '{each.name}'")
        for each in (SMALL, LARGE, OTHER, MEMORY)
    }
    description = {"machine": "box", "cpu": "A CPU", "num_cpu": "2", "python": "3.11", "torch": "2.13.0"}
    return Subject(name, "box", description, {"L1d": 32768}, measured, ("edits.Broken.time_it",))


def report(*subjects, **changes):
    name = "box, torch 2.13.0"
    line = Series(
        subject=name,
        benchmark="edits.Edit.time_add",
        unit="seconds",
        fixed={"way": "data"},
        axis="size",
        counts="elements",
        item_bytes=4,
        points=(Point(SMALL.name, 32, "8x4", SMALL.value), Point(LARGE.name, 4096, "64x64", LARGE.value)),
    )
    best = Rival("data", SMALL.name, SMALL.value, Interval(1, 1, 1, 0.99), tied=False, unties=False)
    other = Rival("no|grad", OTHER.name, OTHER.value, interval(4, 3, 5), tied=True, unties=True)
    parts = {
        "date": "2026-01-03T00:00:00+00:00",
        "version": "1.2",
        "subjects": subjects or (subject(),),
        "series": (line,),
        "limits": (
            Limit(
                name, SMALL.name, "memory", 2e9, 8e9, interval(0.25, 0.2, 0.3), ("limits.Memory.time_copy",), "L2", 7e-7
            ),
            Limit(name, LARGE.name, "interpreter", 3e6, math.nan, interval(1.2), ("limits.Loop.time_loop",), "", 0),
        ),
        "growths": (
            Growth(
                line, 1e-6, 1e-9, None, 1e-9, math.nan, True, (Residual(line.points[0], 1e-6, 0, False, ""),), "1 µs."
            ),
        ),
        "jobs": (
            RankedJob(
                subject=name,
                benchmark="edits.Edit.time_add",
                rivals="way",
                fixed={},
                axis="size",
                rankings=(Ranking("8x4", (best, other)),),
                flips=("a up to 8x4, b from 64x64",),
                advice="`data` is fastest at every my_size, by at least 3 %; not `no|grad`.",
            ),
        ),
        "crossings": (
            Crossing(
                subject=name,
                benchmark="edits.Edit.time_add",
                parameter="device",
                first="cpu",
                second="cuda",
                fixed={"way": "data"},
                axis="size",
                ratios=(("8x4", 32, interval(3)), ("64x64", 4096, interval(0.5, -math.inf, math.inf))),
                crossings=(500,),
                sentence="`cpu` is faster up to about 500 elements.",
            ),
        ),
        "histories": (
            History(
                machine="box",
                moments=(
                    Moment(LoggedCommit("b" * 40, "", "", "2026-01-01"), "", "2.9.0", ""),
                    Moment(
                        LoggedCommit(HASH, "Faster <b>adds</b>", "A", "2026-01-02T00:00:00+00:00"),
                        f"https://example.org/{HASH}",
                        "2.13.0",
                        "2.9.0",
                        (("main", "regression", "slower"),),
                    ),
                ),
                tracks=(Track(SMALL.name, "seconds", ((0, SMALL.value), (1, SMALL.value)), (ChangePoint(1, 1.25),)),),
                method="By looking.",
            ),
        ),
        "tried": (
            Tried(
                "box",
                (
                    Trial(
                        "A/A gates",
                        "python -m trials aa",
                        "2026-01-01",
                        "0123456789ab",
                        (TrialFigure("red|gates", "0 of 60 (0 %)", 0.0, 0.0596),),
                    ),
                ),
            ),
        ),
        "trust": (
            Trust(
                subject=name,
                noise=(0.01, 0.02, 0.03),
                known=3,
                unknown=1,
                unsure=(LARGE.name,),
                runs=(
                    TrustedRun(RUN, HASH, 2, (("warning", "It is busy.", "Wait."),)),
                    TrustedRun(RunKey("b.json", "2026-01-01T00:00:00+00:00"), "b" * 40, 1, ()),
                    TrustedRun(RunKey("no-commit.json", ""), None, 1, None),
                ),
                controls=Tally(7, 40, 1, 0.0006, 0.1316),
                method=("With a watch.",),
            ),
        ),
        "left_out": (LeftOut("box/broken.json", "not JSON"),),
        "published": "html/index.html",
    }
    return Answers(**{**parts, **changes})


def lines(*arguments, **changes):
    return markdown(report(*arguments, **changes)).splitlines()


def rows(*arguments):
    return list(csv_format.DictReader(io.StringIO(csv(report(*arguments)))))


def test_the_page_answers_in_the_order_of_the_questions():
    assert [line for line in lines() if line.startswith("## ")] == [
        "## Cost",
        "## Limits",
        "## Growth",
        "## Fastest ways",
        "## Crossovers",
        "## History",
        "## Trust",
        "## Left out",
    ]


ACCEPTED = AcceptedRegression(12, HASH, "c" * 40, "maintainer", "2026-01-02T03:04:05Z", "ok|fine", ("a.A.time_a +9 %",))


def test_accepted_regressions_name_who_accepted_them_the_newest_first():
    (*_, first, second, _, _) = lines(accepted=(ACCEPTED, replace(ACCEPTED, date="2026-02-03T00:00:00Z")), left_out=())[
        : lines(accepted=(ACCEPTED,) * 2, left_out=()).index("## Trust") + 1
    ]
    assert first.startswith("| 2026-02-03 | 12 | `4e6b7ac4` | maintainer (ok\\|fine) | `a.A.time_a +9 %` |")
    assert second.startswith("| 2026-01-02 |")
    assert to_json(report(accepted=(ACCEPTED,)))["accepted"][0]["by"] == "maintainer"


def test_a_question_without_an_answer_has_no_section():
    bare = lines(limits=(), growths=(), jobs=(), crossings=(), histories=(), left_out=())
    assert [line for line in bare if line.startswith("## ")] == ["## Cost", "## Trust"]


def test_the_head_says_what_was_measured_and_what_failed():
    found = lines()
    assert "Made 2026-01-03T00:00:00+00:00 by bench_core 1.2." in found
    assert "asv's own pages of the same results: <html/index.html>." in found
    assert (
        "- **box, torch 2.13.0**: A CPU, 2 cores, Python 3.11, torch 2.13.0; 4 cells; 1 failed: `edits.Broken.time_it`"
    ) in found


def test_sizes_stand_side_by_side():
    assert "| data | 1.00 µs ±10.0 % | 2.00 µs ±10.0 % |" in lines()
    assert "|  | 8x4 | 64x64 |" in lines()


def test_names_are_no_markup():
    assert "| no\\|grad | 4.00 µs ±10.0 % |  |" in lines()
    assert any("Faster &lt;b&gt;adds&lt;/b&gt;" in line for line in lines())


def test_what_was_read_once_claims_no_interval():
    assert "|  | 3.00 MiB |" in lines()


def test_several_subjects_are_named():
    found = lines(subject(), subject("box, torch 2.9.0"))
    assert "| box, torch 2.13.0, data | 1.00 µs ±10.0 % | 2.00 µs ±10.0 % |" in found
    assert "| box, torch 2.9.0, data | 1.00 µs ±10.0 % | 2.00 µs ±10.0 % |" in found


def test_a_limit_shows_the_share_and_what_is_to_gain():
    assert (
        "| `edits.Edit.time_add(data, 8x4)` | L2 | `limits.Memory.time_copy` | 2.00 | 8.00 | 25 % (20 … 30) | 700 ns |"
    ) in lines()


def test_the_farthest_from_its_limit_comes_first():
    shares = [0.5, 0.1, 0.9]
    found = lines(limits=tuple(Limit("s", f"f({n})", "memory", 1, 1, interval(n), ("y",), "", 0) for n in shares))
    assert [line.split("`")[1] for line in found if line.startswith("| `f(")] == ["f(0.1)", "f(0.5)", "f(0.9)"]


def test_a_long_list_ends_with_how_much_is_left():
    found = lines(limits=tuple(Limit("s", f"f({n})", "memory", 1, 1, interval(0.5), ("y",), "", 0) for n in range(31)))
    assert sum(line.startswith("| `f(") for line in found) == 30
    assert "And 1 more: `bench-core report --format csv` has them all." in found


def test_a_job_shows_its_advice_its_flips_and_its_ranking():
    found = lines()
    assert (
        "**edits.Edit.time\\_add**: `data` is fastest at every my\\_size, by at least 3 %; not <code>no\\|grad</code>."
    ) in found
    assert "- the best way changes: a up to 8x4, b from 64x64" in found
    assert "| no\\|grad | 4.00x = unties |" in found


def test_a_crossing_shows_its_ratios():
    assert (
        "- **edits.Edit.time\\_add** (data): `cpu` is faster up to about 500 elements. cuda over cpu: 8x4 3.00x, 64x64 "
        "0.50x."
    ) in lines()


def test_the_history_marks_upgrades_gates_and_steps():
    found = lines()
    assert (
        f"| [4e6b7ac4](https://example.org/{HASH}) | 2026-01-02 | Faster &lt;b&gt;adds&lt;/b&gt; "
        "| 2.13.0 (from 2.9.0) | regression against main | 1 |"
    ) in found
    assert "| `bbbbbbbb` | 2026-01-01 |  | 2.9.0 |  | 0 |" in found
    assert f"| `{SMALL.name}` | [4e6b7ac4](https://example.org/{HASH}) | 1.25x |" in found


def test_trust_names_noise_controls_and_doctor(snapshot):
    found = lines()
    start, end = (
        next(n for n, line in enumerate(found) if line.startswith(text)) for text in ("## Trust", "### Trials")
    )
    assert found[start:end] == snapshot


def test_trials_of_the_gate_are_shown_with_their_command_and_bounds():
    found = lines()
    assert "A/A gates (`python -m trials aa`, 2026-01-01):" in found
    assert r"| red\|gates | 0 of 60 (0 %) | 0 % to 5.96 % |" in found


def test_what_was_left_out_is_said():
    assert "- `box/broken.json`: not JSON" in lines()


def test_json_knows_no_nan():
    found = json.loads(json.dumps(to_json(report()), allow_nan=False))
    assert found["schema"] == "bench-core/report/2"
    assert found["growths"][0]["exponent"] is None
    assert found["limits"][1]["ceiling"] is None
    assert found["crossings"][0]["ratios"][1]["ratio"] == {
        "low": None,
        "middle": 0.5,
        "high": None,
        "confidence": 0.99,
    }


def test_json_has_all_of_a_cell_in_one_object():
    found = to_json(report())["subjects"][0]["cells"][0]
    assert found["name"] == SMALL.name
    assert found["params"] == {"way": "data", "size": "8x4"}
    assert found["value"]["middle"] == 1e-6
    assert (found["commit"], found["reproduce"]) == (HASH, f"bench-core run '{SMALL.name}'")


def test_json_names_the_series_of_a_law_without_its_points():
    (found,) = to_json(report())["growths"]
    assert found["fixed"] == 1e-6
    assert found["series"] == {
        "subject": "box, torch 2.13.0",
        "benchmark": "edits.Edit.time_add",
        "fixed": {"way": "data"},
        "axis": "size",
        "counts": "elements",
    }
    assert found["residuals"] == [
        {"cell": SMALL.name, "n": 32, "fitted": 1e-6, "relative": 0, "departs": False, "why": ""}
    ]


def test_json_keeps_a_track_short():
    (track,) = to_json(report())["histories"][0]["tracks"]
    assert track["values"] == [[moment, *(pytest.approx(end) for end in (0.9e-6, 1e-6, 1.1e-6))] for moment in (0, 1)]
    assert track["changes"] == [{"moment": 1, "ratio": 1.25}]


def test_json_is_documented():
    page = Path(__file__).parents[2].joinpath("docs", "report-json.md").read_text()

    def keys(found):
        if isinstance(found, dict):
            yield from found
            for name, each in found.items():
                if name not in ("params", "fixed", "description", "caches"):  # whose keys are data
                    yield from keys(each)
        elif isinstance(found, list):
            for each in found:
                yield from keys(each)

    assert {name for name in keys(to_json(report())) if f"`{name}`" not in page} == set()


def test_csv_has_a_row_for_each_cell_of_each_subject():
    found = rows(subject(), subject("box, torch 2.9.0"))
    assert [(row["subject"], row["cell"]) for row in found] == [
        (name, each.name)
        for name in ("box, torch 2.13.0", "box, torch 2.9.0")
        for each in (SMALL, LARGE, OTHER, MEMORY)
    ]


def test_csv_joins_what_is_known_of_a_cell():
    first = rows()[0]
    assert first["params"] == "way=data; size=8x4"
    assert (first["value"], first["share"], first["bound"], first["over_best"]) == ("1e-06", "0.25", "memory", "1")
    assert (first["tied"], first["commit"]) == ("false", HASH)


def test_csv_has_nothing_where_there_is_no_number():
    memory = rows()[3]
    assert (memory["low"], memory["high"], memory["bound"], memory["over_best"]) == ("", "", "", "")
    assert memory["value"] == str(3 << 20)
    assert rows()[1]["ceiling"] == ""


def test_a_long_name_is_cut():
    long = cell("edits.Edit.time_add", {"way": "y" * 3000, "size": "8x4"}, 1e-6)
    one = subject()
    measured = Measured(long, RUN, HASH, "2026-01-02T00:00:00+00:00", reproduce(long))
    page = markdown(report(replace(one, cells={long.name: measured, **one.cells}, failed=(long.name,))))
    assert brief(long.name) in page
    assert not re.search("y{300}", page)
