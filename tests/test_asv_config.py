"""A configuration that is none is one clear error."""

from pathlib import Path

import pytest

from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError

WHOLE = '"version": 1, "project": "x", "repo": "."'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "it is a list, not an object"),
        ("[" + "{" + WHOLE + "}]", "it is a list, not an object"),
        ("[" * 2000, "it is nested too deeply"),
        ("null", "it is null, not an object"),
        ('{"version": 1 "project": "x"}', "column 15"),
        ('{"version": "a"}', "version is 'a'"),
        ("{" + WHOLE + ', "benchmark_dir": 3}', "benchmark_dir is 3, not a text"),
        ("{" + WHOLE + ', "results_dir": ["a"]}', r"results_dir is \['a'\], not a text"),
        ("{" + WHOLE + ', "html_dir": null}', "html_dir is null, not the path of a folder. Leave it out"),
        ("{" + WHOLE + ', "repo_subdir": 1}', "repo_subdir is 1, not a text"),
        ("{" + WHOLE + ', "build_command": {"a": 1}}', "build_command is .*, not a command or a list of commands"),
        ("{" + WHOLE + ', "build_command": [1]}', "build_command is .*, not a command or a list of commands"),
    ],
)
def test_a_configuration_that_asv_cannot_read_is_an_error_that_says_what_was_found(tmp_path, text, complaint):
    (tmp_path / "asv.conf.json").write_text(text)
    with pytest.raises(BenchCoreError, match=f"asv.conf.json cannot be read as asv's configuration: .*{complaint}"):
        asv_config(tmp_path / "asv.conf.json")


def missing(module):
    return f"setup raised ModuleNotFoundError: No module named '{module}'"


def test_a_missing_module_of_the_project_is_installed_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src" / "demo").mkdir(parents=True)
    (tmp_path / "asv.conf.json").write_text('{"version": 1, "repo": ".", "benchmark_dir": "b"}')
    settings = asv_config(Path("asv.conf.json"))
    assert settings.explain(missing("demo")) == (
        "demo is this project, and not installed in this environment: `pip install -e .`"
    )
    assert settings.explain(missing("other")) == (
        "other is not installed in this environment: `pip install other`, or the package that has it"
    )
    assert settings.explain(missing("demo.part")) == settings.explain("ValueError: demo") == ""


def test_the_commands_of_the_configuration_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "demo.py").touch()
    commands = '"repo_subdir": "lib", "build_command": ["make", "make wheel"], "install_command": "make install"'
    (tmp_path / "asv.conf.json").write_text(f'{{"version": 1, "repo": ".", "benchmark_dir": "b", {commands}}}')
    assert asv_config(Path("asv.conf.json")).explain(missing("demo")) == (
        "demo is this project, and not installed in this environment: `pip install -e lib`; asv.conf.json names "
        "`make`, `make wheel`, `make install`"
    )
