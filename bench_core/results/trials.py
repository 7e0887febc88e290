"""Reads the results of trials of the gate on a machine: ``trials/<machine>/summary.jsonl`` below the results."""

from __future__ import annotations

from pathlib import Path

from bench_core.codec import MalformedError, from_json, require_schema
from bench_core.errors import BenchCoreError
from bench_core.records.results import Trial, Tried
from bench_core.results.read import load

SUMMARY = "summary.jsonl"
"""The file's name. It holds one line of JSON, but is no ``*.json``, since asv reads all of these."""

SCHEMA = 1
"""The newest readable schema of the file. It is raised when a key is removed or changes its meaning."""


def read_trials(path: Path) -> Tried:
    """Read a summary of trials.

    Raises:
        BenchCoreError: if the file is not valid, or has a newer schema.
    """
    content = load(path)
    try:
        require_schema(content, SCHEMA)
        figures = content["figures"]
        trials = tuple(
            from_json(Trial, {**origin, "figures": [each for each in figures if each["trial"] == name]})
            for name, origin in content["trials"].items()
        )
        return Tried(from_json(str, content["machine"]["name"]), trials)
    except (KeyError, TypeError, AttributeError, MalformedError) as error:
        raise BenchCoreError(
            f"{path} is no summary of trials that can be read: {error}. `python -m trials summary` writes one."
        ) from error
