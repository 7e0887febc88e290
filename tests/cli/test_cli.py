"""The command line as a person meets it: what it prints, where, and with which exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli import main, terminal
from bench_core.cli.terminal import write_page
from bench_core.errors import BenchCoreError
from bench_core.records.run import Interval, Slowdown
from bench_core.run import views

ROOT = Path(__file__).parents[2]
ARRAYS = str(ROOT / "tests" / "suites" / "arrays" / "asv.conf.json")


@pytest.fixture
def invoke(monkeypatch):
    monkeypatch.chdir(ROOT)

    def run(*arguments):
        return CliRunner().invoke(main, arguments)

    return run


def test_list_prints_a_cell_a_line_and_why_one_does_not_run_here(invoke):
    done = invoke("list", r"Masked.*8x4", "--param", "device=cpu")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "initialization.Masked.time_initialize(cpu, as_written, 8x4)"
    gone = invoke("list", "InPlace.*orthogonal_, 8x4, bfloat16", "--param", "device=cpu")
    assert "[n/a: torch has no orthogonal_ in bfloat16]" in gone.stdout
    assert "1 cell, 0 of them run here." in gone.stderr


def test_list_reads_a_suite_without_torch(invoke):
    done = invoke("list", "MinMax", "--suite", ARRAYS)
    assert done.exit_code == 0
    assert "bench_reduce.MinMax.time_max(0, 'int16')" in done.stdout
    one = invoke("list", r"MinMax.time_max\(0, 'int16'\)", "--suite", ARRAYS)
    assert one.stderr == "1 cell, 1 of them runs here.\n"


def test_known_shows_each_slowdown_once_in_a_log_and_says_what_its_words_mean(invoke, monkeypatch):
    reported = ("pytorch/pytorch#1", "it is slow", "the other way", "usage", "a.B.time_c(slow)", "a.B.time_c(fast)")
    row = Slowdown(*reported, 2e-3, 1e-3, Interval(1.9, 2.0, 2.1, 0.95))
    monkeypatch.setattr(views, "slowdowns", lambda suite, how, show: [row])
    said = invoke("known").stdout
    assert said.count("it is slow") == 1
    header, *_, legend, machine = said.splitlines()[2:]
    assert header.split()[-1] == "here"
    assert all(f"{word}: " in legend for word in ("still slow", "slow", "fixed"))
    assert machine.startswith("On ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["list", "InPlce"], "no cell matches 'InPlce'. Did you mean 'InPlace' for 'InPlce'?"),
        (["list", "time_("], "'time_(' is not a regular expression: "),
        (["list", "--param", "device=cdua"], "unknown device 'cdua'. Did you mean 'cuda'"),
        (["list", "--param", "size=8x5"], "unknown size '8x5'. Did you mean '8x4'"),
        (["list", "--param", "sice=8x4"], "unknown parameter 'sice'. Did you mean 'size'"),
        (["list", "--param", "cpu"], "--param 'cpu' is not NAME=VALUE"),
        (["list", "--suite", "nowhere.json"], "nowhere.json"),
        (["run", "FreshMemory", "--quick", "--param", "size=8192x8192"], "none of them in the quick profile"),
        (
            ["run", "InPlace.*orthogonal_.*bfloat16", "--param", "device=cpu"],
            "none of the cells runs here: torch has no",
        ),
        (["show", "nowhere.json"], "nowhere.json cannot be read: No such file"),
    ],
)
def test_bad_input_gets_one_line_on_standard_error_and_exit_code_2(invoke, arguments, complaint):
    done = invoke(*arguments)
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("bench-core: ")
    assert complaint in line
    assert done.stdout == ""


def test_a_module_that_does_not_import_is_named_the_others_are_listed_and_the_exit_code_is_1(invoke, tmp_path):
    folder = tmp_path / "cases_of_cli"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "good.py").write_text("def time_it():\n    pass\n")
    (folder / "bad.py").write_text("import no_such_module\n")
    config = tmp_path / "asv.conf.json"
    config.write_text(json.dumps({"version": 1, "repo": ".", "benchmark_dir": folder.name}))
    done = invoke("list", "--suite", str(config))
    assert done.exit_code == 1
    assert done.stdout.strip() == "good.time_it"
    assert "cases_of_cli.bad is left out: it does not import: ModuleNotFoundError" in done.stderr


def test_a_cell_that_would_not_fit_is_not_applicable_with_the_two_numbers(invoke, monkeypatch):
    monkeypatch.setattr("bench_core.suite.base.available_bytes", lambda device: 100 << 20)
    done = invoke("list", r"Masked.*as_written, 4096x4096", "--param", "device=cpu")
    assert "[n/a: needs 384 MiB and 100 MiB are available on cpu]" in done.stdout


def test_a_torch_that_is_too_old_says_which_is_needed(tmp_path):
    (tmp_path / "torch.py").write_text("__version__ = '2.3.0'\n")
    done = subprocess.run(
        [sys.executable, "-m", "bench_core", "list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "bench-core: torch 2.3.0 is installed, but torch >= 2.6 is needed. Upgrade it with: pip install 'torch>=2.6'"
    )


def test_help_does_not_import_torch_or_asv():
    code = (
        "import sys; from click.testing import CliRunner; from bench_core.cli import main;"
        "code = CliRunner().invoke(main, ['list', '--help']).exit_code;"
        "print(code, {'torch', 'asv', 'asv_runner'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "0 set()"


def test_a_run_keeps_what_doctor_says_and_how_large_the_caches_are(monkeypatch):
    from bench_core.cli.run import circumstances
    from bench_core.doctor import machine

    here = machine.Machine(caches={"L1d": 32768}, load=7.0, physical=2)
    monkeypatch.setattr(machine, "read", lambda: here)
    found = circumstances("a" * 40)
    assert (found.commit, found.caches) == ("a" * 40, {"L1d": 32768})
    level, what, action = found.findings[0]
    assert (level, "7.0 on 2 cores" in what, "start again" in action) == ("spoils", True, True)


def test_a_page_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("as it was")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(BenchCoreError, match="page.md cannot be written: No space left on device"):
        write_page(page, "half a page")
    assert page.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(("columns", "width"), [("", 160), ("90", 90), ("wide", 160)])
def test_a_log_is_as_wide_as_columns_says_and_else_160(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.console().width == width


def test_only_a_similar_word_is_suggested(invoke):
    assert "Did you mean 'notebook'" in invoke("list", "notebok").stderr
    assert "Did you mean" not in invoke("list", "nosuch").stderr
