import pytest

from bench_core.errors import BenchCoreError
from trials import aa, detect, gates, plants, repositories
from trials.files import Trial, of_one_protocol, raw

PLAIN = {"bench": None, "budget": None}
QUICK = {"bench": None, "budget": "20s"}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of its own to try: a repository with one module of the package."""
    made = repositories.made(tmp_path / "checkout")
    made.commit({"bench_core/gate.py": "1\n", ".gitignore": "*.pyc\n"}, "One")
    for module in (gates, repositories):
        monkeypatch.setattr(module, "TOOL", made.root)
    return made


@pytest.fixture
def gates_run(monkeypatch):
    """The arguments of each gate that a trial would have run."""
    ran = []

    def gate(root, base, head, *options, seed):
        ran.append(options)
        return {"verdict": "pass", "counts": {}, "wall": 1.0}

    for module in (aa, detect):
        monkeypatch.setattr(module, "gate", gate)
    return ran


def begun(folder, options=PLAIN, dirty=False):
    return Trial(raw(folder, "any"), gates.tool(dirty), options)


def test_a_clean_checkout_is_named_by_its_commit(checkout):
    hash_ = checkout.commit({"bench_core/gate.py": "2\n"}, "Two")
    assert gates.tool(dirty=False) == hash_[:12]


@pytest.mark.parametrize("name", ["bench_core/gate.py", "bench_core/new.py"])
def test_a_dirty_checkout_is_refused(checkout, name):
    (checkout.root / name).write_text("2\n")
    with pytest.raises(BenchCoreError, match=rf"uncommitted changes \({name}\).*--dirty"):
        gates.tool(dirty=False)


@pytest.mark.parametrize("name", ["bench_core/gate.py", "bench_core/new.py"])
def test_two_dirty_checkouts_have_two_names(checkout, name):
    found = []
    for text in ("2\n", "3\n", "3\n"):
        (checkout.root / name).write_text(text)
        found.append(gates.tool(dirty=True))
    assert found[0] != found[1] == found[2]


def test_results_and_documentation_make_no_other_tool(checkout):
    before = gates.tool(dirty=False)
    checkout.commit({"results/trials/here/aa.jsonl": "{}\n", "docs/figures.md": "1 %\n"}, "Figures")
    (checkout.root / "results/trials/here/aa.jsonl").write_text("{}\n{}\n")
    assert gates.tool(dirty=False) == before


def test_a_folder_that_is_no_checkout_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "TOOL", tmp_path)
    with pytest.raises(BenchCoreError, match="is none"):
        gates.tool(dirty=True)


def test_runs_of_the_same_tool_with_the_same_options_are_done(checkout, tmp_path):
    begun(tmp_path, QUICK).add(gate=0)
    assert [line["gate"] for line in begun(tmp_path, QUICK).done()] == [0]


def test_runs_of_another_tool_are_not_done(checkout, tmp_path):
    begun(tmp_path).add(gate=0)
    checkout.commit({"bench_core/gate.py": "2\n"}, "Two")
    assert begun(tmp_path).done() == []


def test_runs_with_other_options_are_not_done(checkout, tmp_path):
    begun(tmp_path, QUICK).add(gate=0)
    assert begun(tmp_path).done() == []


def test_a_run_across_a_change_of_the_tool_is_not_kept(checkout, tmp_path):
    trial = begun(tmp_path)
    checkout.commit({"bench_core/gate.py": "2\n"}, "Two")
    with pytest.raises(BenchCoreError, match="belongs to neither"):
        trial.add(gate=0)
    assert trial.raw.read() == []


def test_options_that_were_given_are_the_gates():
    assert Trial(raw(gates.TOOL, "any"), "abc", QUICK).arguments == ["--budget", "20s"]


def test_the_newest_run_says_which_belong_together():
    old, tried, new = ({"tool": tool, "options": PLAIN} for tool in ("old", "new", "new"))
    tried["options"] = QUICK
    assert of_one_protocol([old, tried, new]) == [new]
    assert of_one_protocol([old, tried, new], "old") == [old]
    assert of_one_protocol([old], "new") == []


def test_detect_begins_again_with_another_budget(checkout, tmp_path, gates_run, monkeypatch):
    monkeypatch.setattr(plants, "fixed_shares", dict)
    for options in (PLAIN, QUICK, QUICK):
        detect.run(begun(tmp_path, options), {3: 1}, lambda line: None)
    assert gates_run == [(), ("--budget", "20s")]


def test_aa_takes_the_cells_that_were_given(checkout, tmp_path, gates_run):
    checkout.commit({aa.COMMENTED: ""}, "What is commented")
    aa.run(begun(tmp_path, {"bench": "some", "budget": None}), 1, lambda line: None)
    aa.run(begun(tmp_path), 1, lambda line: None)
    assert gates_run == [("--bench", "some"), ("--bench", "|".join(aa.SELECTION))]


def test_lines_of_earlier_versions_are_read_and_others_are_refused_by_number(tmp_path):
    file = raw(tmp_path, "aa")
    file.add(tool="a")
    file.path.write_text(file.path.read_text() + '{"tool": "old"}\n{"schema": "bench-core/gate/1"}\n')
    assert [line.get("tool") for line in file.read()] == ["a", "old", None]
    for damaged in ('{"schema": 2}', "[]", "{"):
        file.path.write_text('{"tool": "old"}\n' + damaged + "\n")
        with pytest.raises(BenchCoreError, match="aa.jsonl, line 2, is damaged: .* Delete the line"):
            file.read()
