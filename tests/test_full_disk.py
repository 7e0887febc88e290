"""On a full disk, files are as they were before. Each process is limited here to files of some bytes, after which the
system refuses to write more of a file, as it does on a full disk."""

import json
import sys
from contextlib import contextmanager

import pytest

from bench_core.errors import BenchCoreError
from bench_core.files import append_line, write_whole
from bench_core.gate.measure.evidence import Dossier, Journal
from bench_core.records.gate import CellEvidence, Effect
from bench_core.results.asv_files import saved_into

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")


@contextmanager
def room_for(size):
    """Let every file have this many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path):
    write_whole(tmp_path / "page", "old")
    with room_for(10), pytest.raises(OSError, match="File too large"):
        write_whole(tmp_path / "page", "n" * 100_000)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page", "old")]


@pytest.mark.parametrize("size", [4, 5, 10])
def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path, size):
    append_line(tmp_path / "lines", "one")
    with room_for(size), pytest.raises(OSError, match="File too large"):
        append_line(tmp_path / "lines", "n" * 100_000)
    assert (tmp_path / "lines").read_text() == "one\n"


def test_evidence_that_does_not_fit_is_one_clear_error_and_what_there_was_is_read(tmp_path):
    journal = Journal(tmp_path / "x.jsonl")
    cell = CellEvidence("f.time_it", "f.time_it", {}, "time", "seconds")
    journal.add(Dossier(cell), Effect(0, 0, 0.1, 1.0, 1.1, 4), 0.5, 40)
    with (
        room_for(journal.path.stat().st_size + 20),
        pytest.raises(BenchCoreError, match="x.jsonl cannot be written: File too large.*run the same command again"),
    ):
        journal.add(Dossier(cell), Effect(1, 0, 0.1, 1.0, 1.1, 4), 0.5, 40)
    again = Dossier(cell)
    assert journal.load([again]).effects == 1


def test_asvs_results_that_do_not_fit_are_one_clear_error_and_the_old_ones_stay(tmp_path):
    results = tmp_path / "results"

    def store(size):
        with room_for(1000), saved_into(results) as folder, open(f"{folder}/some.json", "w") as file:  # noqa: PTH123
            json.dump(["x" * size], file)  # as asv does it

    store(10)
    with pytest.raises(BenchCoreError, match="results: File too large. What was stored before is unchanged."):
        store(100_000)
    assert [(path.name, len(path.read_text())) for path in results.iterdir()] == [("some.json", 14)]
