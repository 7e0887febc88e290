"""Evidence counts only in the surroundings in which it was measured."""

import json

import pytest

from bench_core.gate.prepare import Choices, Request, prepare
from bench_core.gate.versions.surroundings import OF_THE_TERMINAL, surroundings, variables

SOURCE = """
import os

SIZE = int(os.environ.get("CASE_SIZE", "10"))
OTHER = os.environ.get(f"THING_{SIZE}")
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite/cases.py").write_text(SOURCE)
    return tmp_path / "suite"


def test_variables_that_the_sources_name_count_and_those_of_libraries_and_no_others(folder):
    environment = {
        "CASE_SIZE": "10",
        "THING_10": "a",
        "MKL_VERBOSE": "1",
        "CASE_OTHER": "b",
        "SHLVL": "3",
        "OMP_NUM_THREADS": "7",
        "PYTHONHASHSEED": "0",
    }
    assert list(variables([folder], environment)) == ["CASE_SIZE", "MKL_VERBOSE", "THING_10"]


@pytest.mark.parametrize("name", sorted(OF_THE_TERMINAL))
def test_what_a_terminal_sets_does_not_count(folder, name):
    (folder / "reads.py").write_text(f"import os; os.environ.get('{name}')")
    assert variables([folder], {name: "1"}) == {}


def test_what_is_no_source_is_passed_over(folder):
    (folder / "broken.py").symlink_to(folder / "nowhere")
    (folder / "data.py").write_bytes(b"SHLVL = 1\n" + b"#" * (1 << 20))
    (folder / "latin.py").write_bytes(b"\xe9 = 1\n")
    assert "SHLVL" not in variables([folder], {"SHLVL": "3"})


def installed(path, name, record="", editable=None):
    info = path / f"{name}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(record)
    if editable is not None:
        (info / "direct_url.json").write_text(json.dumps({"url": editable.as_uri(), "dir_info": {"editable": True}}))


def test_another_build_of_a_package_of_the_same_version_is_another_environment(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    installed(tmp_path / "site", "zz", "zz.py,sha256=a,1")
    before = surroundings([folder], tmp_path)
    installed(tmp_path / "site", "zz", "zz.py,sha256=b,1")
    assert surroundings([folder], tmp_path) != before


def test_a_package_that_is_installed_in_place_counts_by_its_files_unless_it_is_the_project(
    folder, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "own/project").mkdir(parents=True)
    installed(tmp_path / "site", "zz", editable=tmp_path / "own/project")
    found = [surroundings([folder], tmp_path / "own"), surroundings([folder], tmp_path / "elsewhere")]
    for others in (".asv/env/x.py", "venv/lib/x.py", "venv/pyvenv.cfg"):
        (tmp_path / "own/project" / others).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own/project" / others).touch()
    assert surroundings([folder], tmp_path / "elsewhere") == found[1]
    (tmp_path / "own/project/zz.py").write_text("changed")
    again = [surroundings([folder], tmp_path / "own"), surroundings([folder], tmp_path / "elsewhere")]
    assert [one == other for one, other in zip(found, again, strict=True)] == [True, False]


def test_the_policy_of_the_cores_frequency_counts(folder, tmp_path):
    policy = tmp_path / "root/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    policy.parent.mkdir(parents=True)
    found = []
    for governor in ("performance", "powersave"):
        policy.write_text(governor)
        found.append(surroundings([folder], tmp_path, tmp_path / "root"))
    assert found[0] != found[1]


def test_a_gate_with_another_value_of_a_variable_that_the_suite_reads_does_not_continue_from_its_evidence(
    plain, monkeypatch
):
    plain.commit({"cases_thing/calls.py": f"{SOURCE}\n\ndef time_value():\n    pass\n"})
    plain.write({"thing/__init__.py": "def value():\n    return 2\n"})
    request = Request(plain.config, "main", settings=Choices(seed=1), everything=True)
    journals = []
    for size in ("10", "1000", "10"):
        monkeypatch.setenv("CASE_SIZE", size)
        journals.append(prepare(request, {"machine": "x"}, lambda line: None).work.journal.path)
    assert journals[0] == journals[2] != journals[1]
