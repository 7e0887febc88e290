"""Runs the real command, and keeps the part of its result that a trial needs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import bench_core
from bench_core import clock, git
from bench_core.errors import BenchCoreError

TOOL = Path(bench_core.__file__).parent.parent
"""The checkout whose gate is tried: the one of these trials."""

TRIED = ("asv.conf.json", "bench_core", "benchmarks", "pyproject.toml", "trials")
"""The files that a figure depends on: not the results, which trials write, nor the documentation, which repeats
them."""

SETTINGS = ("budget", "lanes", "noise_floor", "limit", "pass_error")
"""The settings that are kept. Gates before `pass_error` have none."""

Watch = Callable[[subprocess.Popen[str]], None]
"""A function that is called with the running gate, and returns at the latest when the gate has ended."""


def environment() -> dict[str, str]:
    """Our environment, in which the tried gate comes before an installed one."""
    return {**os.environ, "PYTHONPATH": str(TOOL), "COLUMNS": "160"}


def tool(dirty: bool) -> str:
    """A name for the version that is tried: the last commit that changed its files, and a digest of them if they have
    uncommitted changes.

    Args:
        dirty: whether uncommitted changes are allowed.

    Raises:
        BenchCoreError: if there are changes that are not allowed, or no git checkout.
    """
    try:
        commit = git.output(TOOL, "rev-list", "-1", "--abbrev-commit", "--abbrev=12", "HEAD", "--", *TRIED).strip()
    except git.GitError as error:
        raise BenchCoreError(f"trials need a git checkout of this project, but {TOOL} is none: {error}") from error
    listed = git.output(TOOL, "status", "--porcelain", "-z", "--no-renames", "--", *TRIED)
    changed = [line[3:] for line in listed.split("\0") if line]
    if not changed:
        return commit
    if not dirty:
        names = ", ".join(changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise BenchCoreError(
            f"{TOOL} has uncommitted changes ({names}), so nobody could repeat the measurement. Commit them, or use "
            "--dirty for a try."
        )
    digest = hashlib.sha256()
    for name in sorted(git.output(TOOL, "ls-files", "-z", "-c", "-o", "--exclude-standard", "--", *TRIED).split("\0")):
        path = TOOL / name
        digest.update(f"{name}\0".encode(errors="surrogateescape") + (path.read_bytes() if path.is_file() else b""))
    return f"{commit}+{digest.hexdigest()[:8]}"


def gate(
    root: Path, *asked: str, seed: int, watch: Watch = lambda process: None, everything: bool = True
) -> dict[str, Any]:
    """Run a gate on all cells, without the evidence of earlier gates.

    Args:
        root: the repository.
        asked: the revisions, and further options of the command.
        everything: whether to measure also the cells that the change cannot reach.

    Returns:
        The result of `kept`, with the seed, and ``wall``: seconds from start to end of the command.

    Raises:
        BenchCoreError: if the gate could not run. The text contains its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="trials-") as folder:
        found = Path(folder, "gate.json")
        command = [
            *(
                sys.executable,
                "-P",
                "-m",
                "bench_core",
                "gate",
                "--full",
                *asked,
                *(["--all"] if everything else []),
            ),
            *("--fresh", "--seed", str(seed), "--json", str(found)),
        ]
        said = Path(folder, "said")
        began = clock.host()
        with said.open("w") as out:
            process = subprocess.Popen(
                command, cwd=root, env=environment(), stdout=out, stderr=subprocess.STDOUT, text=True
            )
            try:
                watch(process)
                code = process.wait()
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        wall = clock.host() - began
        if not found.exists():
            last = "\n".join(said.read_text().splitlines()[-8:])
            raise BenchCoreError(f"the gate ended with status {code} and without a result. Its last lines:\n{last}")
        return {"seed": seed, "wall": round(wall, 2), **kept(json.loads(found.read_text()))}


def kept(result: dict[str, Any]) -> dict[str, Any]:
    """The verdicts of a gate's result, and every effect, from which other gates can be drawn."""
    return {
        "date": result["date"],
        "seconds": round(result["seconds"], 2),
        "settings": {name: result["settings"][name] for name in SETTINGS if name in result["settings"]},
        "verdict": result["verdict"],
        "reason": result["reason"],
        "exit_code": result["exit_code"],
        "counts": dict(Counter(cell["verdict"] for cell in result["cells"])),
        "suite": result["suite"] and _judged(result["suite"]),
        "control_rejects": result["control"]["rejects"],
        "noise": {name: _rounded(value) for name, value in result["noise"].items()},
        "spent": {name: round(value, 1) for name, value in result.get("spent", {}).items()},
        "cells": {cell["name"]: _cell(cell) for cell in result["cells"]},
        "controls": {cell["name"]: _cell(cell) for cell in result["control"]["cells"]},
        **{name: result[name] for name in ("unfair", "besides") if result.get(name)},
        **({"creep": kept({**result["creep"], "exit_code": None})} if result.get("creep") else {}),
    }


def _judged(judged: dict[str, Any]) -> dict[str, Any]:
    return {
        "verdict": judged["verdict"],
        "reason": judged["reason"],
        "ratio": _rounded(judged["ratio"]),
        "interval": [_rounded(end) for end in judged["interval"]],
        **({"at_most": _rounded(judged["at_most"])} if "at_most" in judged else {}),  # not in older files
        "unit": judged["decided_by"],
    }


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    return {
        **_judged(cell),
        "kind": cell["kind"],
        "error": cell["error"],
        "seconds": cell["seconds"]["base"] and float(f"{cell['seconds']['base']:.3g}"),
        # in order of their arrival: log ratio, parent, b or h for the side that was forked first, and samples
        "effects": [
            [_rounded(e["log_ratio"]), e["parent"], e["forked_first"][0], e["samples"]] for e in cell["effects"]
        ],
    }


def _rounded(value: float | str | None) -> float | str | None:
    """Round to 1e-6, a thousandth of what can be measured. Infinities are texts, and stay so."""
    return round(value, 6) if isinstance(value, float) else value


def covers(cell: Mapping[str, Any], ratio: float) -> bool | None:
    """Whether the interval of a kept cell includes a ratio; None if both ends are open (null)."""
    low, high = cell["interval"]
    if low is None and high is None:
        return None
    return (low is None or low <= ratio) and (high is None or ratio <= high)
