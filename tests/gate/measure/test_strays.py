"""A failure that does not happen again is kept, with its side and its cause."""

from bench_core.gate.measure.blame import Blame
from bench_core.gate.measure.discover import Found
from bench_core.gate.measure.evidence import Journal, Known
from bench_core.records.gate import CellEvidence, GateSettings

CELL = CellEvidence("a", "a", {}, "time", "seconds")


def known(tmp_path):
    found = Found((CELL,), {}, (), (), [], on_accelerator=False)
    return Known(found, GateSettings(), Journal(tmp_path / "journal"), None)


def test_what_failed_once_and_not_again_is_in_the_evidence_of_its_cell(tmp_path):
    found = known(tmp_path)
    blame = Blame(found)
    blame.suspect(found.dossiers[0], "call: OSError: busy", "head")
    blame.confirm(blame.next_suspect(), lambda version: 0.1)
    (cell,) = found.main.cells
    assert (cell.error, cell.strays) == (None, ("head: call: OSError: busy",))


def test_a_lost_process_without_a_cell_to_blame_is_kept_for_the_record(tmp_path):
    found = known(tmp_path)
    Blame(found).fault("has ended", "base")
    assert found.faults == ["has ended on base"]


def test_a_later_gate_on_the_same_versions_still_knows_what_failed_once(tmp_path):
    before = known(tmp_path)
    blame = Blame(before)
    blame.suspect(before.dossiers[0], "call: OSError: busy", "head")
    blame.confirm(blame.next_suspect(), lambda version: 0.1)
    assert known(tmp_path).main.cells[0].strays == ("head: call: OSError: busy",)
    Journal(tmp_path / "journal").forget({"a"})
    assert known(tmp_path).main.cells[0].strays == ()
