"""`--versus`: two installs of one requirement, or two interpreters."""

import errno
import hashlib
import json
import os
import resource
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from bench_core.cli import main
from bench_core.errors import BenchCoreError
from bench_core.gate import prepare
from bench_core.gate.measure.discover import Found, find_cells
from bench_core.gate.versions import installs, interpreters, versus
from bench_core.gate.versions.installs import pin_of
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.steps import Runner, Step, StepError
from bench_core.gate.versions.store import VersionStore
from bench_core.gate.versions.subjects import Importable, Subjects, source
from bench_core.gate.versions.versus import environments
from bench_core.records.version import Install
from bench_core.workers import child
from bench_core.workers.interrupt import interruptible

SLOW = "def value():\n    for _ in range({}):\n        pass\n"


def wheel(folder, version, source, *, python=">=3", extra=()):
    """A wheel of one module, `dep`, written by hand."""
    path = folder / f"dep-{version}-py3-none-any.whl"
    info = f"dep-{version}.dist-info"
    files = {
        "dep.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: dep\nVersion: {version}\nRequires-Python: {python}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **dict(extra),
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in files.items():
            file.writestr(name, text)
    return path


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    return tuple(str(wheel(folder, f"{number}.0", SLOW.format(2000 * number))) for number in (1, 3))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")


CASES = """
import dep
import thing


class Call:
    def time_value(self):
        dep.value()


def track_both():
    return thing.value()
"""


@pytest.fixture(scope="module")
def code(shared_repository):
    """A project that says nothing of how it is built, and needs `dep`."""
    shared_repository.commit({"pyproject.toml": None, "cases_thing/calls.py": CASES})
    return shared_repository


@pytest.fixture
def store(code, tmp_path):
    return VersionStore(read_project(code.config), tmp_path / "store")


def left(store):
    """What is in the cache besides what is meant to be."""
    return [path for path in store.folder.rglob("*") if path.name.startswith("making-") or path.name == "site"]


# What is asked for


@pytest.mark.parametrize(
    "asked", ["torch", "torch>=2", "torch==2.*", "torch==2,!=2.1", "a b", "torch @ https://x.org/t"]
)
def test_a_requirement_without_an_exact_version_is_refused_with_an_example(asked):
    with pytest.raises(
        BenchCoreError, match="cannot tell which version .* Give an exact version, as in 'torch==2.11.0'"
    ):
        pin_of(asked)


def test_a_pin_with_a_condition_is_refused():
    with pytest.raises(BenchCoreError, match='has one: leave out `; python_version < "3"`'):
        pin_of("dep==1; python_version<'3'")


def test_a_pin_may_have_extras(wheels):
    assert (pin_of("Some_Thing[fast]==1.0").package, pin_of(wheels[0]).package) == ("some-thing", "dep")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (("torch==1", "numpy==1"), "two installs of one package, but these are of torch and numpy"),
        (("torch==1", sys.executable), "of torch==1 and .* only one is an interpreter"),
        (("dep-1.0-py3-none-any.whl", "dep==1"), "dep-1.0-py3-none-any.whl: no such file"),
        (("dep.whl", "dep==1"), "dep.whl is no valid name of a wheel"),
    ],
)
def test_two_of_a_kind_are_needed(store, asked, complaint):
    with pytest.raises(BenchCoreError, match=complaint):
        environments(store, asked, lambda line: None)


# Installs


@pytest.fixture(scope="module")
def made(code, wheels):
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_TARGET", "elsewhere")
        store = VersionStore(read_project(code.config))
        found = environments(store, wheels, said.append)
        again = environments(store, wheels, said.append)
    return store, found, again, said


def test_an_install_is_a_folder_and_the_names_in_it(made, wheels):
    _, found, _, _ = made
    assert (found.base.name, found.base.packages, found.besides) == (wheels[0], ("dep",), ())
    assert [Path(one.path, "dep.py").read_text() for one in (found.base, found.head)] == [
        SLOW.format(2000),
        SLOW.format(6000),
    ]
    assert found.base.version.digest != found.head.version.digest


def test_an_install_is_made_once_and_nothing_else_stays(made, wheels):
    store, found, again, said = made
    assert found == again
    assert said == [f"installing {name}" for name in wheels]
    assert {path.name for path in (store.folder / "installs").iterdir()} == {
        found.base.version.digest,
        found.head.version.digest,
    }


def test_an_install_says_what_it_is_imported_as(made):
    assert made[1].compared == {"dep"}


def test_what_an_install_brings_along_may_differ_and_is_named():
    assert versus._differing({"sympy": "1.13", "x": "1"}, {"sympy": "1.14", "x": "1", "y": "2"}) == (
        "sympy 1.13 → 1.14",
        "y none → 2",
    )


def test_a_pin_of_a_prerelease_is_met_by_it():
    assert pin_of("thing==2.0rc1").is_met_by("2.0rc1")
    assert not pin_of("thing==2.0rc1").is_met_by("2.0")


def refused(store, asked):
    with pytest.raises(BenchCoreError) as caught:
        environments(store, (asked, asked), lambda line: None)
    assert left(store) == []
    return str(caught.value)


def test_a_version_for_another_python_says_so(store, tmp_path):
    path = str(wheel(tmp_path, "2.0", "", python=">=3.99"))
    said = refused(store, path)
    assert f"{path} cannot be installed: it needs another Python than this one, Python 3." in said
    assert "requires a different Python" in said  # pip's own words, from the log
    log = Path(said.rpartition("The whole log: ")[2])
    assert "requires a different Python" in log.read_text()


@pytest.mark.parametrize(
    ("asked", "ignored", "is_it"),
    [
        ("dep==1.0", "2.1.0", False),
        ("dep==1.21", "1.21.0", True),
        ("dep==2.1", "2.1+cpu", True),
        ("dep==1.0", "no", False),
    ],
)
def test_a_version_that_pip_ignores_for_its_python_is_distinguished_from_others(tmp_path, asked, ignored, is_it):
    (tmp_path / "log").write_text(
        "ERROR: Ignored the following versions that require a different python version: "
        f"0.1 Requires-Python >=3.99; {ignored} Requires-Python >=3.99\n"
    )
    assert ("another Python" in installs._why(pin_of(asked), tmp_path / "log", tmp_path)) is is_it


def test_what_pip_did_not_install_is_no_install(store, wheels, monkeypatch):
    monkeypatch.setenv("PIP_DRY_RUN", "1")
    assert f"did not install {wheels[0]}: the installed version of dep is none" in refused(store, wheels[0])


def test_another_version_than_the_one_asked_for_is_no_install(store, wheels, monkeypatch):
    monkeypatch.setattr(Runner, "run", lambda self, step, log: unpacked(step, wheels[1], log))
    assert "version of dep is 3.0" in refused(store, wheels[0])


def test_another_index_is_another_install(wheels, tmp_path, monkeypatch):
    def key(text):
        path = tmp_path / hashlib.sha256(text.encode()).hexdigest()
        path.write_text(text)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(path))
        return installs._key(pin_of(wheels[0]))

    assert key("") != key("[global]\nindex-url = https://x.org/simple\n")
    with pytest.raises(BenchCoreError, match="`pip config list` failed"):
        key("[global\n")


def test_a_version_that_is_not_there_says_so(store):
    assert "dep==9.9 cannot be installed: there is no such version, or it or a dependency has no wheel for" in refused(
        store, "dep==9.9"
    )


def test_a_version_that_a_constraint_forbids_says_which(store, tmp_path, monkeypatch):
    (tmp_path / "constraints.txt").write_text("dep<1.5\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "constraints.txt"))
    assert "cannot be installed: it conflicts with the constraint dep<1.5 (" in refused(
        store, str(wheel(tmp_path, "2.0", ""))
    )


def test_a_file_that_cannot_be_written_whole_leaves_nothing_half_made(store, tmp_path):
    large = wheel(tmp_path, "2.0", "", extra={"dep_data.txt": "0" * 4_000_000}.items())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        said = refused(store, str(large))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in said


def unpacked(step, path, log):
    """What pip does, as far as it matters here."""
    zipfile.ZipFile(path).extractall(step.command[step.command.index("--target") + 1])
    log.touch()


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_while_pip_installs_is_reported_in_one_line(store, monkeypatch, wheels):
    def run(self, step, log):
        target = Path(step.command[step.command.index("--target") + 1])
        (target / "dep").mkdir(parents=True)
        log.write_text("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n")
        raise StepError("`pip` ended with status 1.")

    monkeypatch.setattr(Runner, "run", run)
    monkeypatch.setattr(shutil, "copyfile", full)  # not even the log has room
    said = refused(store, wheels[0])
    assert "cannot be installed: the disk that " in said
    assert "The whole log" not in said


@pytest.mark.parametrize("where", ["run", "compile"])
def test_a_disk_that_fills_up_later_is_reported_in_one_line(store, monkeypatch, wheels, where):
    monkeypatch.setattr(Runner, "run", lambda self, step, log: unpacked(step, wheels[0], log))
    monkeypatch.setattr(Runner, where, full)
    assert "cannot be installed in" in (said := refused(store, wheels[0]))
    assert "No space left on device. Make room" in said


def test_an_install_that_is_interrupted_leaves_nothing(store, monkeypatch, wheels):
    """As a CI service does that cancels a job: pip does not hear of it."""

    def hang(folder, *arguments):
        Path(arguments[arguments.index("--target") + 1]).mkdir()
        call = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"
        return Step((sys.executable, "-c", call), folder, dict(os.environ))

    before = psutil.Process().children(recursive=True)  # such as the browser of another test
    monkeypatch.setattr(installs, "pip", hang)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        environments(store, wheels, lambda line: None)
    assert left(store) == []
    assert list((store.folder / "installs").iterdir()) == []
    assert psutil.Process().children(recursive=True) == before


def test_the_cache_keeps_the_installs_that_were_used_last(store, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, "run", lambda self, step, log: unpacked(step, step.command[-2], log))
    monkeypatch.setattr(installs, "KEPT_INSTALLS", 2)
    paths = [str(wheel(tmp_path, f"{number}", "")) for number in range(4)]
    made = [environments(store, (path, path), lambda line: None).base.version.digest for path in paths]
    assert {path.name for path in (store.folder / "installs").iterdir()} == set(made[2:])


# Interpreters


def interpreter(path, *options):
    """Another interpreter, as far as anybody can tell: ours, by another name."""
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {" ".join(options)} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_without_what_workers_need_says_how_to_get_it(store, tmp_path):
    bare = interpreter(tmp_path / "bare", "-S")
    assert refused(store, bare) == (
        f"{bare} lacks what workers need. Install it there: {bare} -m pip install asv_runner psutil"
    )


def test_a_python_that_is_too_old_says_so(store, tmp_path, monkeypatch):
    monkeypatch.setattr(interpreters, "OLDEST_PYTHON", (4, 0))
    assert "workers need 4.0 or newer" in refused(store, interpreter(tmp_path / "old"))


def test_what_is_no_interpreter_is_refused(store, tmp_path):
    assert "./nowhere is no interpreter: it is not an executable file." in refused(store, "./nowhere")
    assert "is no Python interpreter: asked for its version, it said 'nothing'" in refused(store, shutil.which("true"))
    (tmp_path / "env/bin").mkdir(parents=True)
    interpreter(tmp_path / "env/bin/python")
    assert "Did you mean" in refused(store, str(tmp_path / "env"))


def test_another_interpreter_gets_our_package_and_nothing_else_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "ours"))
    command = child.command("bench_core.workers.probe", sys.executable, tmp_path)
    (path,) = [line for line in command[-1].split("; ") if "sys.path.insert" in line]
    assert repr(str(tmp_path / "tool")) in path
    assert [one.name for one in (tmp_path / "tool").iterdir()] == ["bench_core"]
    assert "PYTHONPATH" not in child.variables(sys.executable, 1)
    assert "PYTHONPATH" in child.variables("", 1)


def venv(folder, *, number=1):
    """What looks like a venv of our Python with a `dep` of its own in it."""
    site = folder / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    site.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(sys._base_executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys._base_executable).parent}\n")
    record = "../../../bin/dep,sha256={},9\ndep.py,sha256={},9\ndep-1.0.dist-info/RECORD,,\n"
    for name in ("dep", *interpreters.NEEDED):
        (site / f"{name}.py").touch()
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text(record.format(folder.name, number if name == "dep" else 0))
    return str(folder / "bin/python")


def test_two_venvs_of_one_python_with_the_same_versions_are_two(store, tmp_path):
    found = environments(store, (venv(tmp_path / "a"), venv(tmp_path / "b")), lambda line: None)
    assert found.base.version.digest != found.head.version.digest
    assert found.besides == ()


def test_another_build_of_the_same_version_is_named(store, tmp_path):
    pythons = venv(tmp_path / "a", number=1), venv(tmp_path / "b", number=2)
    assert environments(store, pythons, lambda line: None).besides == ("dep 1.0, another build of it",)


def test_a_package_that_is_built_anew_in_place_makes_another_interpreter(store, tmp_path):
    python = venv(tmp_path / "a")
    before = environments(store, (python, python), lambda line: None)
    assert before.base.version == before.head.version
    (record,) = tmp_path.glob("a/lib/*/site-packages/dep-*/RECORD")
    record.write_text("dep.py,sha256=2,9\n")
    assert environments(store, (python, python), lambda line: None).base.version != before.base.version


def test_of_two_packages_of_one_name_the_first_is_the_one(store, tmp_path, wheels):
    zipfile.ZipFile(wheels[1]).extractall(tmp_path / "front")
    python = venv(tmp_path / "a")
    (tmp_path / "python").write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path / "front"}" exec "{python}" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    found = environments(store, (python, str(tmp_path / "python")), lambda line: None)
    assert found.besides == ("dep 1.0 → 3.0",)


# Both in a gate


def test_a_dependency_of_one_install_comes_from_elsewhere_on_the_other(made, code):
    _, found, _, _ = made
    subjects = Subjects(found.base, Importable(Install("dep==2", "d", ("dep", "more"))), Path("x"), code=found.base)
    assert [source(subjects, side, Path("c")).packages for side in ("base", "head")] == [("dep",), ("dep", "more")]


def test_cells_that_one_install_does_not_have_are_named(made, code, tmp_path):
    _, found, _, _ = made
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/__init__.py").touch()
    (tmp_path / "cases/calls.py").write_text(
        "import dep\nif '2000' in open(dep.__file__).read():\n    def time_old():\n        pass\n"
    )
    (tmp_path / "code").mkdir()
    behind = Importable(Install("code", "d", ()), str(tmp_path / "code"))
    cells = find_cells(Subjects(found.base, found.head, tmp_path / "cases", behind), None, quick=False)
    assert (cells.cells, cells.left_out) == ((), {"calls.time_old": "only on base"})


@pytest.mark.parametrize(("imported", "notes"), [({"dep"}, 0), (set(), 1)])
def test_a_suite_that_does_not_import_what_is_compared_is_noted(code, made, wheels, monkeypatch, imported, notes):
    found = Found((), {"calls.time_value": "why not"}, (), (), [], False, imported=frozenset(imported))
    monkeypatch.setattr(prepare, "find_cells", lambda *arguments, **options: found)
    said = []
    asked = prepare.Request(code.config, None, versus=wheels)
    with pytest.raises(BenchCoreError, match="none of the 1 cells can be compared here: why not"):
        prepare.prepare(asked, {}, said.append)
    assert sum(line.startswith("note: the benchmark modules do not import dep") for line in said) == notes


OF_ITSELF = "import dep\ndef time_value():\n    dep.value()\n"

CLEARLY = ("--lanes", "1", "--budget", "30", "--noise-floor", "30%", "--limit", "60%")
AT_A_GLANCE = ("--lanes", "1", "--budget", "0.1s")
"""A pair or two, which decide nothing."""


def gate(code, tmp_path, monkeypatch, *arguments):
    monkeypatch.chdir(code.root)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    done = CliRunner().invoke(main, ["gate", *arguments, "--json", str(tmp_path / "gate.json")])
    assert list((tmp_path / "temporary").iterdir()) == []
    return done


@pytest.mark.thorough
def test_an_install_that_is_slower_is_a_regression(code, made, wheels, tmp_path, monkeypatch):
    done = gate(code, tmp_path, monkeypatch, "--versus", *wheels, "--bench", "time_value", *CLEARLY)
    assert done.exit_code == 1, done.output
    found = json.loads((tmp_path / "gate.json").read_text())
    assert (found["base"]["name"], found["head"]["name"], found["code"]["name"]) == (*wheels, "working tree")
    assert (found["verdict"], found["unfair"], found["settings"]["start"]) == ("regression", [], "spawn")
    effects = found["cells"][0]["effects"]
    assert len({effect["parent"] for effect in effects}) == len(effects) >= 4  # each pair is a parent of its own
    assert f"bench-core gate --versus {wheels[0]} {wheels[1]} --full" in done.output
    assert not list((code.root / "results").rglob("*gate*.json"))
    again = CliRunner().invoke(main, ["gate", "--replay", str(tmp_path / "gate.json")])
    assert again.exit_code == 1, again.output


@pytest.mark.thorough
def test_releases_of_the_project_itself_are_compared_without_building_it(tmp_path, repositories, wheels, monkeypatch):
    """The project would not build, and its repository is not here: the suite lies in a repository of its own."""
    suite = repositories.new(tmp_path / "suite")
    suite.configure(project="Dep", repo="https://example.org/dep.git", build_command="false")
    suite.commit({"pyproject.toml": "[project]\n", "cases_thing/__init__.py": "", "cases_thing/calls.py": OF_ITSELF})
    done = gate(suite, tmp_path, monkeypatch, "--versus", *wheels, *AT_A_GLANCE)
    assert "is too small to decide anything" in done.stderr, done.output
    found = json.loads((tmp_path / "gate.json").read_text())
    assert found["cells"][0]["effects"][0]["ratio"] > 1.5
    assert (found["code"]["name"], found["code"]["packages"]) == ("working tree", [])


def test_two_interpreters_are_compared_by_path(code, wheels, tmp_path, monkeypatch):
    """Each with a `dep` of its own, in front of the rest."""
    pythons = []
    for number, path in enumerate(wheels):
        folder = tmp_path / f"site{number}"
        zipfile.ZipFile(path).extractall(folder)
        (tmp_path / f"python{number}").write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
        (tmp_path / f"python{number}").chmod(0o755)
        pythons.append(str(tmp_path / f"python{number}"))
    done = gate(code, tmp_path, monkeypatch, "main", "--versus", *pythons, "--bench", "time_value", *AT_A_GLANCE)
    assert "is too small to decide anything" in done.stderr, done.output
    found = json.loads((tmp_path / "gate.json").read_text())
    assert found["cells"][0]["effects"][0]["ratio"] > 1.5
    assert (found["code"]["name"], found["besides"], found["unfair"]) == ("main", ["dep 1.0 → 3.0"], [])


def test_the_same_install_twice_is_reported_at_once(code, made, wheels, tmp_path, monkeypatch):
    done = gate(code, tmp_path, monkeypatch, "--versus", wheels[0], wheels[0])
    assert done.exit_code == 0, done.output
    assert "are one and the same" in done.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("main", "other"), "with the same code on both sides: leave out other"),
        (("--self-test",), "or two installs with --versus; or only --self-test"),
        (("--replay", "gate.json"), "with its own settings: leave out --versus"),
    ],
)
def test_what_does_not_go_with_versus_is_refused(arguments, complaint):
    done = CliRunner().invoke(main, ["gate", "--versus", "dep==1", "dep==2", *arguments])
    assert done.exit_code == 2
    assert complaint in done.stderr
