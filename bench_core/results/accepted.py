"""The accepted regressions in a results folder."""

from __future__ import annotations

from pathlib import Path

from bench_core import codec
from bench_core.codec import MalformedError
from bench_core.errors import BenchCoreError
from bench_core.records.accepted import ACCEPTED_SCHEMA, AcceptedRegression

FILE = "accepted.jsonl"
"""The file in asv's results folder with a line for each accepted regression."""


def read_accepted(results: Path) -> tuple[AcceptedRegression, ...]:
    """The accepted regressions, oldest first; () without the file.

    Raises:
        BenchCoreError: if a line cannot be read.
    """
    path = results / FILE
    if not path.is_file():
        return ()
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            content = codec.loads(line)
            codec.require_schema(content, ACCEPTED_SCHEMA)
            found.append(codec.from_json(AcceptedRegression, content))
        except MalformedError as error:
            raise BenchCoreError(f"{path}, line {number}, cannot be read: {error}. Delete that line.") from error
    return tuple(found)
