"""Reports made by hand: one with a few of everything, one with a thousand cells over fifty commits; and a browser."""

import importlib
import math
import os
import random
import shutil
from dataclasses import replace

import pytest

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
from bench_core.report.page import html

SIZES = {"8x4": 32, "256x256": 65_536, "1024x1024": 1_048_576, "4096x4096": 16_777_216}
RUN = RunKey("7b13ed90-installed.json", "2026-03-01T09:58:00+00:00")
FEW_SIZES = {size: SIZES[size] for size in ("8x4", "4096x4096")}
WAYS = ["in_place", "data", "no_grad", "detach", "copy_", "fill_", "mul_"]
BUILDS = ["eager", "50%_meta"]
"""Ways whose peak memory is known; what begins with a % is no code of an address."""


def around(value, width=0.03):
    return Interval(value * (1 - width), value, value * (1 + width), 0.99)


def result(benchmark, params, seconds, width=0.03):
    return CellResult(benchmark, params, "time", "seconds", around(seconds, width), 20, 10, 0, 1, "way")


def reading(benchmark, params, value, kind="peakmemory", unit="bytes"):
    """What is read once."""
    return CellResult(benchmark, params, kind, unit, Interval(-math.inf, value, math.inf, 0.99), 1, 1, 0, 0, "way")


def yardsticks():
    """What the others are held to, at sizes of its own."""
    for name, reads, writes in (("fill", 0, 1), ("copy", 1, 1)):
        for size, n in SIZES.items():
            params = {"device": "cpu", "threads": "1", "size": size}
            value = around(1e-6 + (reads + writes) * 2e-10 * n)
            yield CellResult(
                f"limits.Memory.time_{name}", params, "time", "seconds", value, 20, 10, reads, writes, None
            )
    for size in ("8x4", "256x256"):
        params = {"device": "cpu", "generator": "torch.uniform_", "size": size}
        value = around(1e-6 + 1e-9 * SIZES[size])
        yield CellResult("limits.Generators.time_draw", params, "time", "seconds", value, 20, 10, 0, 1, None, draws=1)
    for n in (10, 1000):
        params = {"iterations": str(n)}
        yield CellResult("limits.EmptyLoop.time_loop", params, "time", "seconds", around(2e-8 * n), 20, 10, 0, 0, None)


def measured(cell, number):
    """Of commits whose hashes do not go by date."""
    commit, date = f"{97 * number % 4096:08x}" * 5, f"2026-03-{1 + number % 28:02}T10:00:00+00:00"
    return Measured(cell, RUN, commit, date, f"bench-core run '^{cell.name}$'")


class Maker:
    """Cells of one subject, and what is said of them."""

    def __init__(self, subject, benchmarks, ways, seed, sizes=SIZES):
        self.subject, self.ways, self.sizes = subject, ways, sizes
        self.random = random.Random(seed)
        self.results = [
            result(name, {"way": way, "size": size}, self.seconds(n))
            for name in benchmarks
            for way in ways
            for size, n in self.sizes.items()
        ]
        self.peaks = [
            reading("materialization.Build.peakmem_build", {"way": way}, (3 - number) * 2**20)
            for number, way in enumerate(BUILDS)
        ]
        self.series = [self.line(name, way) for name in benchmarks for way in ways]
        self.growths = [self.law(line) for line in self.series]
        self.jobs = [*(self.job(name) for name in benchmarks), self.job_in_bytes()]
        self.limits = [self.limit(cell, number) for number, cell in enumerate(self.results)]

    def seconds(self, n):
        return (2e-6 + 1.3e-9 * n) * self.random.uniform(0.7, 3)

    def line(self, benchmark, way):
        points = tuple(
            Point(cell.name, self.sizes[cell.params["size"]], cell.params["size"], cell.value)
            for cell in self.results
            if cell.benchmark == benchmark and cell.params["way"] == way
        )
        return Series(self.subject, benchmark, "seconds", {"way": way}, "size", "elements", 4, points)

    def law(self, line):
        *others, last = (Residual(point, point.value.middle * 1.02, -0.02, False, "") for point in line.points)
        odd = replace(
            last, fitted=last.point.value.middle / 1.4, relative=0.4, departs=True, why="cache edge: leaves L2"
        )
        residuals = (*others, last) if line.fixed["way"] == self.ways[0] else (*others, odd)
        return Growth(line, 2e-6, 1.3e-9, 1e6, 2.6e-9, 1.02, True, residuals, "2 µs and 1.3 ns for each element.")

    def job(self, benchmark):
        rankings = []
        for size in self.sizes:
            cells = [cell for cell in self.results if cell.benchmark == benchmark and cell.params["size"] == size]
            cells.sort(key=lambda cell: cell.value.middle)
            best = cells[0].value.middle
            rankings.append(
                Ranking(
                    size,
                    tuple(
                        Rival(
                            cell.params["way"],
                            cell.name,
                            cell.value,
                            around(cell.value.middle / best, 0.05) if place else Interval(1, 1, 1, 0.99),
                            tied=not place or cell.value.middle / best < 1.05,
                            unties=place == 2,
                        )
                        for place, cell in enumerate(cells)
                    ),
                )
            )
        flips = tuple(f"`{ranking.rivals[0].name}` at {ranking.label}" for ranking in rankings)
        advice = f"`{rankings[-1].rivals[0].name}` is fastest at 4096x4096, by at least 3 %."
        return RankedJob(self.subject, benchmark, "way", {}, "size", tuple(rankings), flips, advice)

    def job_in_bytes(self):
        best, *_ = cells = sorted(self.peaks, key=lambda cell: cell.value.middle)
        rivals = tuple(
            Rival(
                cell.params["way"],
                cell.name,
                cell.value,
                Interval(1, 1, 1, 0.99)
                if cell is best
                else replace(cell.value, middle=cell.value.middle / best.value.middle),
                tied=cell is not best,
                unties=False,
            )
            for cell in cells
        )
        advice = f"Each way was read once, so nothing says how sure it is: `{rivals[0].name}` reads least."
        return RankedJob(self.subject, best.benchmark, "way", {}, "", (Ranking("", rivals),), (), advice)

    def limit(self, cell, number):
        n = self.sizes[cell.params["size"]]
        bound = ("memory", "generator", "interpreter")[number // 4 % 3]
        work = 4 * n if bound == "memory" else n
        achieved = work / cell.value.middle
        share = (1.5e-6 + 1e-9 * n) / cell.value.middle  # the ceiling is the same for all cells of a size
        level = ("L1d", "L2", "L2", "memory")[number % 4] if bound == "memory" else ""
        gain = 0.0 if bound == "interpreter" else max(0.0, cell.value.middle * (1 - share))
        yardsticks = (f"limits.{bound.title()}.time_most({cell.params['size']})",)
        return Limit(self.subject, cell.name, bound, achieved, achieved / share, around(share), yardsticks, level, gain)

    def crossing(self, benchmark):
        ratios = [
            (label, n, around(ratio))
            for (label, n), ratio in zip(self.sizes.items(), (3.0, 1.4, 0.7, 0.2), strict=False)
        ]
        sentence = "`cuda` is faster from 1024x1024 on."
        return Crossing(self.subject, benchmark, "device", "cpu", "cuda", {}, "size", tuple(ratios), (3e5,), sentence)

    def subject_record(self, machine):
        return Subject(
            self.subject,
            machine,
            {"cpu": "AMD EPYC", "ram": "25276502016", "torch": "2.13.0+cpu", "python": "3.11"},
            {"L1d": 32_768, "L2": 1_048_576, "L3": 33_554_432},
            {
                cell.name: measured(cell, number)
                for number, cell in enumerate((*self.results, *self.peaks, *yardsticks()))
            },
            failed=("initialization.Broken.time_it(8x4)",),
        )

    def history(self, machine, commits):
        moments = tuple(
            Moment(
                LoggedCommit(
                    f"{number:08x}" * 5, f"Change number {number}", "A. Author", f"2026-01-{1 + number % 28:02}"
                ),
                f"https://example.org/commit/{number:08x}",
                "2.12.0" if number < commits // 2 else "2.13.0",
                "2.12.0" if number == commits // 2 else "",
                (("main", "regression", "2 cells slower"),) if number == commits // 3 else (),
            )
            for number in range(commits)
        )
        tracks = []
        for number, cell in enumerate(self.results):
            step, first = 1.5 if number % 9 == 0 else 1.0, commits // 3 + number // 9 % 2
            values = tuple(
                (at, around(cell.value.middle * self.random.uniform(0.97, 1.03) * (step if at >= first else 1)))
                for at in range(commits)
            )
            changes = (ChangePoint(first, step),) if step != 1 else ()
            tracks.append(Track(cell.name, "seconds", values, changes))
        for cell in self.peaks:
            less = [
                (at, replace(cell.value, middle=cell.value.middle * (0.5 if at >= commits // 3 else 1)))
                for at in range(commits)
            ]
            tracks.append(Track(cell.name, "bytes", tuple(less), (ChangePoint(commits // 3, 0.5),)))
        return History(machine, moments, tuple(tracks), "Steps are found by a method, in a sentence.")

    def trust(self):
        unsure = tuple(cell.name for cell in self.results[:3])
        doctor = (("warning", "The clock frequency is not fixed.", "Set the governor to `performance`."),)
        method = ("A time is the median of 20 samples.", "`threads` is 1.")
        cells = len(self.results)
        runs = (
            TrustedRun(RUN, "7b13ed90" * 5, cells - 2, doctor),
            TrustedRun(RunKey("no-commit.json", ""), None, 2, None),
        )
        tally = Tally(12, 60, 1, 0.0004, 0.0894)
        return Trust(self.subject, (0.01, 0.03, 0.09), cells - 1, 1, unsure, runs, tally, method)


def made(makers, machines, commits, **more):
    return Answers(
        date="2026-03-02T08:00:00+00:00",
        version="0.1.0",
        subjects=tuple(maker.subject_record(machine) for maker, machine in zip(makers, machines, strict=True)),
        series=tuple(line for maker in makers for line in maker.series),
        limits=tuple(limit for maker in makers for limit in maker.limits),
        growths=tuple(law for maker in makers for law in maker.growths),
        jobs=tuple(job for maker in makers for job in maker.jobs),
        crossings=tuple(maker.crossing("initialization.Zeros.time_it") for maker in makers),
        histories=tuple(maker.history(machine, commits) for maker, machine in zip(makers, machines, strict=True)),
        trust=tuple(maker.trust() for maker in makers),
        left_out=(LeftOut("epyc/1234abcd-old.json", "it is not JSON: line 1"),),
        **more,
    )


def small_report(more=""):
    names = [f"initialization.Zeros.time_it{more}", f"tying.Loop.time_it{more}"]
    maker = Maker(f"epyc, torch 2.13.0{more}", names, [f"{way}{more}" for way in WAYS], 1, FEW_SIZES)
    return made([maker], ["epyc"], 12, published=".asv/html/index.html", tried=(TRIED,))


def two_report():
    names = ["initialization.Zeros.time_it"]
    makers = [
        Maker(f"epyc, torch {version}", names, [*WAYS[:2], "zero_"], seed, FEW_SIZES)
        for seed, version in enumerate(("2.12", "2.13"))
    ]
    return made(makers, ["epyc", "epyc-new"], 3)


def large_report():
    names = [f"family{number % 5}.SomeBenchmark{number}.time_something_long" for number in range(42)]
    return made([Maker("epyc, torch 2.13.0", names, [f"way_number_{n}" for n in range(6)], 2)], ["epyc"], 50)


TRIED = Tried(
    "epyc",
    (
        Trial(
            "A/A gates",
            "python -m trials aa",
            "2026-03-01",
            "0123456789ab",
            (
                TrialFigure("gates that are <red>", "0 of 60 (0 %)", 0.0, 0.0596),
                TrialFigure("a gate", "28 s (median of 60)", None, None),
            ),
        ),
    ),
)

EMPTY = Answers("2026-03-02T08:00:00+00:00", "0.1.0", (), (), (), (), (), (), (), ())


@pytest.fixture(scope="session")
def small():
    return small_report()


@pytest.fixture(scope="session")
def two():
    """Two machines side by side."""
    return two_report()


@pytest.fixture(scope="session")
def empty():
    return EMPTY


@pytest.fixture(scope="session")
def large():
    """A thousand cells over fifty commits."""
    return large_report()


@pytest.fixture(scope="session")
def page(small):
    return html(small)


@pytest.fixture(scope="session")
def attacks():
    """A report whose names are attacks."""
    return small_report("</script><script>window.stolen=1;alert(1)</script><img src=x onerror=alert(2)>\"'`{{7*7}}")


def missing(what):
    message = f"{what} is missing: pip install '.[dev]', and the system's Chromium (apt-get install chromium)"
    (pytest.fail if os.environ.get("CI") else pytest.skip)(message)


def needed(module):
    """A module of the extra ``dev``. Without it a test is skipped, but not where the environment says that it is CI."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return missing(module)


@pytest.fixture(scope="session")
def schema():
    """That of Vega-Lite."""
    jsonschema, altair = needed("jsonschema"), needed("altair")
    return jsonschema.Draft7Validator(altair.load_schema())


@pytest.fixture(scope="session")
def browser():
    playwright = needed("playwright.sync_api")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        missing("Chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe():
    return needed("axe_playwright_python.sync_playwright").Axe()


class View:
    """A page as it is seen: what it said on the console, and what it asked of the network."""

    def __init__(self, browser, path, hash_="", **context):
        self.context = browser.new_context(reduced_motion="reduce", **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(5000)
        self.said, self.requests = [], []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri() + hash_)
        for plot in self.page.locator(".plot:visible").all():  # charts are drawn when they come near
            plot.scroll_into_view_if_needed()
            plot.locator("svg").wait_for()

    @property
    def asked(self):
        """What it asked of the network."""
        return [url for url in self.requests if not url.startswith(("file:", "blob:"))]


@pytest.fixture(scope="session")
def written(tmp_path_factory, page):
    path = tmp_path_factory.mktemp("page") / "small.html"
    path.write_text(page, newline="\n")
    return path


@pytest.fixture(scope="session")
def hostile(tmp_path_factory, attacks):
    path = tmp_path_factory.mktemp("page") / "hostile.html"
    path.write_text(html(attacks), newline="\n")
    return path


DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="session")
def look(browser):
    """Opens a page as somebody sees it; in the end, none has complained, or asked for anything, whatever was done."""
    views = []

    def opened(path, *hash_, **context):
        views.append(View(browser, path, *hash_, **context))
        return views[-1]

    yield opened
    for view in views:
        view.context.close()
    assert [(view.said, view.asked) for view in views if view.said or view.asked] == []


@pytest.fixture(scope="session")
def view(look, written):
    """The small report, opened by an address as somebody would type it; the fixtures below show it on other screens."""
    address = f"#cell=materialization.Build.peakmem_build({BUILDS[1]})"
    return look(written, address, permissions=["clipboard-read", "clipboard-write"])


def seen(view, viewport, scheme):
    view.page.set_viewport_size(viewport)
    view.page.emulate_media(color_scheme=scheme)
    return view


@pytest.fixture
def light(view):
    return seen(view, DESK, "light")


@pytest.fixture
def dark(view):
    return seen(view, DESK, "dark")


@pytest.fixture
def phone(view):
    return seen(view, PHONE, "light")


@pytest.fixture
def unfolded(dark):
    """The dark view, with everything open that can be."""
    folded = "[...document.querySelectorAll('details:not([open])')]"
    opened = dark.page.evaluate_handle(f"{folded}.map(details => {{ details.open = true; return details }})")
    yield dark
    opened.evaluate("all => all.forEach(details => { details.open = false })")


@pytest.fixture
def machines(look, two, tmp_path):
    """Two machines side by side."""
    path = tmp_path / "two.html"
    path.write_text(html(two), newline="\n")
    return look(path, viewport=DESK)


@pytest.fixture(scope="session")
def nothing(look, empty, tmp_path_factory):
    """A page without results."""
    path = tmp_path_factory.mktemp("page") / "empty.html"
    path.write_text(html(empty), newline="\n")
    return look(path, viewport=DESK)
