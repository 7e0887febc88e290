"""Exit code 1 means a regression, and nothing else may end with it; and any output can hold what we print."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli import main
from bench_core.cli.terminal import hold_everything
from bench_core.compat import tomllib
from bench_core.errors import BUG

NAMES = sorted(main.commands)
ARGUMENTS = {
    "bisect": ("good", "bad", "cell"),
    "ci": ("finish",),
    "compare": ("one", "other"),
    "completion": ("bash",),
    "model": ("mlp",),
}


@pytest.fixture
def broken(monkeypatch):
    """Every command raises an error that is a bug of ours."""

    def fail(*_, **__):
        raise AttributeError("no such thing")

    for command in main.commands.values():
        monkeypatch.setattr(command, "invoke", fail)


@pytest.mark.parametrize("name", NAMES)
def test_a_bug_of_ours_does_not_end_with_the_code_of_a_regression(broken, name):
    done = CliRunner().invoke(main, [name, *ARGUMENTS.get(name, ())])
    assert done.exit_code == BUG not in (0, 1, 2, 3, 130)
    assert "AttributeError: no such thing" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("bench-core: this is a bug in bench-core")


INTERRUPTED_WHILE_IMPORTING = """
import sys


class Interrupt:
    def find_spec(name, path=None, target=None):
        if name == "click":
            raise KeyboardInterrupt


sys.meta_path.insert(0, Interrupt)
sys.argv[1:] = ["list"]
from {module} import {function}
{function}()
"""


def test_ctrl_c_while_modules_are_imported_ends_with_one_line_and_130():
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, function = settings["project"]["scripts"]["bench-core"].split(":")
    code = INTERRUPTED_WHILE_IMPORTING.format(module=module, function=function)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "bench-core: interrupted.\n")


@pytest.mark.parametrize("place", ["make_context", "invoke"])
@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_in_any_command_ends_with_one_line_and_130(name, place, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(main.commands[name], place, interrupt)
    done = CliRunner().invoke(main, [name, *ARGUMENTS.get(name, ())])
    assert (done.exit_code, done.stderr) == (130, "bench-core: interrupted.\n")


def test_ctrl_c_while_the_options_of_bench_core_are_read_ends_with_one_line_and_130(monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "parse_args", interrupt)
    done = CliRunner().invoke(main, ["list"])
    assert (done.exit_code, done.stderr) == (130, "bench-core: interrupted.\n")


def test_a_reader_who_leaves_is_no_regression():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        done = subprocess.run(
            [sys.executable, "-m", "bench_core", "--help"], stdout=out, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="the device is Linux's")
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("arguments", ["--help", "--version", "show results", "report results --format json"])
def test_a_full_output_is_one_line_and_no_regression(arguments, silent):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench_core", *arguments.split()],
            cwd=Path(__file__).parents[2],
            stdout=full,
            stderr=full if silent else subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    said = [line for line in (done.stderr or "").splitlines() if "left out" not in line]
    assert said == ([] if silent else [f"bench-core: the output cannot be written: {NO_SPACE}."])


NO_SPACE = "No space left on device"


def test_what_an_output_cannot_hold_is_written_in_letters_that_it_can():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    hold_everything(out)
    out.write("1.2 µs ± 3 %, 1 … 2, a → b, 4\u00d7, é")
    out.flush()
    assert out.buffer.getvalue() == b"1.2 us +- 3 %, 1 ... 2, a -> b, 4x, \\xe9"


def test_every_command_line_can_write_to_an_ascii_terminal():
    code = "from bench_core.cli import main\nfrom bench_core.cli.terminal import console\n"
    code += "main.commands['doctor'].callback = lambda **_: console().print('± …')\nmain(['doctor'])"
    variables = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=False)
    assert (done.returncode, done.stdout) == (0, "+- ...\n"), done.stderr
