"""The HTML page of `bench-core report`: one file that loads nothing else. Tables, rankings and advice are in the
markup. The script adds charts, sorting and filters."""

from __future__ import annotations

import atexit
import base64
import functools
import gzip
import hashlib
import json
import math
import os
import re
import subprocess
import sys
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup, escape

from bench_core import texts, units, watchdog
from bench_core.compat import isolated
from bench_core.errors import BenchCoreError, brief
from bench_core.records.report import Answers, ChangePoint, History, Measured, Track
from bench_core.report import compare
from bench_core.report.page import charts, vega, views
from bench_core.report.page.charts import Chart
from bench_core.report.page.findings import anchor, findings
from bench_core.report.page.models import models

SECTIONS = (
    ("findings", "Findings"),
    ("cost", "Cost"),
    ("limits", "Limits"),
    ("growth", "Growth"),
    ("idioms", "Idioms"),
    ("crossovers", "Crossovers"),
    ("history", "History"),
    ("trust", "Trust"),
    ("cells", "All cells"),
)

MODELS = ("models", "Models")
"""The section on models. Only a report that has some contains it, and a report of nothing else has no other section."""

EARLY = 'document.documentElement.classList.add("script");'
"""A script that runs before anything is shown, so that elements that need scripts appear only with scripts."""

VEGA = "window.vegaIsHere(vegaEmbed);"
"""The end of the charts' library. It tells the page's script that the library is loaded."""


def html(report: Answers) -> str:
    figures = views.Figures(report)
    is_of_models = bool(report.models) and not report.subjects
    sections = (*(() if is_of_models else SECTIONS), *((MODELS,) if report.models else ()))
    shown = {
        "costs": views.costs(report, figures),
        "rooflines": views.rooflines(report, figures),
        "jobs": views.jobs(report, figures),
        "crossings": views.crossings(report, figures),
        "cells": views.cell_rows(report),
        "findings": findings(report),
        "models": models(report, figures),
    }
    data = {
        "cells": list(map(brief, figures.cells)),
        "style": vega.STYLE,
        "colours": vega.COLOURS,
        "shapes": vega.SHAPES,
        "dashes": vega.DASHES,
        "specs": {name: spec() for name, spec in charts.SHARED.items()},
        "charts": [_chart(chart) for chart in figures.charts],
        "laws": views.laws(report, figures.cells),
        "histories": views.histories(report, figures.cells),
    }
    script, library = _asset("page.js"), _library()
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            report=report,
            sections=sections,
            css=Markup(_asset("page.css")),
            early=Markup(EARLY),
            script=Markup(script),
            vega=_packed(library),
            hashes=Markup(" ".join(map(_hash, (EARLY, script, library)))),
            data=_packed(json.dumps(_shown(data), separators=(",", ":"), allow_nan=False)),
            changes_of=changes_of,
            newline=Markup("\n"),
            **shown,
        )
    )


def changes_of(history: History) -> list[tuple[Track, ChangePoint, int]]:
    """The change points of all cells, each with its track and the track's number: the newest commit first, and in a
    commit the largest step first."""
    found = [(track, change, number) for number, track in enumerate(history.tracks) for change in track.changes]
    return sorted(found, key=lambda row: (-row[1].moment, -max(row[1].ratio, 1 / row[1].ratio)))


def _shown(found: Any) -> Any:
    """What a template shows, or the content of JSON, with texts as by `bench_core.texts.line`. HTML that we made is
    left as it is."""
    if isinstance(found, str):
        return found if isinstance(found, Markup) else texts.line(found)
    if isinstance(found, dict):
        return {_shown(name): _shown(each) for name, each in found.items()}
    if isinstance(found, list | tuple):
        return [_shown(each) for each in found]
    return found


def prose(sentence: str) -> Markup:
    """A sentence with names between backticks as HTML."""
    shown = str(escape(texts.line(sentence)))
    return Markup(re.sub("`([^`]+)`", lambda found: f"<code>{breakable(Markup(found[1]))}</code>", shown))


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after a dot, or before its parameters. A long one is cut."""
    return Markup(re.sub(r"([.(])(?=\w)", r"\1<wbr>", str(escape(brief(name)))))


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "spec": chart.spec,
        "columns": list(chart.columns),
        "titles": list(chart.columns.values()),
        "rows": chart.rows,
    }


@functools.cache
def begin() -> subprocess.Popen[str]:
    """Build the charts' library in another process. It takes a second, during which results are read."""
    bundle = f"import vl_convert; sys.stdout.write(vl_convert.javascript_bundle({VEGA!r}))"
    process = subprocess.Popen(
        isolated(sys.executable, bundle),
        stdout=subprocess.PIPE,
        env=watchdog.variables(os.environ),
        encoding="utf-8",
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    """End the process if nobody waited for it because there was nothing to show."""
    if process.returncode is None:
        process.kill()
        process.communicate()


@functools.cache
def _library() -> str:
    """Vega-Lite and its dependencies as one script."""
    text, _ = begin().communicate()
    if begin().returncode:
        raise BenchCoreError("the charts' library cannot be built, see above: reinstall vl-convert-python.")
    return text


def _packed(text: str) -> Markup:
    """The text, compressed, in base64. Equal texts give equal results."""
    return Markup(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode())


def _hash(script: str) -> str:
    """The hash of a script for the page's policy, which forbids all other scripts."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return resources.files(__name__).joinpath("assets").joinpath(name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "anchor": anchor,
        "breakable": breakable,
        "value": units.value,
        "time": units.time,
        "size": _size,
        "bytes": units.size,
        "rate": charts.rate,
        "ratio": units.estimate,
        "share": units.share,
        "bounds": units.bounds,
        "change": units.signed_percent,
        "step": units.step,
        "count": units.count,
        "sortable": _sortable,
        "prose": prose,
        "spread": _spread,
        "times": units.ratio,
        "told": compare.told,
        "uncertainty": units.uncertainty,
    }
    return found


def _sortable(number: float) -> str:
    """The sort key of a number in a table, with four digits; "" for NaN and infinity."""
    return f"{number:.4g}" if math.isfinite(number) else ""


def _spread(measured: Measured) -> str:
    """The uncertainty of a time; "" for other values."""
    return units.uncertainty(measured.cell.value) if measured.cell.kind == "time" else ""


def _size(found: str | int) -> str:
    """Bytes with a unit. asv stores them as text. Other text is returned unchanged."""
    return units.size(float(found)) if str(found).isdigit() else str(found)
