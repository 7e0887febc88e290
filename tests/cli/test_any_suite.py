"""Suites that other projects have, from the command line."""

import json

import pytest
from click.testing import CliRunner

from bench_core.cli import main


@pytest.fixture
def invoke():
    return lambda *arguments: CliRunner().invoke(main, arguments)


def suite_of(folder, text, name="asv.conf.json"):
    """The path of a configuration of a suite with one module, in a package of its own name."""
    package = folder / f"cases_{folder.name}"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "cases.py").write_text(text)
    config = folder / name
    config.write_text(json.dumps({"version": 1, "project": "x", "repo": ".", "benchmark_dir": package.name}))
    return config


def test_a_configuration_of_asvs_other_name_is_found(tmp_path, monkeypatch):
    suite_of(tmp_path, "def time_it(): pass\n", name="asv.conf.jsonc")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["list"]).stdout == "cases.time_it\n"
    (tmp_path / "asv.conf.json").write_text("{}")
    done = CliRunner().invoke(main, ["list"])
    assert (done.exit_code, "multiple configurations" in done.stderr) == (2, True)


def test_list_prints_pretty_names_and_cuts_long_ones(invoke, tmp_path):
    text = "def time_it(n): pass\ntime_it.params = ['a' * 3000]\ntime_it.pretty_name = 'The thing'\n"
    config = suite_of(tmp_path, text)
    done = invoke("list", "--suite", str(config))
    assert done.stdout.strip().endswith("  (The thing)")
    assert len(done.stdout) < 200
    name = done.stdout.removesuffix("  (The thing)\n")
    assert invoke("list", name, "--suite", str(config)).stdout == done.stdout


def test_a_hint_to_list_names_the_suite(invoke, tmp_path):
    config = suite_of(tmp_path, "def time_it(): pass\n")
    assert f"`bench-core list --suite {config}` prints" in invoke("list", "nothing", "--suite", str(config)).stderr


def test_what_asv_ignores_is_named_and_is_no_failure(invoke, tmp_path):
    text = "def time_it(): pass\ndef time_none(n): pass\ntime_none.params = [[]]\n"
    done = invoke("list", "--suite", str(suite_of(tmp_path, text)))
    assert (done.exit_code, done.stdout) == (0, "cases.time_it\n")
    assert "left out: cases.time_none: its parameter param1 has no values" in done.stderr


def test_run_counts_what_is_skipped_and_an_infinite_value_is_no_failure(tmp_path):
    config = suite_of(
        tmp_path,
        "class A:\n"
        "    params = [1, 2, 3]\n"
        "    def setup(self, n):\n"
        "        if n > 1: raise NotImplementedError('too large')\n"
        "    def track_a(self, n): return float('inf') if n == 1 else n\n",
    )
    done = CliRunner().invoke(main, ["run", "--suite", str(config)])
    assert done.exit_code == 0
    assert "n/a here: 2 cells, too large" in done.stdout
    assert "infinite, so left out: cases.A.track_a(1)" in done.stdout
    assert "failed" not in done.stdout
    assert f"`bench-core show --suite {config}` prints them" in done.stdout.replace("\n", "")


INSTALL = "absent_demo is this project, and not installed in this environment: `pip install -e "


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import absent_demo\ndef time_it(): pass\n", 2),
        ("def time_it(): pass\ndef setup(): import absent_demo\ntime_it.setup = setup\n", 1),
    ],
)
def test_run_says_how_to_install_the_package_of_the_suite_and_stores_nothing(tmp_path, monkeypatch, text, code):
    config = suite_of(tmp_path, text)
    (tmp_path / "absent_demo").mkdir()
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", "--suite", str(config)])
    assert done.exit_code == code
    assert "ModuleNotFoundError: No module named 'absent_demo'" in done.stderr
    assert INSTALL in done.stderr
    assert [path for path in tmp_path.rglob("*.json*") if path not in before] == []


def test_a_profile_is_named_only_where_the_suite_has_one(tmp_path):
    plain = suite_of(tmp_path / "plain", "def track_a(): return 1\n")
    other = suite_of(
        tmp_path / "other",
        "class A:\n    quick = {'n': ['1']}\n    params = [1, 2]\n"
        "    param_names = ['n']\n    def track_a(self, n): return n\n",
    )
    said = [
        CliRunner().invoke(main, ["run", "--suite", str(config), *more]).stdout
        for config, more in ((plain, ()), (plain, ("--quick",)), (other, ()), (other, ("--quick",)))
    ]
    assert [one.splitlines()[1].split(" for ")[0] for one in said] == [
        "Timing 1 cell",
        "Timing 1 cell",
        "Timing 2 cells (full profile)",
        "Timing 1 cell (quick profile)",
    ]


def test_a_class_that_fails_to_say_whether_its_cells_run_costs_only_these(invoke, tmp_path):
    text = (
        "class Asked:\n    def why_not(self): raise ValueError('no answer')\n    def time_it(self): pass\n"
        "class Odd:\n    def why_not(self): return True\n    def time_it(self): pass\n"
        "def time_other(): pass\n"
    )
    done = invoke("list", "--suite", str(suite_of(tmp_path, text)))
    assert done.stdout.splitlines() == [
        "cases.Asked.time_it  [n/a: its why_not fails: ValueError: no answer]",
        "cases.Odd.time_it  [n/a: True]",
        "cases.time_other",
    ]


def test_what_a_suite_prints_at_import_is_no_line_of_the_list(tmp_path, invoke):
    config = suite_of(tmp_path, "print('CPU features: AVX')\ndef time_it(): pass\n")
    done = invoke("list", "--suite", str(config))
    assert done.stdout == "cases.time_it\n"
    assert "CPU features: AVX" in done.stderr
