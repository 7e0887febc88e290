"""A head that reads secrets, opens the network, or leaves its folder."""

import os
import socket

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.versions import stranger
from bench_core.gate.versions.environment import handed_on
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.revisions import resolve

ATTACKS = """
import os, pathlib, signal, socket, subprocess, sys, tempfile

here = pathlib.Path(__file__).resolve()
store = next(folder for folder in here.parents if folder.name == "bench-core")
repository = next(folder for folder in here.parents if (folder / "asv.conf.json").exists())


def parents():
    process = os.getppid()
    while process > 1:
        yield process
        process = int(open(f"/proc/{process}/stat").read().rpartition(")")[2].split()[1])


def bound():
    server = socket.create_server(("127.0.0.1", 0))
    return socket.create_connection(server.getsockname())


ATTACKS = {
    "token in the environment": lambda: os.environ["SECRET_TOKEN"],
    "variable that head alone names": lambda: os.environ["NAMED_BY_HEAD"],
    "environment of a parent": lambda: [open(f"/proc/{one}/environ").read(1) for one in parents()][0],
    "memory of a parent": lambda: open(f"/proc/{os.getppid()}/mem", "r+b"),
    "home": lambda: os.listdir(os.path.expanduser("~")),
    "git's configuration": lambda: (repository / ".git/config").read_text(),
    "folder of all versions": lambda: os.listdir(store / "isolated"),
    "its own version, for the next gate": lambda: here.write_text(""),
    "evidence": lambda: (store / "isolated/evidence/new.jsonl").write_text(""),
    "temporary folder of all": lambda: pathlib.Path("/tmp/bench-core-hostile").write_text(""),
    "signal to its parent": lambda: os.kill(os.getppid(), 0),
    "priority": lambda: os.nice(-1),
    "network": lambda: socket.create_connection(("127.0.0.1", PORT), timeout=1),
}


succeeded = []
for name, attack in ATTACKS.items():
    try:
        attack()
    except (OSError, KeyError):
        continue
    succeeded.append(name)
bound()  # its own localhost works
with tempfile.TemporaryFile() as file:
    file.write(b"its own temporary folder works")
subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)


def value():
    assert not succeeded, succeeded
"""


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def can_isolate():
    try:
        return not stranger.not_blocked()
    except BenchCoreError:
        return False


isolating = pytest.mark.skipif(not can_isolate(), reason="this system cannot isolate all of it")


@isolating
def test_an_isolated_head_reaches_nothing_but_itself(attacked, listener):
    head = ATTACKS.replace("PORT", str(listener))
    variables = {"SECRET_TOKEN": "secret", "NAMED_BY_HEAD": "also"}
    found = attacked.run(head, "--isolated", budget="1s", variables=variables)
    assert found.record["cells"][0]["error"] is None, found.said
    assert found.left == []
    assert "NAMED_BY_HEAD" in found.said  # that it is not handed on


@isolating
@pytest.mark.thorough
def test_an_isolated_gate_runs_the_benchmarks_of_base(attacked):
    forged = {"cases_thing/calls.py": "def time_value():\n    pass\n", "thing/__init__.py": attacked.loop(6000)}
    found = attacked.run(forged, "--isolated", budget="1s")
    assert min(found.ratios) > 1.5
    assert found.code != 0  # isolated is also strict


@isolating
@pytest.mark.thorough
def test_an_isolated_gate_stores_no_times_and_no_benchmarks_as_results_of_asv(attacked):
    found = attacked.run(attacked.loop(6000), "--isolated", budget="1s")
    stored = {path.name for path in (attacked.repository.root / "results").rglob("*") if path.is_file()}
    assert found.ratios
    assert "gates.jsonl" in stored  # its verdict is in the history
    assert not {name for name in stored if name.endswith(".json")}


def test_an_isolated_gate_takes_no_configuration_of_head(attacked):
    config = attacked.repository.config.read_text().replace('"thing"', '"thing", "build_command": ["touch /tmp/x"]')
    found = attacked.run({"asv.conf.json": config}, "--isolated")
    assert found.code == 2
    assert "asv.conf.json differs from that of main" in found.said


def test_an_isolated_gate_that_cannot_be_one_does_not_begin(attacked, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes\nctypes.CDLL.syscall = property(lambda self: lambda *arguments: -1)\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    found = attacked.run(attacked.loop(3000), "--isolated", variables={"PYTHONPATH": path})
    assert found.code == 2
    assert "--isolated is not possible here: the system has no Landlock" in found.said


def test_versions_get_known_variables_and_those_that_base_names(attacked):
    made = attacked.repository
    base = made.commit({"thing/more.py": "import os\nos.environ['CASE_SIZE'], f'KIND_{1}', os.getenv('MY_TOKEN')\n"})
    project = read_project(made.config)
    here = {
        **{"PATH": "/bin", "OMP_WAIT_POLICY": "passive", "LC_ALL": "C"},
        **{"CASE_SIZE": "1", "KIND_OF_CASE": "2", "MY_TOKEN": "3", "OTHER": "4", "GIVEN_TOKEN": "5"},
    }
    found = handed_on(here, project, resolve(project, base), ["GIVEN_TOKEN"])
    assert sorted(found) == ["CASE_SIZE", "GIVEN_TOKEN", "KIND_OF_CASE", "LC_ALL", "OMP_WAIT_POLICY", "PATH"]


def test_a_token_stays_with_the_gate(attacked):
    head = "import os\n\n\ndef value():\n    assert 'SECRET_TOKEN' not in os.environ\n"
    found = attacked.run(head, budget="1s", variables={"SECRET_TOKEN": "secret"})
    assert found.record["cells"][0]["error"] is None, found.said
