"""Measures the report of a thousand cells over fifty commits: its build time, its size, and its loading time."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core import clock
from bench_core.errors import BenchCoreError
from trials import repositories
from trials.files import Trial, today
from trials.gates import TOOL, environment

COMMITS = 50
"""The number of commits in the report's history."""

SCATTER = 0.02
"""The standard deviation of a value from commit to commit."""

SCALED = ("result", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25", "stats_q_75")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

USABLE = """
const look = () => {
  const plot = document.querySelector(".plot");
  if (plot && document.readyState === "complete") plot.scrollIntoView();
  if (!plot?.querySelector("svg .mark-symbol path")) return requestAnimationFrame(look);
  requestAnimationFrame(() => setTimeout(() => {
    document.documentElement.dataset.usable = performance.now();
  }));
};
look();
"""
"""A script that scrolls to the first chart and records the milliseconds from the navigation until the chart is painted
and the page takes input. The page's own script has run by then."""


def run(trial: Trial, runs: int, results: Path, say: Callable[[str], None]) -> None:
    """Build and open the report `runs` times.

    Args:
        results: asv's results folder. Its run with the most values is copied for each commit, with scattered values,
            some of which have a step.

    Raises:
        BenchCoreError: if playwright or Chromium is missing, the folder contains no run, or the report fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise BenchCoreError("Chromium is missing: apt-get install chromium.")
    with TemporaryDirectory(prefix="trials-") as folder:
        config = _history(Path(folder), results)
        for index in range(len(trial.done()), runs):
            found = _build(config)
            found |= _opened(config.with_name("report.html"), browser)
            trial.add(run=index, date=today(), **found)
            say(f"run {index + 1} of {runs}: {found}")


def _history(folder: Path, results: Path) -> Path:
    """Make a project with `COMMITS` commits and a run for each. Returns its configuration."""
    source = max(results.glob("*/*-*.json"), key=_values, default=None)
    if source is None:
        raise BenchCoreError(f"there is no run of asv in {results}. `make bench-full` makes one.")
    content = json.loads(source.read_text())
    repository = repositories.made(folder / "project")
    home = repository.root / "results" / source.parent.name
    home.mkdir(parents=True)
    shutil.copy(source.parent / "machine.json", home)
    shutil.copy(results / "benchmarks.json", repository.root / "results")
    draw = random.Random(1)
    steps = {name: draw.randrange(10, 40) if draw.random() < 0.1 else COMMITS for name in content["results"]}
    for number in range(COMMITS):
        commit = repository.commit({"number": f"{number}\n"}, f"Commit {number}")
        scaled = {
            name: _scaled(
                dict(zip(content["result_columns"], row, strict=False)), 1.3 if number >= steps[name] else 1, draw
            )
            for name, row in content["results"].items()
        }
        rows = {name: [row.get(column) for column in content["result_columns"]] for name, row in scaled.items()}
        text = json.dumps(
            {**content, "commit_hash": commit, "date": 1_770_000_000_000 + 86_400_000 * number, "results": rows}
        )
        (home / f"{commit[:8]}-{source.name.split('-', 1)[1]}").write_text(text)
    config = repository.root / "asv.conf.json"
    config.write_text((TOOL / "asv.conf.json").read_text())
    return config


def _values(path: Path) -> int:
    rows = json.loads(path.read_text()).get("results", {}).values()
    # asv writes NaN for skipped cells, and null for failed ones.
    return sum(value is not None and not math.isnan(value) for row in rows for value in row[0] or ())


def _scaled(row: Mapping[str, Any], factor: float, draw: random.Random) -> dict[str, Any]:
    """A benchmark's values and their intervals, each scattered. Values other than times scatter as well."""
    factors = [factor * draw.gauss(1, SCATTER) for _ in row["result"] or ()]
    scaled = {
        name: [value if value is None else value * by for value, by in zip(row[name], factors, strict=True)]
        for name in SCALED
        if row.get(name)
    }
    return {**row, **scaled}


def _build(config: Path) -> dict[str, Any]:
    """Run the command. Returns its time in seconds, the size of the page in bytes, and counts."""
    command = [sys.executable, "-P", "-m", "bench_core", "report", "--suite", str(config), "-o", "report.html"]
    started = clock.host()
    done = subprocess.run(command, cwd=config.parent, env=environment(), capture_output=True, text=True, check=False)
    seconds = clock.host() - started
    page = config.with_name("report.html")
    if done.returncode:
        raise BenchCoreError(f"the report fails: {done.stderr.strip()}")
    text = page.read_text()
    return {
        "build": round(seconds, 2),
        "bytes": len(text.encode()),
        "cells": len(re.findall(r'<tr id="cell=', text)),
        "commits": COMMITS,
        "left_out": done.stderr.count("left out"),
    }


def _opened(page: Path, browser: str) -> dict[str, Any]:
    """The seconds until the page can be used, in a newly started browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise BenchCoreError("playwright is missing: pip install '.[dev]'.") from error
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        view = chromium.new_page()
        view.add_init_script(USABLE)
        view.goto(page.as_uri())
        page_itself = view.locator("html[data-usable]")  # the page's policy forbids waiting functions
        page_itself.wait_for(state="attached")
        milliseconds = float(page_itself.get_attribute("data-usable") or "")
        version = chromium.version
        chromium.close()
    return {"usable": round(milliseconds / 1000, 3), "chromium": version}
