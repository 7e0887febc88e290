"""Which cells two versions have in common, from what their probes answer: no process is started."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.measure.discover import NoCellError, compare, find_cells, unfair
from bench_core.gate.versions.subjects import Importable, Subjects
from bench_core.records.version import Install
from bench_core.workers import child
from bench_core.workers.messages import Probed, ProbedCell, ProbeFailed
from bench_core.workers.probe import TOOLKIT


def probed(*cells, **others):
    """What a probe answers; cells are (name, device) or (name, device, why it cannot run)."""
    made = tuple(
        ProbedCell(name, name.partition("(")[0], {}, "time", *(why or (None,)), device) for name, device, *why in cells
    )
    usual = {"none": "", "broken": {}, "declared": (), "flavour": {}, "preload": (), "imported": ()}
    return Probed(made, **{**usual, **others})


def test_a_cell_that_base_says_cannot_run_is_left_out_and_one_that_head_cannot_run_any_more_fails():
    can, cannot = probed(("a.time_a", "cpu")), probed(("a.time_a", "cpu", "no such device"))
    found = compare(cannot, can)
    assert (found.cells, found.failed, found.left_out) == ((), (), {"a.time_a": "skips itself on base: no such device"})
    found = compare(can, cannot)
    assert [(one.error, one.error_side) for one in found.failed] == [("skips itself: no such device", "head")]


def test_a_cell_of_a_module_that_does_not_import_on_one_side_fails_there_and_others_are_only_on_the_other():
    have = probed(("a.b.time_x", "cpu"), ("a.bc.time_x", "cpu"))
    lacks = probed(broken={"suite.a.b": "ImportError"})
    for one, other, there, missing in ((have, lacks, "base", "head"), (lacks, have, "head", "base")):
        found = compare(one, other)
        (failed,) = found.failed
        assert (failed.name, failed.error_side) == ("a.b.time_x", missing)
        assert failed.error.endswith("ImportError")
        assert found.left_out == {"a.bc.time_x": f"only on {there}"}
        assert found.cells == ()


def test_cells_have_the_unit_that_is_declared_and_heads_declaration_counts():
    both = ("a.track_x", "cpu"), ("b.track_x", "cpu")
    base = probed(*both, declared=({"name": "a.track_x", "unit": "old"}, {"name": "b.track_x"}))
    found = compare(base, probed(*both, declared=({"name": "a.track_x", "unit": "new"},)))
    assert [(cell.name, cell.unit) for cell in found.cells] == [("a.track_x", "new"), ("b.track_x", "unit")]
    assert found.declared == [{"name": "a.track_x", "unit": "new"}, {"name": "b.track_x"}]


@pytest.mark.parametrize(
    ("cells", "on_accelerator"),
    [
        ([("a.time_x", "cpu"), ("b.time_x", "meta")], False),
        ([("a.time_x", "cpu"), ("b.time_x", "cuda")], True),
        ([("a.time_x", "cpu"), ("b.time_x", "cuda", "no such device")], False),
    ],
)
def test_a_cell_that_runs_on_an_accelerator_is_noticed(cells, on_accelerator):
    assert compare(probed(*cells), probed(*cells)).on_accelerator is on_accelerator


def test_what_either_side_imports_beforehand_is_imported_once_in_order():
    cell = ("a.time_x", "cpu")
    found = compare(probed(cell, preload=("json", "re")), probed(cell, preload=("re", "gc")))
    assert found.preload == ("json", "re", "gc")


CELL, OTHER = ("a.time_x", "cpu"), ("b.time_x", "cpu")
WORKS, LACKS = probed(CELL), probed(CELL, broken={"s.b": "does not import: x"})


@pytest.mark.parametrize(
    ("base", "head", "failed", "left_out"),
    [
        (WORKS, LACKS, [("s.b", "part", "head")], {}),
        (LACKS, WORKS, [], {"s.b": "on base, it does not import: x"}),
        (LACKS, LACKS, [("s.b", "part", None)], {}),
        (probed(CELL, OTHER), LACKS, [("b.time_x", "time", "head")], {}),
        (LACKS, probed(CELL, OTHER), [("b.time_x", "time", "base")], {}),
    ],
)
def test_a_part_that_one_side_cannot_use_is_named_even_if_the_other_has_no_cells_there(base, head, failed, left_out):
    found = compare(base, head)
    assert [(one.name, one.kind, one.error_side) for one in found.failed] == failed
    causes = {one.error.removeprefix("s.b ").removeprefix("on both sides, it ") for one in found.failed}
    assert causes <= {"does not import: x"}
    assert found.left_out == left_out


def test_a_part_that_head_cannot_use_is_no_failure_if_the_pattern_selects_none_of_its_cells():
    base = replace(WORKS, cells=(*WORKS.cells, replace(probed(OTHER).cells[0], selected=False)))
    assert [one.name for one in compare(base, LACKS).failed] == ["s.b"]
    found = compare(base, LACKS, whole=False)
    assert (found.failed, found.left_out) == ((), {"s.b": "on head, it does not import: x"})


def test_a_whole_suite_that_one_side_cannot_use_fails_every_cell_there():
    nothing = probed(none="no cells", broken={"s": "does not import: x"})
    for one, other, side in ((WORKS, nothing, "head"), (nothing, WORKS, "base")):
        found = compare(one, other)
        assert [(cell.name, cell.error, cell.error_side) for cell in found.failed] == [
            ("a.time_x", "s does not import: x", side)
        ]
        assert (found.cells, found.left_out) == ((), {})


def test_what_has_no_cells_is_left_out_with_its_side_if_it_is_one():
    base = probed(CELL, left_out={"a.time_none": "n has no values", "a.time_old": "hidden"})
    head = probed(CELL, left_out={"a.time_none": "n has no values", "a.time_new": "hidden"})
    assert compare(base, head).left_out == {
        "a.time_none": "n has no values",
        "a.time_old": "on base, hidden",
        "a.time_new": "on head, hidden",
    }


def test_no_cell_on_either_side_is_an_error_and_one_on_head_alone_is_none():
    with pytest.raises(NoCellError, match=r"nothing matches\. s\.b fails: y\."):
        compare(probed(broken={"s.b": "fails: x"}), probed(none="nothing matches.", broken={"s.b": "fails: y"}))
    assert compare(probed(), probed(("a.time_x", "cpu"))).left_out == {"a.time_x": "only on head"}


def test_flavours_that_both_sides_know_and_that_differ_are_unfair():
    base = {"a": "1", "b": "2", "c": "3"}
    assert unfair(base, {"a": "1", "b": "4", "d": "5"}) == ("b: 2 on base, 4 on head",)


class Probes:
    """Probes that answer at once.

    Attributes:
        asked: what each was told.
        closed: how many were ended.
    """

    def __init__(self, answers):
        self.answers = {side: list(found) if isinstance(found, list) else [found] for side, found in answers.items()}
        self.asked, self.closed = [], 0

    def __call__(self, dialogue, hash_seed, watchdog, *, python, environment):
        probes = self

        class Probe:
            def tell(self, task):
                probes.asked.append((task, python))
                self.name = Path(task.source.caches).name

            def answer(self):
                left = probes.answers[self.name]
                found = left.pop(0) if len(left) > 1 else left[0]
                if isinstance(found, Exception):
                    raise found
                return found

            def close(self):
                probes.closed += 1

        return Probe()


@pytest.fixture
def ask(monkeypatch):
    """Finds the cells of versions, without a process."""

    def made(answers, code=None, **named):
        past = "past" in answers
        versions = {
            name: Importable(Install(name, name, ("torch", "thing")), f"/{name}", f"/python of {name}")
            for name in ("base", "head", "past")
        }
        subjects = Subjects(
            versions["base"], versions["head"], Path("/cases"), code, versions["past"] if past else None
        )
        probes = Probes(answers)
        monkeypatch.setattr(child, "Child", probes)
        try:
            return find_cells(subjects, "x", quick=True, **named), probes
        finally:
            assert probes.closed == len(probes.asked) >= 2 + past

    return made


GPU = ("b.time_x", "cuda")
CODE = Importable(Install("code", "code", ()), "/code")


def test_each_version_is_asked_for_the_cells_of_the_suite_that_are_chosen(ask):
    same = probed(CELL)
    found, probes = ask({"base": same, "head": same, "past": probed(CELL, GPU)})
    assert [(task.suite, task.pattern, task.quick, task.flavoured) for task, _ in probes.asked] == [
        ("/cases", "x", True, ())
    ] * 3
    assert [task.source.paths for task, _ in probes.asked] == [("/base",), ("/head",), ("/past",)]
    assert [python for _, python in probes.asked] == ["/python of base", "/python of head", "/python of past"]
    assert found.past.left_out == {"b.time_x": "only on past"}


def test_the_answers_of_all_versions_are_put_together(ask):
    base, head = probed(CELL, imported=("a",)), probed(CELL, imported=("b",))
    found, _ = ask({"base": base, "head": head})
    assert (found.imported, found.past) == ({"a", "b"}, None)
    assert found.starting > 0


@pytest.mark.parametrize(
    ("code", "cell", "unlike"),
    [
        (None, CELL, ["numpy", "torch", "x"]),
        (None, GPU, ["GPU toolkit", "numpy", "torch", "x"]),
        (CODE, CELL, ["x"]),
        (CODE, GPU, ["GPU toolkit", "x"]),
    ],
)
def test_what_was_asked_for_or_no_cell_uses_makes_no_unfair_pair(ask, code, cell, unlike):
    flavours = [dict.fromkeys(("torch", "numpy", TOOLKIT, "x"), side) for side in ("1", "2")]
    base, head = (probed(cell, flavour=flavour) for flavour in flavours)
    found, probes = ask({"base": base, "head": head}, code)
    named = {what.partition(":")[0] for what in found.unfair}
    assert named == {TOOLKIT if name == "GPU toolkit" else name for name in unlike}
    assert [task.flavoured for task, _ in probes.asked] == [("torch",) if code else ()] * 2


def test_a_version_that_is_imported_from_elsewhere_is_named(ask):
    with pytest.raises(BenchCoreError, match=r"^head \(head\): from elsewhere$"):
        ask({"base": probed(CELL), "head": ProbeFailed("from elsewhere")})


def test_a_suite_that_ends_the_process_of_one_side_twice_fails_every_cell_there(ask):
    found, probes = ask({"base": probed(CELL), "head": child.LostError("has ended")})
    (failed,) = found.failed
    assert failed.error == "cases cannot be imported: the process that imports it has ended"
    assert (failed.name, failed.error_side, len(probes.asked)) == ("a.time_x", "head", 3)


def test_a_process_that_is_lost_once_is_no_failure(ask):
    found, _ = ask({"base": probed(CELL), "head": [child.LostError("has ended"), probed(CELL)]})
    assert ([cell.name for cell in found.cells], found.failed) == (["a.time_x"], ())


def test_a_suite_that_ends_every_process_is_named(ask):
    lost = child.LostError("has ended")
    with pytest.raises(BenchCoreError, match=r"^the suite cannot be read with base \(base\): .* has ended$"):
        ask({"base": lost, "head": lost})


def test_an_error_for_want_of_a_variable_of_the_matrix_says_so(ask):
    broken = probed(CELL, broken={"cases.b": "does not import: KeyError: 'SIZE'"})
    found, _ = ask({"base": broken, "head": broken}, explain=lambda error: f"explains {error}")
    assert found.left_out["cases.b"].endswith("KeyError: 'SIZE' (explains KeyError: 'SIZE')")
