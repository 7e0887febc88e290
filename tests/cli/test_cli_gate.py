"""`bench-core gate` as a person meets it, on a project of a few lines."""

import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console
from sides import NUMBERS

from bench_core import clock
from bench_core.cli import main
from bench_core.cli.gate.causes import looked_into
from bench_core.cli.gate.finish import Wanted, finished, measuring
from bench_core.errors import BenchCoreError
from bench_core.gate import prepare, session
from bench_core.gate.judge.gate import judge
from bench_core.gate.why.cause import InstructionCounts
from bench_core.gate.why.instructions import Counted
from bench_core.records.gate import Asked, Cause, CellEvidence, Effect, GateRecord, GateSettings
from bench_core.records.model import ModelSpec
from bench_core.records.version import Commit, Install, WorkingTree
from bench_core.results.gate_file import LEDGER

CASES = """
import os
import thing


class Call:
    def time_value(self):
        thing.value()

    def teardown(self):
        while os.path.exists(HANG):
            open(HANG + ".now", "w").close()
"""
LOOP = "def value():\n    for _ in range(LENGTH):\n        pass\n"
SHORT, ALIKE, LONG = (LOOP.replace("LENGTH", str(length)) for length in (2000, 2001, 6000))
"""`ALIKE` differs from `SHORT` by what no cell can show."""

QUICKLY = ("--lanes", "1", "--budget", "20")
TOO_SHORT = ("--lanes", "1", "--budget", "0.1s")
EVIDENCE = (".asv/env/bench-core/evidence", "*.jsonl")
CLEARLY = ("--noise-floor", "30%", "--limit", "60%")
"""What no other load on the machine gets in the way of."""


class Project:
    """A git repository with a package and a suite, committed; it says nothing of how it is built, so that its versions
    are made in no time."""

    def __init__(self, repository):
        self.root = repository.root
        self.git, self.commit, self.write = repository.git, repository.commit, repository.write
        self.configure = repository.configure
        self.temporary = self.root / ".asv" / "temporary"
        self.temporary.mkdir(parents=True)
        self.configure(benchmark_dir="cases")
        self.commit(
            {
                "thing/__init__.py": SHORT,
                "cases/__init__.py": "",
                "cases/calls.py": CASES.replace("HANG", repr(str(self.root / ".asv/hang"))),
                ".gitignore": ".asv/\nresults/\n*.json\n!asv.conf.json\n",
            }
        )

    def gate(self, *arguments):
        """Run the command here."""
        return CliRunner().invoke(main, ["gate", *arguments])

    def start(self, *arguments):
        """Run the command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "bench_core", "gate", *arguments],
            cwd=self.root,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, process, folder, pattern):
        """Until there is such a file."""
        while not list((self.root / folder).glob(pattern)):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
                pytest.fail(process.stdout.read())

    def stored(self, name="gate.json"):
        return json.loads((self.root / name).read_text())

    def write_effects(self, log_ratios):
        """Let each be what a pair of its own has found in the one cell of a stored gate; a parent has four."""
        found = self.stored()
        (cell,) = found["cells"]
        cell["effects"] = [
            {**cell["effects"][0], "pair": number, "parent": number // 4, "log_ratio": log_ratio}
            for number, log_ratio in enumerate(log_ratios)
        ]
        self.write({"gate.json": json.dumps(found)})


@pytest.fixture
def project(tmp_path, monkeypatch, repositories):
    made = Project(repositories.new(tmp_path / "project"))
    monkeypatch.chdir(made.root)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return made


def family(process):
    """A process and all that it has started."""
    return [process, *process.children(recursive=True)]


def without_valgrind(monkeypatch):
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, *more: None if name == "valgrind" else found(name, *more))


@pytest.fixture(scope="module")
def slower(tmp_path_factory, repositories):
    """A gate on a slower working tree, with causes and without valgrind: the project, and how the command ended."""
    made = Project(repositories.new(tmp_path_factory.mktemp("slower") / "project"))
    made.write({"thing/__init__.py": LONG})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.root)
        patch.delenv("GITHUB_ACTIONS", raising=False)
        without_valgrind(patch)
        files = ("--json", "gate.json", "--markdown", "gate.md")
        return SimpleNamespace(project=made, done=made.gate("main", *QUICKLY, *CLEARLY, "--explain", *files))


def test_a_slower_working_tree_is_a_regression(slower):
    assert slower.done.exit_code == 1, slower.done.output
    assert "head: working tree" in slower.done.output
    assert "1 file changed: thing/__init__.py" in slower.done.output
    stored = slower.project.stored()
    assert (stored["verdict"], stored["exit_code"]) == ("regression", 1)
    assert len({effect["parent"] for effect in stored["cells"][0]["effects"]}) >= 2  # more than 1.5 times the time


def test_a_red_cell_is_explained_as_far_as_it_can_be_without_valgrind(slower):
    (cause,) = slower.project.stored()["causes"]
    assert re.search(r"[\d,]+ more bytecodes in thing\.value", cause["sentence"])
    assert cause["without"].startswith("valgrind is not installed")
    for said in (cause["sentence"], cause["without"]):
        assert said in " ".join(slower.done.output.split())
    assert "### Why" in (slower.project.root / "gate.md").read_text()


def test_a_faster_commit_is_an_improvement_and_can_be_judged_again_without_torch(project):
    project.git("tag", "slow")
    project.commit({"thing/__init__.py": LONG})
    project.write({"thing/__init__.py": "broken ="})
    done = project.gate("main", "slow", *QUICKLY, *CLEARLY, "--json", "gate.json")
    assert done.exit_code == 0, done.output
    assert "note: slow is a commit, so uncommitted changes are not measured" in done.output
    assert project.stored()["verdict"] == "improvement"

    code = (
        "import sys; sys.modules['torch'] = sys.modules['asv'] = None\n"  # to import either is an error
        "from bench_core.cli import main; main(['gate', '--replay', 'gate.json'])"
    )
    again = subprocess.run([sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "IMPROVEMENT" in again.stdout

    (project.root / "gate.json").write_text(json.dumps({**project.stored(), "verdict": "pass"}))
    changed = project.gate("--replay", "gate.json", "--junit", "gate.xml")
    assert changed.exit_code == 2
    assert "the file has been changed, or another version of bench_core, with another rule, wrote it" in changed.stderr
    assert not (project.root / "gate.xml").exists()


def test_what_head_cannot_do_any_more_is_an_error_with_exit_code_1(project):
    project.write({"thing/__init__.py": "def value():\n    raise KeyError('gone')\n"})
    done = project.gate("main", *QUICKLY)
    assert done.exit_code == 1
    assert "KeyError: 'gone'" in done.output


def test_a_version_that_crashes_in_a_benchmark_costs_that_cell_only(project):
    project.write({"thing/__init__.py": "import os\n\n\ndef value():\n    os.abort()\n"})
    project.commit({"cases/other.py": "def track_size():\n    return 1\n"})
    project.git("checkout", "-q", "main")
    done = project.gate("main~1", *QUICKLY, "--json", "gate.json")
    assert done.exit_code == 1
    by_name = {cell["name"]: cell for cell in project.stored()["cells"]}
    assert (by_name["calls.Call.time_value"]["error"], by_name["calls.Call.time_value"]["error_side"]) == (
        "killed by SIGABRT",
        "head",
    )
    assert by_name["other.track_size"]["verdict"] == "pass"


def test_a_budget_that_is_too_small_says_what_is_needed_and_the_next_gate_goes_on(project):
    project.commit({"thing/__init__.py": ALIKE})
    done = project.gate("main~1", "main", *TOO_SHORT, "--json", "gate.json")
    assert done.exit_code == project.stored()["exit_code"] == 2, done.output
    assert project.gate("--replay", "gate.json").exit_code == 2
    assert "is too small to decide anything" in done.stderr
    assert "or run the same command again" in done.stderr
    pairs = len(project.stored()["cells"][0]["effects"])
    project.gate("main~1", "main", *TOO_SHORT, "--json", "again.json")
    again = project.stored("again.json")
    assert again["resumed"] >= pairs
    assert len(again["cells"][0]["effects"]) > pairs
    project.gate("main~1", "main", *TOO_SHORT, "--json", "fresh.json", "--fresh")
    assert project.stored("fresh.json")["resumed"] == 0


@pytest.mark.thorough
def test_a_file_that_the_gate_writes_into_the_working_tree_does_not_make_it_another_one(project):
    project.write({"thing/__init__.py": ALIKE})
    for _ in range(2):
        project.gate("main", *TOO_SHORT, "--json", "found.out")
    assert project.stored("found.out")["resumed"] > 0


def test_inconclusive_is_exit_code_3_only_if_strict(project):
    project.write({"thing/__init__.py": LONG})
    project.gate("main", *TOO_SHORT, "--json", "gate.json")
    project.write_effects([0.2, -0.2] * 20)
    assert project.gate("--replay", "gate.json").exit_code == 0
    assert project.gate("--replay", "gate.json", "--strict").exit_code == 3


def test_a_cell_that_noise_leaves_open_is_no_matter_of_the_budget(project):
    project.write({"thing/__init__.py": LONG})
    project.gate("main", *TOO_SHORT, "--json", "gate.json")
    project.write_effects([0.2, -0.2] * 20)
    done = project.gate("--replay", "gate.json")
    assert "INCONCLUSIVE" in done.stdout
    assert done.stderr == ""


def test_a_stored_gate_can_be_written_in_every_other_form(project):
    project.write({"thing/__init__.py": LONG})
    project.gate("main", *TOO_SHORT, "--json", "gate.json")
    outputs = ("--json", "again.json", "--markdown", "gate.md", "--junit", "gate.xml")
    project.gate("--replay", "gate.json", *outputs)
    assert project.stored("again.json") == project.stored()
    assert "## bench-core gate" in (project.root / "gate.md").read_text()
    assert "<testsuite " in (project.root / "gate.xml").read_text()


def test_history_that_cannot_be_written_costs_a_warning_and_not_the_red(project):
    project.commit({"thing/__init__.py": "def value():\n    raise KeyError('gone')\n"})
    (project.root / "results").write_text("no folder\n")
    done = project.gate("main~1", "main", *QUICKLY, "--json", "gate.json")
    assert done.exit_code == 1, done.output
    assert "KeyError: 'gone'" in done.stdout
    assert project.stored()["verdict"] == "error"
    assert "bench-core: warning: results cannot be stored in" in done.stderr


def test_a_self_test_that_is_interrupted_has_not_failed(project, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench_core.gate.measure.supervise.Gate.run", interrupted)
    done = project.gate("--self-test")
    assert done.exit_code == 130
    assert "self-test, interrupted" in done.stdout


def test_a_self_test_without_a_time_to_slow_down_says_so(project):
    project.commit({"cases/calls.py": "def track_size():\n    return 1\n"})
    done = project.gate("--self-test")
    assert done.exit_code == 2
    assert "a self-test needs a cell whose time is measured" in done.stderr


VERSION = Commit("main~1", "1a2b3c4d" * 5, "d", "b")
TREE = WorkingTree("1a2b3c4d" * 5, (), "d", "b")
USUAL = GateRecord(VERSION, replace(VERSION, name="it's"), GateSettings(), {}, "", 1.0, ())
VERSUS = replace(
    USUAL,
    base=Install("torch==1", "a", ("torch",)),
    head=Install("torch==2", "b", ("torch",)),
    code=VERSION,
    settings=GateSettings(start="spawn"),
)
OF_MODEL = ["--model", "nets:build", "--device", "cuda", "--dtype", "bfloat16", "--input", "2x4", "--trust"]
ASKED = ["--all", "--isolated", "--env", "A", "--env", "B", "--timeout", "90s", "--lanes", "1"]
UNUSUAL = GateSettings(noise_floor=0.3, limit=0.6, start="spawn", profile="quick")


@pytest.mark.parametrize(
    ("record", "config", "words"),
    [
        (USUAL, "asv.conf.json", ["main~1", "it's", "--full"]),
        (replace(USUAL, head=TREE), "asv.conf.json", ["main~1", "--full"]),
        (
            replace(USUAL, settings=UNUSUAL),
            "a b.json",
            ["main~1", "it's", "--quick", *CLEARLY, "--start", "spawn", "--suite", "a b.json"],
        ),
        (
            replace(VERSUS, code=TREE),
            "asv.conf.json",
            ["--versus", "torch==1", "torch==2", "--full"],
        ),
        (VERSUS, "asv.conf.json", ["main~1", "--versus", "torch==1", "torch==2", "--full"]),
        (
            replace(USUAL, past=replace(USUAL, base=replace(VERSION, name="v1"))),
            "asv.conf.json",
            ["main~1", "it's", "--creep", "v1", "--full"],
        ),
        (
            replace(USUAL, model=ModelSpec("nets:build", "cuda", "bfloat16", "2x4", True, ties=(("a", "b"),))),
            "asv.conf.json",
            ["main~1", "it's", *OF_MODEL, "--full"],
        ),
        (
            replace(USUAL, asked=Asked(True, True, ("A", "B"), 90.0, 1)),
            "a b.json",
            ["main~1", "it's", "--full", *ASKED, "--suite", "a b.json"],
        ),
    ],
)
def test_the_command_to_copy_asks_for_the_same_again(record, config, words):
    assert shlex.split(measuring(record, Path(config))) == ["bench-core", "gate", *words]


def test_identical_content_is_reported_at_once_and_measured_only_if_forced(project):
    project.write({"README.md": "A thing.\n"})
    done = project.gate("main", "--json", "gate.json")
    assert done.exit_code == 0
    assert "identical" in done.output
    assert project.stored()["cells"] == []
    project.gate("main", *TOO_SHORT, "--all", "--env", "PROXY", "--timeout", "90s", "--json", "gate.json")
    assert project.stored()["cells"][0]["effects"]
    asked = {"isolated": False, "everything": True, "handed_on": ["PROXY"], "timeout": 90.0, "lanes": 1}
    assert project.stored()["asked"] == asked


def test_a_change_of_the_benchmarks_alone_names_those_that_fail(project):
    working = "\n\nclass New:\n    def time_works(self):\n        thing.value()\n"
    failing = "\n    def time_fails(self):\n        thing.no_such_function()\n"
    project.write({"cases/more.py": f"import thing\n{working}"})
    done = project.gate("main", "--json", "gate.json")
    assert done.exit_code == 0, done.output
    assert "nothing that this change can reach, so none of 2 cells is measured" in done.output
    project.write({"cases/more.py": f"import thing\n{working}{failing}"})
    done = project.gate("main", "--strict", *QUICKLY)
    assert done.exit_code == 2, done.output
    assert "nothing was measured: more.New.time_fails" in done.output
    assert "has no attribute 'no_such_function'" in done.output


def test_a_change_that_reaches_no_cell_is_reported_without_measuring_and_measured_if_asked_for(project):
    project.write({"thing/__init__.py": f"{SHORT}\n\ndef other():\n    return 1\n"})
    project.commit()
    project.write({"thing/__init__.py": f"{SHORT}\n\ndef other():\n    return 2\n"})
    files = ("--json", "gate.json", "--junit", "gate.xml", "--markdown", "gate.md")
    done = project.gate("main", "--strict", "--verbose", *files)
    assert done.exit_code == 0, done.output
    stored = project.stored()
    assert (stored["cells"], stored["unaffected"]) == ([], ["calls.Call.time_value"])
    for text in (done.output, (project.root / "gate.md").read_text()):
        assert "nothing that this change can reach, so none of 1 cell is measured" in text
        assert "pass" not in text.lower()
    (case,) = ElementTree.parse(project.root / "gate.xml").iter("testcase")
    assert case.find("skipped").get("type") == "unaffected"
    assert project.gate("--replay", "gate.json").exit_code == 0
    project.gate("main", *TOO_SHORT, "--all", "--json", "gate.json")
    assert project.stored()["cells"][0]["effects"]


@pytest.mark.thorough
def test_what_crept_in_is_found_stored_and_explained(project, monkeypatch):
    without_valgrind(monkeypatch)
    project.git("tag", "v1")
    project.commit({"thing/__init__.py": LONG})
    project.write({"thing/__init__.py": f"{LONG}# a comment\n"})
    done = project.gate("main", "--creep", "v1", *QUICKLY, *CLEARLY, "--explain", "--json", "gate.json")
    assert done.exit_code == 1, done.output
    assert "since v1, 1 of 1 cell slower" in done.output
    content = project.stored()
    assert [cell["verdict"] for cell in (*content["cells"], *content["creep"]["cells"])] == ["pass", "regression"]
    assert content["creep"]["causes"][0]["sentence"]
    assert content["settings"]["error_rate"] == GateSettings().error_rate / 2
    folder, pattern = EVIDENCE
    of_both, of_the_third = sorted(path.stem for path in (project.root / folder).glob(pattern))
    assert of_the_third.startswith(f"{of_both}-")
    (line,) = (project.root / "results").glob("*/gates.jsonl")
    assert json.loads(line.read_text())["reason"] == content["reason"]
    replayed = project.gate("--replay", "gate.json")
    assert (replayed.exit_code, "since v1, 1 of 1 cell slower" in replayed.output) == (1, True)


@pytest.mark.thorough
def test_a_past_version_equal_to_another_is_reported_and_left_out(project):
    project.git("tag", "v1")
    project.write({"thing/__init__.py": LONG})
    project.gate("main", "--creep", "v1", *TOO_SHORT, "--json", "gate.json")
    assert project.stored()["creep"] is None


@pytest.mark.thorough
def test_identical_content_is_measured_where_a_third_version_differs(project):
    project.git("tag", "v1")
    project.commit({"thing/__init__.py": LONG})
    project.write({"README.md": "A thing.\n"})
    project.gate("main", "--creep", "v1", *TOO_SHORT, "--json", "gate.json")
    assert project.stored()["creep"]["cells"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["mian"], "revision 'mian' not found in this repository. Did you mean 'main'?"),
        (
            ["main", "--bench", "time_valeu"],
            "no cell matches 'time_valeu'. Did you mean 'time_value' for 'time_valeu'?",
        ),
        (["main", "--bench", "("], "'(' is not a regular expression: "),
        (["main", "--noise-floor", "5%"], "--noise-floor 5% must be below --limit 5%"),
        (["main", "--lanes", "999"], "--lanes 999: a lane needs a core of its own, and there are"),
        (["main", "--resume"], "there is nothing to resume"),
        ([], "give the BASE to compare with, as in `bench-core gate main`"),
        (["main", "--limit", "0.5"], "'0.5' has no %: write 0.5%, or 50% if a share is meant"),
        (["main", "--noise-floor", "0.4"], "'0.4' has no %: write 0.4%, or 40% if a share is meant"),
        (["main", "--limit", "5"], "'5' has no %: write 5%, or 500% if a share is meant"),
        (["main", "--limit", "nan%"], "'nan%' is not a percentage between 0% and 1000%, such as 5%"),
        (["main", "--limit", "five"], "'five' is not a percentage between 0% and 1000%, such as 5%"),
        (["main", "--budget", "500ms"], "'500ms' is not a time such as 90s, 2m or 1h"),
        (["main", "--budget", "0s"], "'0s' is not a time between 0 and 1,000,000 s"),
        (["main", "--fresh", "--resume"], "--fresh discards what --resume continues from"),
        (["--self-test", "--json", "gate.json"], "only prints its result: leave out --json"),
        (["--self-test", "--resume"], "leave out --resume"),
        (["--replay", "gate.json", "--limit", "6%"], "with its own settings: leave out --limit"),
        (["main", "--replay", "gate.json"], "with its own settings: leave out BASE"),
        (["main", "--self-test"], "give the BASE to compare with, as in `bench-core gate main`"),
        (["main", "--suite", "nowhere.json"], "nowhere.json"),
        (["main", "--creep", "v9"], "revision 'v9' not found"),
        (["--versus", "a==1", "a==2", "--creep", "main"], "--creep compares HEAD with a past revision"),
        (["--self-test", "--creep", "main"], "only prints its result: leave out --creep"),
        (["--replay", "nowhere.json"], "nowhere.json"),
    ],
)
def test_bad_input_gets_one_clear_error_and_exit_code_2(project, arguments, complaint):
    project.write({"thing/__init__.py": LONG})
    done = project.gate(*arguments)
    assert (done.exit_code, done.stdout.count("Traceback")) == (2, 0)
    assert complaint in done.stderr


@pytest.mark.thorough
def test_a_gate_without_a_regression_explains_nothing_and_still_counts_instructions(project, monkeypatch):
    both = (InstructionCounts(1000.0, {}), InstructionCounts(1000.0, {}))
    monkeypatch.setattr(prepare, "require_valgrind", lambda: "")
    monkeypatch.setattr(session, "count", lambda subjects, cells, say, renamed: Counted(dict.fromkeys(cells, both), {}))
    project.write({"thing/__init__.py": ALIKE})
    done = project.gate("main", *QUICKLY, *CLEARLY, "--explain", "--instructions", "--json", "gate.json")
    assert done.exit_code == 0, done.output
    stored = project.stored()
    assert stored["causes"] == []
    (counted,) = stored["instructions"]
    assert (counted["cell"], counted["base"], counted["head"]) == ("calls.Call.time_value", 1000.0, 1000.0)
    assert counted["meaning"].startswith("same work")
    assert "1,000  1,000  +0.00 %" in done.output


def test_instructions_without_valgrind_are_refused_before_anything_is_measured(project, monkeypatch):
    without_valgrind(monkeypatch)
    project.write({"thing/__init__.py": LONG})
    done = project.gate("main", "--instructions")
    assert done.exit_code == 2
    assert "valgrind is not installed" in done.stderr
    assert not list((project.root / ".asv").rglob("evidence"))


def cell(name, ratio, kind="time", pairs=24):
    """A cell that every pair found slower by that."""
    effects = tuple(Effect(i, i // 3, math.log(ratio), 1e-3, ratio * 1e-3, 40) for i in range(pairs))
    return CellEvidence(name, name, {}, kind, "bytes" if kind == "peakmemory" else "seconds", effects)


PREPARED = SimpleNamespace(work=SimpleNamespace(found=SimpleNamespace(declared=[])))


@pytest.fixture
def asked(monkeypatch):
    """Lets a gate be looked into as `look` does, for causes and for instructions; `calls` lists what was asked for."""

    def explained(prepared, record, ratios, say):
        found.calls.append(("explain", list(ratios)))
        return replace(record, causes=found.look(ratios))

    def counted(prepared, record, ratios, say):
        found.calls.append(("count", list(ratios)))
        return replace(record, instructions=found.look(ratios))

    found = SimpleNamespace(look=lambda ratios: (), calls=[])
    monkeypatch.setattr(session, "explained", explained)
    monkeypatch.setattr(session, "counted", counted)
    return found


def looked_at(record, verdict=None, **options):
    """What `looked_into` returns, and the lines that it says."""
    said = []
    wanted = {"explain": False, "instructions": False, **options}
    return looked_into(record, verdict or judge(record), PREPARED, said.append, **wanted), said


def failing(error):
    def look(ratios):
        raise error

    return look


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device (test_cli_gate.py:"),
        (ValueError("x.1 has no total"), "ValueError: x.1 has no total (test_cli_gate.py:"),
        (BenchCoreError("there is no such process"), "there is no such process\n"),
    ],
)
def test_whatever_goes_wrong_in_explaining_costs_a_line_and_not_the_verdict(
    project, monkeypatch, capsys, asked, error, said
):
    asked.look = failing(error)
    prepared = SimpleNamespace(
        project=SimpleNamespace(results_dir=project.root / "results"),
        request=SimpleNamespace(isolated=False),
        work=PREPARED.work,
        began=clock.host(),
    )
    kept = []
    monkeypatch.setattr("bench_core.results.asv_gate.store", lambda record, *where: kept.append(record))
    record = replace(
        USUAL, cells=(cell("a.time_a", 1.5),), controls=(cell("a.time_a", 1.0),), machine={"machine": "tester"}
    )
    wanted = Wanted(Path("asv.conf.json"), json_file=Path("gate.json"), explain=True, instructions=True)
    out = Console(file=io.StringIO())
    code = finished(out, record, prepared, wanted)
    assert code == project.stored()["exit_code"] == 1
    assert [replace(one, seconds=record.seconds) for one in kept] == [record]
    assert list((project.root / "results").rglob(LEDGER))
    assert "REGRESSION" in out.file.getvalue()
    warnings = capsys.readouterr().err
    assert f"bench-core: warning: there is no explanation: {said}" in warnings
    assert f"bench-core: warning: no instructions were counted: {said}" in warnings
    assert "Traceback" not in warnings


def test_the_time_that_is_shown_includes_the_search_for_causes(project, monkeypatch, asked):
    hour = 3600.0
    monkeypatch.setattr("bench_core.results.asv_gate.store", lambda record, *where: None)
    kept = SimpleNamespace(results_dir=project.root / "results")
    asked = SimpleNamespace(isolated=False)
    prepared = SimpleNamespace(project=kept, request=asked, work=PREPARED.work, began=clock.host() - hour)
    record = replace(USUAL, cells=(cell("a.time_a", 1.5),), machine={"machine": "tester"})  # measured in a second
    asked.look = lambda ratios: (Cause("a.time_a", "more"),)
    finished(
        Console(file=io.StringIO()),
        record,
        prepared,
        Wanted(Path("asv.conf.json"), json_file=Path("gate.json"), explain=True),
    )
    assert hour <= project.stored()["seconds"] < 2 * hour


def test_an_interrupt_while_causes_are_sought_leaves_the_verdict(asked, capsys):
    record = replace(USUAL, cells=(cell("a.time_a", 1.5),))
    asked.look = failing(KeyboardInterrupt)
    assert looked_at(record, explain=True)[0] == record
    assert "interrupted; the verdict stands" in capsys.readouterr().err


def test_what_crept_in_is_explained_though_the_rest_cannot_be(asked, capsys):
    record = replace(USUAL, cells=(cell("a.time_a", 1.5),))
    record = replace(record, past=replace(record, base=replace(VERSION, name="v1"), cells=(cell("a.time_b", 1.5),)))

    def look(ratios):
        return (Cause("a.time_b", "more"),) if "a.time_b" in ratios else failing(OSError("gone"))(ratios)

    asked.look = look
    found, _ = looked_at(record, explain=True)
    assert (found.causes, found.past.causes) == ((), (Cause("a.time_b", "more"),))
    assert capsys.readouterr().err.count("bench-core: warning: there is no explanation: OSError: gone") == 1


def test_of_a_suite_that_is_red_as_a_whole_the_largest_estimates_are_explained(asked):
    ratios = {"a.time_a": 1.009, "a.time_b": 1.004, "a.time_c": 1.008, "a.time_d": 1.007, "a.time_e": 1.0}
    cells = (*(cell(name, ratio) for name, ratio in ratios.items()), cell("a.peakmem_f", 1.0099, "peakmemory"))
    record = replace(USUAL, cells=cells)
    verdict = judge(record)
    assert verdict.reason.startswith("no cell alone, but all cells together are slower")
    _, said = looked_at(record, verdict, explain=True)
    assert asked.calls == [("explain", ["a.time_a", "a.time_c", "a.time_d"])]
    assert said == ["no cell alone is slower: explaining the 3 with the largest estimates"]


def test_where_nothing_is_red_that_is_why_nothing_is_explained(asked):
    _, said = looked_at(replace(USUAL, cells=(cell("a.time_a", 1.0),)), explain=True)
    assert said == ["nothing to explain: no cell was found slower than main~1"]
    assert asked.calls == [("explain", [])]


@pytest.mark.usefixtures("asked")
def test_a_cell_of_memory_that_is_not_red_is_not_called_slow():
    _, said = looked_at(replace(USUAL, cells=(cell("a.peakmem_a", 1.0, "peakmemory"),)), explain=True)
    assert said == ["nothing to explain: no cell was found larger than main~1"]


def test_instructions_are_counted_of_timed_cells_and_of_no_memory(asked):
    sizes = cell("a.peakmem_a", 1.0, "peakmemory")
    looked_at(replace(USUAL, cells=(cell("a.time_a", 1.0), sizes)), instructions=True)
    _, said = looked_at(replace(USUAL, cells=(sizes,)), instructions=True)
    assert asked.calls == [("count", ["a.time_a"])]
    assert said == ["no instructions are counted: no cell has a time to compare them with"]


def test_a_base_that_does_not_build_shows_the_last_lines_of_its_log(project):
    failing = f"{sys.executable} -c \"raise SystemExit('out of luck')\""
    project.configure(benchmark_dir="cases", build_command=[failing])
    project.write({"thing/__init__.py": LONG})
    done = project.gate("main")
    assert done.exit_code == 2
    assert "main (" in done.stderr
    assert "does not build" in done.stderr
    assert "out of luck" in done.stderr


def test_an_interrupt_shows_and_stores_what_is_known_and_leaves_nothing_behind(project):
    project.write({"thing/__init__.py": ALIKE})
    with project.start("main", "--lanes", "1", "--noise-floor", "0.001%", "--json", "gate.json") as gate:
        project.wait_for(gate, *EVIDENCE)
        started = family(psutil.Process(gate.pid))[1:]
        gate.send_signal(signal.SIGINT)
        said = gate.stdout.read()
    assert gate.returncode == 130, said
    assert "interrupted; `--resume` continues from what was measured" in said
    stored = project.stored()
    assert stored["interrupted"]
    assert stored["cells"][0]["effects"]
    assert started
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert list(project.temporary.iterdir()) == []


@pytest.mark.thorough
def test_a_gate_that_is_killed_leaves_nothing_behind_and_can_be_resumed(project):
    project.write({"thing/__init__.py": LONG})
    with project.start("main", "--lanes", "1", *CLEARLY) as gate:
        project.wait_for(gate, *EVIDENCE)
        (project.root / ".asv/hang").touch()  # whoever hangs does not end by itself
        project.wait_for(gate, project.root / ".asv", "hang.now")
        started = family(psutil.Process(gate.pid))[1:]
        gate.kill()
    assert len(started) >= 2
    assert psutil.wait_procs(started, timeout=10)[1] == []  # the watchdog, which removes the folder, among them
    assert list(project.temporary.iterdir()) == []
    (project.root / ".asv/hang").unlink()
    (journal,) = (project.root / ".asv").rglob("*.jsonl")
    known = journal.read_text().count("\n")
    with journal.open("a") as file:
        file.write('{"cell": "calls.Ca')
    project.gate("main", "--lanes", "1", "--budget", "0.1s", *CLEARLY, "--resume", "--json", "gate.json")
    assert project.stored()["resumed"] == known


def test_an_interrupt_while_versions_are_built_is_no_regression(project, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "resolve", interrupted)
    assert project.gate("main").exit_code == 130


IMPORTS = "from thing import value\n\n\ndef time_value():\n    value()\n"
BREAKS, WORKS = "def other():\n    pass\n", SHORT + "# another\n"


def broken_on(project, *sides, **modules):
    """A project of which these sides lack what the modules of the suite import."""
    project.commit({"thing/__init__.py": BREAKS if "base" in sides else SHORT})
    project.write({f"cases/{name}.py": text for name, text in modules.items()})
    project.write({"thing/__init__.py": BREAKS + "# another\n" if "head" in sides else WORKS})


HELPER = {"helper": "import thing\nfrom thing import value\n"}
OTHER = {"other": "import thing\n\n\ndef track_one():\n    return open(thing.__file__).read() and 1\n"}
WHY = "does not import: ImportError: cannot import name 'value' from 'thing'"


@pytest.mark.parametrize(
    ("sides", "modules", "code", "failed", "left_out"),
    [
        (("head",), {"calls": IMPORTS, **OTHER}, 1, {"calls.time_value": "head"}, {}),
        (("head",), {"calls": "", **HELPER, **OTHER}, 1, {"cases.helper": "head"}, {}),
        pytest.param(
            *(("base",), {"calls": IMPORTS, **OTHER}, 0, {"calls.time_value": "base"}, {}), marks=pytest.mark.thorough
        ),
        (("base",), {"calls": "", **HELPER, **OTHER}, 0, {}, {"cases.helper": "on base, it "}),
        (("base", "head"), {"calls": IMPORTS, **OTHER}, 0, {"cases.calls": None}, {}),
        (("head",), {"__init__": "import thing\nthing.value\n", **OTHER}, 1, {"other.track_one": "head"}, {}),
        (("base",), {"__init__": "import thing\nthing.value\n", **OTHER}, 2, {"other.track_one": "base"}, {}),
    ],
)
def test_what_does_not_import_on_one_side_is_named_with_its_cause_in_every_form(
    project, sides, modules, code, failed, left_out
):
    broken_on(project, *sides, **{"calls": "", **modules})
    done = project.gate("main", *QUICKLY, "--full", "--json", "gate.json", "--markdown", "gate.md")
    assert done.exit_code == code, done.output
    stored = project.stored()
    assert {cell["name"]: cell["error_side"] for cell in stored["cells"] if cell["error"]} == failed
    assert {name: reason.partition("does")[0] for name, reason in stored["left_out"].items()} == left_out
    page = (project.root / "gate.md").read_text().replace("\\", "")
    for name in (*failed, *left_out):
        assert name in done.stdout
        assert name in page
    for shown in (done.stdout, page, json.dumps(stored)):
        assert "does not import: " in shown


def test_a_whole_suite_that_imports_on_no_side_is_an_error_with_its_cause(project):
    broken_on(project, "base", "head", __init__="import thing\nthing.value\n")
    done = project.gate("main", *QUICKLY)
    assert done.exit_code == 2
    assert "cases does not import: AttributeError: module 'thing' has no attribute 'value'" in done.stderr


def test_a_module_that_ends_its_process_on_head_is_a_failure_of_head(project):
    project.commit({"cases/calls.py": "import thing\nthing.start()\n\n\ndef time_it():\n    pass\n"})
    project.commit({"thing/__init__.py": "def start():\n    pass\n"})
    project.write({"thing/__init__.py": "import os\n\n\ndef start():\n    os._exit(3)\n"})
    done = project.gate("main", *QUICKLY)
    assert done.exit_code == 1, done.output
    assert "head: cases cannot be imported: the process that imports it has ended" in done.stdout


def test_the_gate_says_what_list_says_of_the_matrix_and_of_what_has_no_cells(project, monkeypatch):
    monkeypatch.delenv("CASE_SIZE", raising=False)
    project.configure(benchmark_dir="cases", matrix={"env": {"CASE_SIZE": ["1", "2"]}})
    empty = "def time_none(n): pass\ntime_none.params = [[]]\n"
    project.commit({"cases/none.py": empty})
    project.write({"thing/__init__.py": SHORT + "\n"})
    done = project.gate("main", *TOO_SHORT, "--all", "--json", "gate.json", "--markdown", "gate.md")
    listed = CliRunner().invoke(main, ["list"]).stderr
    page = (project.root / "gate.md").read_text().replace("\\", "")
    for fact in ("gives CASE_SIZE several values", "none.time_none: its parameter param1 has no values"):
        assert fact in listed
        assert fact in done.stdout
        assert fact in page
    (note,) = project.stored()["notes"]
    assert "gives CASE_SIZE several values" in note
    assert "its parameter param1 has no values" in project.stored()["left_out"]["none.time_none"]


@pytest.mark.thorough
def test_the_command_of_a_cell_that_base_calls_otherwise_measures_and_explains_it(project):
    project.commit({"cases/calls.py": NUMBERS, "thing/__init__.py": SHORT + "def shown():\n    return '1'\n"})
    slow = LONG.replace("        pass", "        shown()") + "def shown():\n    return 'one(1)'\n"
    project.write({"thing/__init__.py": slow})
    name = "calls.Call.time_value(one(1))"
    done = project.gate("main", *QUICKLY, *CLEARLY, "--bench", f"^{re.escape(name)}$", "--explain", "--json", "g.json")
    assert done.exit_code == 1, done.output
    stored = project.stored("g.json")
    assert stored["renamed"] == {name: "calls.Call.time_value(1)"}
    (cause,) = stored["causes"]
    assert "6,000 more calls of thing.shown" in cause["sentence"]
