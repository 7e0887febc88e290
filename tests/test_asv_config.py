"""A configuration that is none is one clear error."""

import pytest

from bench_core.asv_config import asv_config
from bench_core.errors import BenchCoreError

WHOLE = '"version": 1, "project": "x", "repo": "."'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[]", "it is a list, not an object"),
        ("[" + "{" + WHOLE + "}]", "it is a list, not an object"),
        ("null", "it is null, not an object"),
        ('{"version": 1 "project": "x"}', "column 15"),
        ('{"version": "a"}', "version is 'a'"),
        ("{" + WHOLE + ', "benchmark_dir": 3}', "benchmark_dir is 3, not a text"),
        ("{" + WHOLE + ', "results_dir": ["a"]}', r"results_dir is \['a'\], not a text"),
        ("{" + WHOLE + ', "repo_subdir": 1}', "repo_subdir is 1, not a text"),
        ("{" + WHOLE + ', "build_command": {"a": 1}}', "build_command is .*, not a command or a list of commands"),
        ("{" + WHOLE + ', "build_command": [1]}', "build_command is .*, not a command or a list of commands"),
    ],
)
def test_a_configuration_that_asv_cannot_read_is_an_error_that_says_what_was_found(tmp_path, text, complaint):
    (tmp_path / "asv.conf.json").write_text(text)
    with pytest.raises(BenchCoreError, match=f"asv.conf.json cannot be read as asv's configuration: .*{complaint}"):
        asv_config(tmp_path / "asv.conf.json")
