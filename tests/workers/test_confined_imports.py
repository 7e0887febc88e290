"""What a confined process imports: the same as its parent, also from repositories in the import path."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bench_core
from bench_core.errors import BenchCoreError
from bench_core.gate.versions import stranger

CONFINED = """
import json, subprocess, sys
from bench_core.workers.loading import load
from bench_core.workers.messages import Confinement, Source

own, suite = sys.argv[1:]
load(Source((), ("thing",), own, confined=Confinement((own,), (suite,))), suite)
import helper, bench_core.special

again = subprocess.run([sys.executable, "-c", "import helper; print(helper.__file__)"], capture_output=True, text=True)
try:
    hidden = open(sys.path[sys.path.index(NAMED)] + "/.git/config").read()
except PermissionError:
    hidden = "closed"
print(json.dumps([bench_core.special.__file__, helper.__file__, again.stdout.strip(), hidden]))
"""


def can_isolate():
    try:
        stranger.not_blocked()
    except BenchCoreError:
        return False
    return True


@pytest.mark.skipif(not can_isolate(), reason="this system cannot confine processes")
def test_a_confined_process_imports_from_the_repositories_of_its_parent_and_reads_nothing_hidden_there(tmp_path):
    package = Path(bench_core.__file__).parent
    checkout, suite, own = tmp_path / "checkout", tmp_path / "cases", tmp_path / "gate" / "base"
    for folder in (checkout / ".git", suite, own):
        folder.mkdir(parents=True)
    (suite / "__init__.py").write_text("")
    (checkout / ".git" / "config").write_text("a token")
    (checkout / "helper.py").write_text("")
    (checkout / package.name).symlink_to(package)
    other = tmp_path / "installed" / "bench_core"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('another installation')")
    done = subprocess.run(
        [sys.executable, "-c", CONFINED.replace("NAMED", repr(str(checkout))), str(own), str(suite)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), str(package.parent), str(other.parent)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    special, helper, again, hidden = json.loads(done.stdout)
    assert Path(special).resolve() == package / "special.py"
    assert [Path(one).resolve() for one in (helper, again)] == [checkout / "helper.py"] * 2
    assert hidden == "closed"
