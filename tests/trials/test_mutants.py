import ast

import pytest

from trials import mutants
from trials.mutants import Copy, Mutant, _annotations, _left_out, summary


def test_a_statement_is_left_out_whole_and_nothing_else():
    source = "def f(x):\n    x.sort(\n        key=len,\n    )\n    x += [1]\n    return len(x)\n"
    found = [make() for _, make in _left_out(ast.parse(source), source)]
    assert found == [
        "def f(x):\n    pass\n    x += [1]\n    return len(x)\n",
        "def f(x):\n    x.sort(\n        key=len,\n    )\n    pass\n    return len(x)\n",
    ]


def test_annotations_are_not_mutated():
    spans = list(_annotations(ast.parse("def f(x: int | None) -> str | None: ...\ny: float | None = 2\n")))
    assert sorted(spans) == [((1, 9), (1, 19)), ((1, 24), (1, 34)), ((2, 3), (2, 15))]


@pytest.mark.parametrize(
    ("now", "caught"),
    [("x = 1\n", False), ("x = 2\n", True), ("raise SystemExit\n", True), ("import os\nos._exit(0)\n", True)],
)
def test_a_mutant_is_caught_if_a_test_fails_and_the_module_is_restored(tmp_path, now, caught):
    (tmp_path / "thing.py").write_text("x = 1\n")
    (tmp_path / "test_thing.py").write_text("from thing import x\n\ndef test_x():\n    assert x == 1\n")
    assert Copy(tmp_path).caught(Mutant("thing.py", (1, 0), "", "", now), ["test_thing.py"], limit=20) is caught
    assert (tmp_path / "thing.py").read_text() == "x = 1\n"


def test_a_summary_counts_the_newest_mutants_and_leaves_out_those_of_no_consequence():
    def line(now, caught, tests="new"):
        return {
            "target": "sampling", "modules": "m", "tests": tests, "module": "sampling.py", "line": 3, "was": "a",
            "now": now, "caught": caught,
        }  # fmt: skip

    lines = [line("old", False, tests="old"), line("b", True), line("c", False), line("d", False)]
    page = summary(lines, {("sampling.py", "a", "c"): "It is the same."})
    assert "| sampling | 3 | 1 | 1 | 50 % |" in page
    assert "`sampling.py:3`: `a` -> `c`. It is the same." in page
    assert "`sampling.py:3`: `a` -> `d`. No test sees it." in page
    assert "old" not in page


def test_every_target_has_modules_and_tests():
    for name in mutants.TARGETS:
        target = mutants.Target.named(name)
        paths = [test.removeprefix("--deselect=").partition("::")[0] for test in target.tests]
        assert all((mutants.TOOL / path).exists() for path in paths)


def test_a_mutant_that_is_explained_is_of_a_line_that_is_still_there():
    sources = {}
    for module, was, _ in mutants.explained():
        text = sources.setdefault(module, " ".join((mutants.TOOL / module).read_text().split()))
        assert " ".join(was.split()) in text, f"{module}: {was}"
