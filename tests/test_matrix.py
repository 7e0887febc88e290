"""What the matrix of asv.conf.json asks for is set, or is said."""

import json
import os

import pytest

from bench_core.asv_config import asv_config, enter, found_in, naming
from bench_core.errors import BenchCoreError

VARIABLES = ("CASE_MODE", "CASE_SIZE", "PYTHONPATH", "ASV_PYTHONPATH")


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Reads a configuration with these settings, in an environment without the variables that tests set."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # restored at the end, also if it is set meanwhile
        monkeypatch.delenv(name)

    def read(**settings):
        usual = {"version": 1, "project": "x", "repo": "."}
        (tmp_path / "asv.conf.json").write_text(json.dumps({**usual, **settings}))
        return asv_config(tmp_path / "asv.conf.json")

    return read


@pytest.mark.parametrize("kind", ["env", "env_nobuild"])
@pytest.mark.parametrize("value", ["fast", ["fast"], [None, "fast"]])
def test_a_variable_with_one_value_is_set(configured, kind, value):
    assert enter(configured(matrix={kind: {"CASE_MODE": value}})) == ()
    assert os.environ["CASE_MODE"] == "fast"


def test_a_variable_with_one_value_is_set_over_another_value_and_that_is_said(configured, monkeypatch):
    monkeypatch.setenv("CASE_MODE", "slow")
    (note,) = enter(configured(matrix={"env": {"CASE_MODE": ["fast"]}}))
    assert os.environ["CASE_MODE"] == "fast"
    assert "sets CASE_MODE to 'fast'; its value here, 'slow', is not used" in note


def test_a_variable_with_several_values_is_left_to_the_user_who_is_told_which(configured, monkeypatch):
    settings = configured(matrix={"env_nobuild": {"CASE_SIZE": ["10", "100", 1000]}})
    (note,) = enter(settings)
    assert "set it to '10', '100' or '1000' (it is not set here)" in note
    assert "CASE_SIZE" not in os.environ
    monkeypatch.setenv("CASE_SIZE", "1000")
    assert enter(settings) == ()


def test_an_error_that_names_a_variable_of_the_matrix_says_where_it_would_have_come_from(configured):
    settings = configured(matrix={"env": {"CASE_SIZE": ["10", "1000"]}})
    assert settings.explain("KeyError: 'CASE_SIZE'") == "CASE_SIZE is in the matrix: set it to '10' or '1000'"
    assert settings.explain("KeyError: 'OTHER'") == settings.explain("ValueError: CASE_SIZE") == ""


def test_several_versions_of_a_package_are_named_and_the_installed_one_is_used(configured):
    matrix = {"req": {"numpy": ["1.26", "2.0"], "pip+build": ["1", "2"], "packaging": [""], "six": []}}
    notes = enter(configured(matrix=matrix))
    assert ["numpy: '1.26' or '2.0'" in notes[0], "build: '1' or '2'" in notes[1], len(notes)] == [True, True, 2]


def test_asvs_old_form_of_the_matrix_has_packages_alone(configured):
    settings = configured(matrix={"numpy": ["1.26"], "six": []})
    assert settings.requirements == {"numpy": ("1.26",), "six": ()}
    assert settings.variables == {}


def test_a_relative_path_of_imports_holds_in_other_folders_and_for_asv(configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"lib{os.pathsep}/absolute{os.pathsep}")
    enter(configured())
    assert os.environ["PYTHONPATH"] == f"{tmp_path / 'lib'}{os.pathsep}/absolute"
    assert os.environ["ASV_PYTHONPATH"] == os.environ["PYTHONPATH"]


def test_the_limits_and_the_launch_method_of_the_configuration_are_read(configured):
    assert (configured().timeout, configured().launch_method) == (60.0, None)
    settings = configured(default_benchmark_timeout=300, launch_method="spawn")
    assert (settings.timeout, settings.launch_method) == (300.0, "spawn")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"matrix": ["a"]}, "the matrix is not an object of objects"),
        ({"matrix": {"env": ["a"]}}, "the matrix is not an object of objects"),
        ({"matrix": {"env": {}, "numpy": []}}, "the matrix has 'numpy' beside req, env, env_nobuild"),
        ({"default_benchmark_timeout": "60"}, "default_benchmark_timeout is '60', not a number of seconds"),
        ({"default_benchmark_timeout": 0}, "default_benchmark_timeout is 0, not a number of seconds"),
        ({"launch_method": "fork"}, "launch_method is 'fork', not one of auto, spawn, forkserver"),
    ],
)
def test_a_setting_of_another_kind_is_an_error_that_says_what_was_found(configured, settings, complaint):
    with pytest.raises(BenchCoreError, match=f"asv.conf.json: {complaint}"):
        configured(**settings)


def test_a_configuration_is_found_under_both_of_asvs_names_and_two_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert found_in(tmp_path) is None
    config = tmp_path / "asv.conf.jsonc"
    config.write_text('{"version": 1, "repo": ".", // a comment\n "project": "x"}')
    assert found_in(tmp_path) == config
    assert asv_config(config).project == "x"
    assert naming(config.relative_to(tmp_path)) == []
    assert naming(config) == ["--suite", str(config)]
    (tmp_path / "asv.conf.json").write_text("{}")
    with pytest.raises(BenchCoreError, match="multiple configurations are in .*: asv.conf.json, asv.conf.jsonc"):
        found_in(tmp_path)
