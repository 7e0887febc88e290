"""Keeps accepted regressions in the history: of each merged pull request, what its comment says was accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench_core import codec
from bench_core.ci import comment, event
from bench_core.ci.github import Api
from bench_core.errors import BenchCoreError
from bench_core.files import append_line
from bench_core.records.accepted import ACCEPTED_SCHEMA, AcceptedRegression
from bench_core.results.accepted import FILE, read_accepted

RECENT = 100
"""The number of pull requests that are looked at: those that changed last."""


def keep(github: Api, results: Path) -> list[AcceptedRegression]:
    """Add what was accepted in merged pull requests to the results folder, once.

    Returns:
        What was added.

    Raises:
        BenchCoreError: if GitHub does not answer, or the file cannot be read or written.
    """
    known = {one.pull_request for one in read_accepted(results)}
    added = [one for one in accepted(github) if one.pull_request not in known]
    for one in sorted(added, key=lambda each: each.date):
        try:
            append_line(results / FILE, json.dumps({"schema": ACCEPTED_SCHEMA, **codec.to_json(one)}, allow_nan=False))
        except OSError as error:
            raise BenchCoreError(f"{results / FILE} cannot be written: {error.strerror}.") from error
    return added


def accepted(github: Api) -> Iterator[AcceptedRegression]:
    """The accepted regressions of the merged pull requests that changed last, if the comment is on the last commit."""
    closed = github.get("pulls", state="closed", sort="updated", direction="desc", per_page=RECENT)
    for one in closed if isinstance(closed, list) else ():
        merged = one.get("merge_commit_sha") if isinstance(one, dict) and one.get("merged_at") else None
        if merged is None:
            continue
        pull = event.pull(one)
        for _, text in comment.own(github, pull.number):
            found = comment.read_stored(text)
            if found is not None and found.commit == pull.head:
                cells = tuple(f"{cell.name} {cell.change}".strip() for cell in found.cells)
                yield AcceptedRegression(
                    pull.number, event.sha(merged), found.commit, found.by, found.date, found.label, cells
                )
