"""The help of every command, the version, and the completion of shells."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import bench_core
from bench_core.cli import main
from bench_core.cli.completion import SHELLS

COMMANDS = sorted(main.commands)

ROOT = Path(__file__).parents[2]


def examples(command):
    """The lines of the example in the help of a command."""
    help_ = click.unstyle(CliRunner().invoke(main, [command, "--help"]).stdout)
    _, found, rest = help_.partition("\n  Example:\n")
    assert found, f"the help of {command} has no example"
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_the_command_understands(command):
    for line in examples(command):
        words = shlex.split(line.removeprefix('eval "$(').removesuffix(')"').partition(" > ")[0])
        assert words[:2] == ["bench-core", command]
        found, rest = main, words[1:]
        while isinstance(found, click.Group):
            found, (_, *rest) = found.commands[rest[0]], rest
        _, rest, _ = found.make_parser(click.Context(found)).parse_args(rest)
        assert not rest


def test_the_help_of_the_program_has_an_example():
    assert "  Example:\n    bench-core gate" in CliRunner().invoke(main, ["--help"]).stdout


def test_the_version_is_the_installed_one():
    done = CliRunner().invoke(main, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"bench-core {bench_core.version()}\n")
    assert bench_core.version()[0].isdigit()


def test_a_folder_that_is_only_in_the_import_path_has_no_version(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert bench_core.version() == "unknown"


@pytest.fixture
def program(tmp_path):
    """The environment of a shell that finds `bench-core`."""
    script = tmp_path / "bin" / "bench-core"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom bench_core.__main__ import main\nmain()\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


ASK = {
    "bash": """
        eval "$(bench-core completion bash)"
        COMP_WORDS=(bench-core gate --versu); COMP_CWORD=2
        _bench_core_completion bench-core; printf '%s\\n' "${COMPREPLY[@]}"
    """,
    "zsh": """
        autoload -U compinit && compinit -D
        eval "$(bench-core completion zsh)"
        (( $+_comps[bench-core] )) && COMP_WORDS="bench-core gate --versu" COMP_CWORD=2 \\
            _BENCH_CORE_COMPLETE=zsh_complete bench-core | sed -n 2p
    """,
    "fish": """
        bench-core completion fish | source
        complete --do-complete 'bench-core gate --versu' | cut -f1
    """,
}
"""For each shell, a program that loads the script and prints what completes ``bench-core gate --versu``."""


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_options(shell, program):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run(
        [shell, "-c", ASK[shell]], env=program, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["--versus"], "")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_needs_no_such_shell(shell, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"_BENCH_CORE_COMPLETE={shell}_complete" in done.stdout
