"""Commands that are killed at chosen moments leave no process, no temporary file, and whole results."""

import json
import os
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from click.testing import CliRunner

from bench_core.cli import main

HANGS = """
import os, subprocess, sys, tempfile


def hang():
    tempfile.mkdtemp()
    if os.path.exists({hang!r}):
        open({hang!r} + ".now", "w").close()
        subprocess.run([sys.executable, "-c", "import signal; signal.pause()"])
"""
CASES = (
    HANGS
    + """

def time_one():
    pass


def time_two():
    pass


time_two.teardown = hang
"""
)
LOOP = "def value():\n    pass\n"


class Project:
    """A repository with a package, and a suite that hangs on demand."""

    def __init__(self, repository):
        self.root = repository.root
        self.hang = self.root / ".asv/hang"
        self.temporary = self.root / ".asv/temporary"
        self.temporary.mkdir(parents=True)
        self.configure, self.write = repository.configure, repository.write
        repository.configure(benchmark_dir="cases")
        repository.commit(
            {
                "thing/__init__.py": LOOP,
                "cases/__init__.py": "",
                "cases/calls.py": CASES.format(hang=str(self.hang)),
                ".gitignore": ".asv/\nresults/\n*.json\n!asv.conf.json\n",
            }
        )

    def kill(self, *arguments):
        """Kill a command as soon as it hangs, and wait until all that it has started is gone."""
        self.hang.touch()
        with subprocess.Popen(
            [sys.executable, "-m", "bench_core", *arguments],
            cwd=self.root,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            while not self.hang.with_suffix(".now").exists():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.01)
                    pytest.fail(process.stdout.read())
            started = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        assert len(started) >= 2
        assert psutil.wait_procs(started, timeout=10)[1] == []
        self.hang.unlink()
        self.hang.with_suffix(".now").unlink()

    def left(self):
        """Temporary files, and unfinished versions."""
        return [*self.temporary.iterdir(), *self.root.rglob("making-*"), *self.root.rglob(".*.[0-9]*")]


@pytest.fixture
def project(tmp_path, monkeypatch, repositories):
    made = Project(repositories.new(tmp_path / "project"))
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("TMPDIR", str(made.temporary))
    return made


def test_a_gate_that_is_killed_as_it_builds_leaves_nothing(project):
    command = "python -c 'exec(open(\"build.py\").read())'"
    project.configure(benchmark_dir="cases", build_command=[command])
    build = "import shutil, sys, os\n" + HANGS.format(hang=str(project.hang)) + "\nhang()\n"
    project.write({"build.py": build, "pyproject.toml": "[build-system]\nrequires = []\n"})
    project.kill("gate", "HEAD")
    assert project.left() == []


@pytest.mark.usefixtures("two_rounds")
@pytest.mark.thorough
def test_a_run_that_is_killed_keeps_its_finished_rounds_and_leaves_nothing(project):
    arguments = ("run", "--machine", "here", "--seed", "1")
    done = CliRunner().invoke(main, [*arguments, "time_one", "--budget", "1"])
    assert done.exit_code == 0, done.output
    before = {path: path.read_bytes() for path in (project.root / "results").rglob("*") if path.is_file()}
    project.kill(*arguments)
    assert project.left() == []
    for path, content in before.items():
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert path.read_bytes().startswith(content[: content.rfind(b"\n")])
    shown = CliRunner().invoke(main, ["show"])
    assert shown.exit_code == 0, shown.output
    assert "time_one" in shown.output
