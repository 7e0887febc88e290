import importlib.util
import json
import marshal
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import psutil
import pytest
from click.testing import CliRunner

from bench_core.cli import main
from bench_core.errors import BenchCoreError
from bench_core.gate.versions import steps, wheels
from bench_core.gate.versions import store as stores
from bench_core.gate.versions.project import read_project
from bench_core.gate.versions.revisions import benchmarks_digest, digest_of, package_entries, resolve, uncommitted
from bench_core.gate.versions.steps import Runner, Step, StepError
from bench_core.gate.versions.store import VersionStore
from bench_core.records.version import Commit, WorkingTree
from bench_core.workers.interrupt import interruptible


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, of this test only."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(root, revision):
    """The files of a revision."""
    environment = {**os.environ, **revision.variables}
    command = ["git", "-C", str(root), "ls-tree", "-r", "--name-only", revision.tree]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()


def contents(folder):
    """Every file below a folder. Not their ages: git touches an object that it would have written, against `git gc`."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def digest(project, revision):
    """Of the files that the package depends on."""
    return digest_of(package_entries(project, revision))


def cached(store):
    return sorted(path.name for path in store.folder.iterdir() if path.name not in (".gitignore", "suites"))


# The project


def test_the_configuration_names_the_suite_and_the_folders_of_asv(repository):
    found = read_project(repository.config)
    assert (found.root, found.suite, found.subdir) == (
        repository.root,
        PurePosixPath("cases_thing"),
        PurePosixPath("."),
    )
    assert (found.env_dir, found.results_dir) == (repository.root / ".asv/env", repository.root / "results")


def test_paths_are_relative_to_a_configuration_in_a_subfolder(repository):
    repository.config = repository.root / "perf/asv.conf.json"
    repository.configure(repo="..", benchmark_dir="cases_perf", repo_subdir="python")
    found = read_project(repository.config)
    assert found.root == repository.root
    assert (found.suite, found.subdir) == (PurePosixPath("perf/cases_perf"), PurePosixPath("python"))
    assert found.env_dir == repository.root / "perf/.asv/env"


@pytest.mark.parametrize(("command", "kept"), [("make", ("make",)), (["a", "b"], ("a", "b")), ([], None), (None, None)])
def test_a_build_command_is_one_line_or_several(repository, command, kept):
    repository.configure(build_command=command)
    assert read_project(repository.config).build_command == kept


@pytest.mark.parametrize("settings", [{"repo": "https://example.org/thing.git"}, {"dvcs": "hg"}])
def test_a_repository_that_is_not_here_is_refused_with_what_is_needed(repository, settings):
    repository.configure(**settings)
    with pytest.raises(BenchCoreError, match=r"needs a git repository on this machine. Clone it.*\)\.$"):
        read_project(repository.config)


def test_what_git_says_of_a_folder_without_a_repository_is_shown(tmp_path):
    config = tmp_path / "asv.conf.json"
    config.write_text(json.dumps({"version": 1, "repo": "."}))
    with pytest.raises(BenchCoreError, match="not a git repository"):
        read_project(config)


def test_a_suite_without_a_repository_is_refused_for_releases_too(tmp_path):
    config = tmp_path / "asv.conf.json"
    config.write_text(json.dumps({"version": 1, "repo": "https://example.org/thing.git"}))
    with pytest.raises(
        BenchCoreError, match="the gate takes the benchmarks from a git repository. .*not a git repository"
    ):
        read_project(config, releases=True)


def test_repo_must_be_the_top_and_the_message_says_where_that_is(repository):
    repository.config = repository.root / "perf/asv.conf.json"
    repository.configure(repo=".")
    with pytest.raises(BenchCoreError, match=r"not the top of its git repository. Set it to '\.\.'"):
        read_project(repository.config)


def test_a_suite_must_lie_below_the_top(repository):
    repository.configure(benchmark_dir=".")
    with pytest.raises(BenchCoreError, match="benchmark_dir is '.', but the gate takes the benchmarks from"):
        read_project(repository.config)


def test_a_configuration_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BenchCoreError, match="asv.conf.json cannot be read as asv's configuration"):
        read_project(tmp_path / "asv.conf.json")


# Revisions


@pytest.mark.parametrize("name", ["main", "v1", "HEAD", "main~1"])
def test_a_revision_is_whatever_git_takes_for_a_commit(repository, name):
    first = repository.git("rev-parse", "HEAD")
    second = repository.commit()
    repository.git("tag", "-a", "v1", "-m", "Annotated")
    found = resolve(read_project(repository.config), name)
    assert (found.name, found.commit, found.changed) == (name, first if name == "main~1" else second, ())
    assert found.tree == repository.git("rev-parse", f"{found.commit}^{{tree}}")


def test_an_unknown_revision_is_met_with_the_near_misses(repository):
    repository.git("branch", "fast-init")
    with pytest.raises(BenchCoreError) as caught:
        resolve(read_project(repository.config), "mian")
    assert str(caught.value) == (
        "revision 'mian' not found in this repository. Did you mean 'main'? Known branches: fast-init, main."
    )


def test_a_branch_that_only_the_remote_has_is_a_near_miss(repository):
    repository.git("update-ref", "refs/remotes/origin/topics/main2", "HEAD")
    with pytest.raises(BenchCoreError, match="Did you mean 'origin/topics/main2', 'main'"):
        resolve(read_project(repository.config), "main2")


def test_a_name_is_never_taken_for_an_option(repository):
    with pytest.raises(BenchCoreError, match="revision '--git-dir' not found"):
        resolve(read_project(repository.config), "--git-dir")


def test_a_shallow_clone_says_how_to_get_the_rest(repository, tmp_path):
    repository.commit()
    clone = tmp_path / "clone"
    repository.git("clone", "--depth", "1", repository.root.as_uri(), str(clone))
    with pytest.raises(BenchCoreError, match="clone is shallow.*git fetch --unshallow.*fetch-depth: 0"):
        resolve(read_project(clone / "asv.conf.json"), "main~1")


def test_a_full_clone_is_not_called_shallow(repository):
    with pytest.raises(BenchCoreError, match=r"Known branches: main\.$"):
        resolve(read_project(repository.config), "main~9")


def test_a_clean_working_tree_is_its_commit(repository):
    found = resolve(read_project(repository.config), None)
    head = resolve(read_project(repository.config), "HEAD")
    assert (found.name, found.changed) == ("working tree", ())
    assert (found.commit, found.tree) == (head.commit, head.tree)


def test_a_working_tree_holds_and_names_what_is_changed_new_or_deleted(repository):
    repository.write({"thing/__init__.py": "def value(): ...", "thing/new.py": "", "docs/index.rst": None})
    found = resolve(read_project(repository.config), None)
    assert sorted(found.changed) == ["docs/index.rst", "thing/__init__.py", "thing/new.py"]
    assert found.commit == repository.git("rev-parse", "HEAD")
    assert "thing/new.py" in names(repository.root, found)
    assert "docs/index.rst" not in names(repository.root, found)


def test_a_deletion_or_a_new_file_may_be_staged_already(repository):
    repository.write({"thing/new.py": "", "thing/both.py": ""})
    repository.git("add", "-A")
    repository.git("rm", "docs/index.rst")
    repository.write({"thing/both.py": None})
    found = resolve(read_project(repository.config), None)
    assert not {"docs/index.rst", "thing/both.py"} & set(names(repository.root, found))
    assert "thing/new.py" in names(repository.root, found)


def test_a_folder_may_have_become_a_file(repository):
    repository.write({"docs/index.rst": None})
    (repository.root / "docs").rmdir()
    repository.write({"docs": ""})
    repository.git("add", "-A")
    assert "docs" in names(repository.root, resolve(read_project(repository.config), None))


def test_a_repository_inside_is_listed_as_such(plain, repositories):
    plain.write({"thing/new.py": ""})
    repositories.new(plain.root / "third", {"file": ""})
    found = read_project(plain.config)
    with pytest.raises(BenchCoreError, match=r"submodules or other repositories \(third\)"):
        VersionStore(found).version(resolve(found, None))


def test_what_git_ignores_is_not_in_the_working_tree(repository):
    repository.write({"thing/new.py": "", "thing/noise.log": ""})
    found = resolve(read_project(repository.config), None)
    assert found.changed == ("thing/new.py",)
    assert "thing/noise.log" not in names(repository.root, found)


def test_the_folders_of_asv_are_not_in_the_working_tree(repository):
    repository.write({".asv/env/log": "", "results/machine.json": "{}", "html/index.html": "", "thing/new.py": ""})
    repository.git("add", "results")
    found = resolve(read_project(repository.config), None)
    assert found.changed == ("thing/new.py",)
    assert not {"results/machine.json", "html/index.html"} & set(names(repository.root, found))


def test_what_the_gate_writes_is_not_in_the_working_tree(repository):
    repository.write({"gate.out": "{}", "thing/new.py": ""})
    found = read_project(repository.config)
    assert resolve(found, None).changed == ("gate.out", "thing/new.py")
    found = replace(found, written=(repository.root / "gate.out",))
    first = resolve(found, None)
    assert first.changed == ("thing/new.py",)
    repository.write({"gate.out": '{"another": 1}'})
    assert resolve(found, None).tree == first.tree


def test_nothing_is_written_into_the_repository(repository, temporary):
    repository.write({"thing/new.py": "new = 1", "thing/__init__.py": "changed = 1"})
    before = contents(repository.root / ".git")
    resolve(read_project(repository.config), None)
    assert contents(repository.root / ".git") == before


def test_the_objects_of_a_working_tree_vanish_with_the_revision(repository, temporary):
    repository.write({"thing/new.py": ""})
    found = resolve(read_project(repository.config), None)
    assert len(list(temporary.iterdir())) == 1
    del found
    assert not list(temporary.iterdir())


# Digests


@pytest.mark.parametrize(
    "path",
    [
        *("README.md", "CHANGELOG", "LICENSE.txt", "docs/conf.py", "tests/test_thing.py", ".github/workflows/ci.yml"),
        *("cases_thing/calls.py", "results/machine.json", "asv.conf.json"),
    ],
)
def test_what_cannot_matter_to_the_package_leaves_the_digest(repository, path):
    found = read_project(repository.config)
    before = digest(found, resolve(found, "HEAD"))
    text = (repository.root / path).read_text() if (repository.root / path).exists() else ""
    repository.commit({path: text + "\n"})
    assert digest(found, resolve(found, "HEAD")) == before


@pytest.mark.parametrize(
    "path", ["thing/__init__.py", "thing/data.rst", "thing/tests/__init__.py", "pyproject.toml", "conftest.py"]
)
def test_what_can_matter_to_the_package_changes_the_digest(repository, path):
    found = read_project(repository.config)
    before = digest(found, resolve(found, "HEAD"))
    repository.write({path: "# other"})
    assert digest(found, resolve(found, None)) != before


def test_the_mode_of_a_file_changes_the_digest(repository):
    found = read_project(repository.config)
    before = digest(found, resolve(found, "HEAD"))
    (repository.root / "thing/__init__.py").chmod(0o755)
    assert digest(found, resolve(found, None)) != before


def test_tests_count_where_the_build_configuration_lies_in_them(repository):
    repository.configure(repo_subdir="tests/packages/thing")
    repository.commit({"tests/packages/thing/pyproject.toml": ""})
    found = read_project(repository.config)
    before = digest(found, resolve(found, "HEAD"))
    repository.commit({"tests/packages/thing/code.py": ""})
    assert digest(found, resolve(found, "HEAD")) != before


def test_the_digest_of_the_benchmarks_is_that_of_their_folder(repository):
    found = read_project(repository.config)
    before = benchmarks_digest(found, resolve(found, "HEAD"))
    repository.commit({"thing/__init__.py": ""})
    assert benchmarks_digest(found, resolve(found, "HEAD")) == before
    repository.commit({"cases_thing/calls.py": ""})
    assert (flat := benchmarks_digest(found, resolve(found, "HEAD"))) != before
    repository.commit({"cases_thing/deep/er/calls.py": ""})
    assert benchmarks_digest(found, resolve(found, "HEAD")) != flat


# Versions that are built


@pytest.fixture(scope="module")
def built(shared_repository):
    """Two versions, built by pip: the commit, and a working tree that differs."""
    shared_repository.write({"thing/__init__.py": "def value():\n    return 2\n"})
    found = read_project(shared_repository.config)
    store = VersionStore(found)
    return store, store.version(resolve(found, "main")), store.version(resolve(found, None))


def test_a_version_imports_as_what_it_was_made_from(built):
    _, *both = built
    command = [sys.executable, "-c", "import thing; print(thing.value(), thing.__file__)"]
    for version, value in zip(both, "12", strict=True):
        done = subprocess.run(command, env={"PYTHONPATH": version.path}, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [value, f"{version.path}/thing/__init__.py"]


def test_a_version_says_what_it_is(built):
    store, base, head = built
    revision = resolve(store.project, "main")
    benchmarks = benchmarks_digest(store.project, revision)
    assert base.version == Commit("main", revision.commit, digest(store.project, revision), benchmarks, ("thing",))
    assert head.version == WorkingTree(
        revision.commit, ("thing/__init__.py",), head.version.digest, benchmarks, ("thing",)
    )
    assert base.version.digest != head.version.digest


def test_the_paths_of_all_versions_are_equally_long(built):
    _, base, head = built
    assert base.path != head.path
    assert len(base.path) == len(head.path)


def test_the_packages_of_a_wheel_are_listed_without_its_description(built):
    _, base, _ = built
    assert base.packages == ("thing",)
    assert list(Path(base.path).glob("*.dist-info"))


def test_a_version_is_compiled_for_its_final_folder(built):
    _, base, _ = built
    source = f"{base.path}/thing/__init__.py"
    code = marshal.loads(Path(importlib.util.cache_from_source(source)).read_bytes()[16:])
    assert code.co_filename == source


def test_nothing_but_the_versions_is_left_in_the_cache(built):
    store, base, head = built
    assert cached(store) == sorted(Path(version.path).parent.name for version in (base, head))


def test_the_cache_is_no_part_of_the_working_tree(plain):
    plain.configure(env_dir="env")
    found = read_project(plain.config)
    VersionStore(found, plain.root / "cache").version(resolve(found, "main"))
    assert uncommitted(found) == ("asv.conf.json",)


def test_a_build_command_is_run_as_asv_runs_it_and_only_once(repository, tmp_path):
    notes = tmp_path / "notes"
    note = f"import os, sys; print(*sys.argv[1:], os.environ['ASV_COMMIT'], os.getcwd(), file=open('{notes}', 'a'))"
    repository.configure(
        build_command=[
            f'python -c "{note}" {{build_dir}} {{conf_dir}} {{env_dir}} {{project}}',
            "return-code=any python -c 'raise SystemExit(3)'",
            "python -m pip wheel --no-deps --no-build-isolation --no-index -w {build_cache_dir} {build_dir}",
        ]
    )
    commit = repository.commit()
    found = read_project(repository.config)
    first = VersionStore(found).version(resolve(found, "main"))
    repository.commit({"README.md": "More words"})
    assert VersionStore(found).version(resolve(found, "main")).path == first.path
    [line] = notes.read_text().splitlines()
    build_dir, *others, folder = line.split()
    assert others == [str(repository.root), sys.prefix, "thing", commit]
    assert build_dir == folder
    assert first.packages == ("thing",)


def test_a_broken_base_is_named_with_its_commit_and_the_end_of_its_log(repository, temporary):
    lines = "\n".join(f"print('line', {number})" for number in range(30))
    commit = repository.commit({"setup.py": f"{lines}\nraise SystemExit('no compiler')"})
    repository.configure(build_command="python setup.py bdist_wheel")
    found = read_project(repository.config)
    store = VersionStore(found)
    with pytest.raises(BenchCoreError) as caught:
        store.version(resolve(found, "main"))
    message = str(caught.value)
    assert message.startswith(
        f"main ({commit[:12]}) does not build: `{sys.executable} setup.py bdist_wheel` ended with"
    )
    assert "    line 29\n    no compiler\nThe whole log: " in message
    assert "line 15" not in message
    [log] = store.folder.glob("*.log")
    assert message.endswith(str(log))
    assert "line 0\n" in log.read_text()
    assert cached(store) == [log.name]
    assert not list(temporary.iterdir())


def test_a_command_that_does_not_exist_is_named(repository):
    repository.configure(build_command="no-such-builder {build_dir}")
    found = read_project(repository.config)
    with pytest.raises(BenchCoreError, match="does not build: `no-such-builder .*` cannot be started"):
        VersionStore(found).version(resolve(found, "main"))


def test_a_placeholder_that_asv_does_not_know_is_named(repository):
    repository.configure(build_command="make {nothing}")
    found = read_project(repository.config)
    with pytest.raises(BenchCoreError, match="build_command in .*{nothing} not available"):
        VersionStore(found).version(resolve(found, "main"))


def test_a_build_command_makes_exactly_one_wheel(repository):
    touch = "import pathlib, sys; [pathlib.Path(sys.argv[1], name).touch() for name in ('a.whl', 'b.whl')]"
    repository.configure(build_command=f'python -c "{touch}" {{build_cache_dir}}')
    found = read_project(repository.config)
    with pytest.raises(BenchCoreError, match="one wheel in {build_cache_dir}, but it left a.whl, b.whl"):
        VersionStore(found).version(resolve(found, "main"))


def test_pip_fetches_what_builds_a_version_only_if_it_is_not_installed(repository, monkeypatch):
    commands = []

    def refuse(self, step, log, hint="", work=None):
        log.write_text("")
        commands.append(step.command)
        raise StepError(hint)

    monkeypatch.setattr(Runner, "run", refuse)
    found = read_project(repository.config)
    with pytest.raises(BenchCoreError):
        VersionStore(found).version(resolve(found, "main"))
    repository.commit({"pyproject.toml": '[build-system]\nrequires = ["setuptools", "no-such-backend>=2"]'})
    with pytest.raises(BenchCoreError, match="pip had to fetch .*: no-such-backend>=2"):
        VersionStore(found).version(resolve(found, "main"))
    assert ["--no-build-isolation" in command for command in commands] == [True, False]


@pytest.mark.parametrize(
    ("requirement", "satisfied"),
    [
        *(("setuptools", True), ("setuptools<1", False), ("Setuptools >= 70", True), ("no-such-backend", False)),
        *(("no-such-backend; python_version < '3'", True), ("setuptools @ https://example.org/s.whl", False)),
        ("../backend", False),
    ],
)
def test_a_requirement_is_satisfied_by_what_is_installed(requirement, satisfied):
    assert wheels.is_satisfied(requirement) is satisfied


def test_setuptools_stands_in_for_wheel(monkeypatch):
    only = {"setuptools": "70.1"}

    def version(name):
        if name not in only:
            raise wheels.importlib.metadata.PackageNotFoundError
        return only[name]

    monkeypatch.setattr(wheels.importlib.metadata, "version", version)
    assert wheels.is_satisfied("wheel")
    only["setuptools"] = "69"
    assert not wheels.is_satisfied("wheel")


def test_a_version_is_built_anew_with_another_numpy_or_other_flags(plain, monkeypatch):
    found = read_project(plain.config)
    store, revision = VersionStore(found), resolve(found, "main")
    paths = {store.version(revision).path}
    monkeypatch.setenv("CFLAGS", "-O1")
    paths.add(store.version(revision).path)
    monkeypatch.setattr(wheels, "installed_version", lambda name: "0.1" if name == "numpy" else None)
    paths.add(store.version(revision).path)
    assert len(paths) == 3


@pytest.mark.parametrize(
    "part",
    [
        *("content", "python", "platform", "torch", "numpy", "backend", "subfolder", "build command", "requirements"),
        *stores.BUILDING,
    ],
)
def test_every_part_of_a_versions_key_changes_it(repository, monkeypatch, part):
    usual = read_project(repository.config)
    installed = {"torch": "1", "numpy": "1", "backend>=2": "1"}
    monkeypatch.setattr(wheels, "installed_version", lambda text: installed[text])
    for name in stores.BUILDING:
        monkeypatch.delenv(name, raising=False)
    asked = {"project": usual, "digest": "d", "requires": ("backend>=2",)}
    before = stores.version_key(**asked)
    assert stores.version_key(**asked) == before
    match part:
        case "content":
            asked["digest"] = "e"
        case "python":
            monkeypatch.setattr(sys, "version", "4.0")
        case "platform":
            monkeypatch.setattr(stores.sysconfig, "get_platform", lambda: "another")
        case "torch" | "numpy":
            installed[part] = "2"
        case "backend":
            installed["backend>=2"] = "2"
        case "subfolder":
            asked["project"] = replace(usual, subdir=PurePosixPath("python"))
        case "build command":
            asked["project"] = replace(usual, build_command=("make",))
        case "requirements":
            installed["backend>=1"] = "1"
            asked["requires"] = ("backend>=1",)
        case variable:
            monkeypatch.setenv(variable, "other")
    assert stores.version_key(**asked) != before


def test_a_build_inherits_nothing_that_changes_what_python_finds(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("PATH", "/elsewhere")
    monkeypatch.delenv("SETUPTOOLS_SCM_PRETEND_VERSION", raising=False)
    environment = steps.build_environment()
    assert not {"PYTHONPATH", "GIT_DIR"} & environment.keys()
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["SETUPTOOLS_SCM_PRETEND_VERSION"] == "0.0.0"


def test_a_build_writes_a_set_in_the_same_order_each_time(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    program = (sys.executable, "-c", "print({str(number) for number in range(20)})")
    written = {subprocess.check_output(program, env=steps.build_environment()) for _ in range(3)}
    assert len(written) == 1


# Versions without a build


def test_without_a_build_configuration_the_version_is_its_files_that_matter(plain):
    plain.commit(
        {"single.py": "", "spaces/deep/inner.py": "", "data/table.csv": "", "no-name/x.py": "", "compiled.abi3.so": ""}
    )
    found = read_project(plain.config)
    version = VersionStore(found).version(resolve(found, "main"))
    assert version.packages == ("compiled", "single", "spaces", "thing")
    assert sorted(path.name for path in Path(version.path).iterdir() if path.name != "__pycache__") == [
        *(".gitignore", "compiled.abi3.so", "data", "no-name", "single.py", "spaces", "thing")
    ]


def test_settings_of_a_linter_are_no_build_configuration(plain):
    plain.commit({"pyproject.toml": "[tool.ruff]", "setup.cfg": "[flake8]"})
    found = read_project(plain.config)
    version = VersionStore(found).version(resolve(found, "main"))
    assert not list(Path(version.path).glob("*.dist-info"))


def test_a_project_in_a_subfolder_is_taken_from_there(plain):
    plain.configure(repo_subdir="python")
    plain.commit({"python/inner/__init__.py": ""})
    found = read_project(plain.config)
    assert VersionStore(found).version(resolve(found, "main")).packages == ("inner",)


def test_a_revision_without_the_subfolder_is_named(plain):
    plain.configure(repo_subdir="python")
    found = read_project(plain.config)
    with pytest.raises(BenchCoreError, match="has no folder python, which .* names in repo_subdir"):
        VersionStore(found).version(resolve(found, "main"))


def test_a_broken_pyproject_is_named_with_its_revision(repository):
    repository.commit({"pyproject.toml": "[build-system"})
    found = read_project(repository.config)
    with pytest.raises(BenchCoreError, match=r"^main \(.*\) does not build: its pyproject.toml cannot be read"):
        VersionStore(found).version(resolve(found, "main"))


def test_documentation_at_the_top_does_not_matter_to_a_package_in_a_subfolder(plain):
    plain.configure(repo_subdir="python")
    found = read_project(plain.config)
    paths = ("README.md", "docs/x.py", "python/README.md", "python/tests/x.py", "python/thing/x.rst", "other/x.py")
    matter = {path for path in paths if found.matters(PurePosixPath(path))}
    assert matter == {"python/thing/x.rst", "other/x.py"}


def test_a_submodule_is_refused_where_it_matters(plain):
    head = plain.git("rev-parse", "HEAD")
    found = read_project(plain.config)
    plain.git("update-index", "--add", "--cacheinfo", f"160000,{head},docs/theme")
    plain.git("commit", "-m", "A theme")
    assert VersionStore(found).version(resolve(found, "main")).packages == ("thing",)
    plain.git("update-index", "--add", "--cacheinfo", f"160000,{head},third/library")
    plain.git("commit", "-m", "A library")
    with pytest.raises(BenchCoreError, match=r"contains submodules or other repositories \(third/library\)"):
        VersionStore(found).version(resolve(found, "main"))


def test_an_interrupted_build_leaves_nothing(plain, temporary, monkeypatch):
    def interrupt(self, folder, final):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "compile", interrupt)
    found = read_project(plain.config)
    store = VersionStore(found)
    with pytest.raises(KeyboardInterrupt):
        store.version(resolve(found, "main"))
    assert cached(store) == []
    assert not list(temporary.iterdir())


@pytest.fixture
def hangups_are_heard():
    """Under nohup they are ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups_are_heard")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_build_that_is_cancelled_ends_and_leaves_nothing(repository, temporary, name):
    """As a CI service cancels, which tells us alone and not what we have started, and what that has started."""
    os.mkfifo(temporary.parent / "held")
    held = os.open(temporary.parent / "held", os.O_RDONLY | os.O_NONBLOCK)
    hang = (
        "import os, signal, subprocess, sys\n"
        f"held = os.open({str(temporary.parent / 'held')!r}, os.O_WRONLY)\n"
        "subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'], pass_fds=[held])\n"
        "{}\n"
        "signal.pause()\n"
    )
    repository.configure(build_command="python build.py")
    repository.commit({"build.py": hang.format("")})
    repository.commit({"build.py": hang.format(f"os.kill(os.getppid(), signal.{name})")})
    found = read_project(repository.config)
    store = VersionStore(found)
    before = signal.getsignal(signal.SIGHUP)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        store.versions([resolve(found, "main~1"), resolve(found, "main")])
    assert signal.getsignal(signal.SIGHUP) == before
    select.select([held], [], [], 10)
    assert os.read(held, 1) == b""  # it would raise if anybody held the other end
    os.close(held)
    assert cached(store) == []
    assert not list(temporary.iterdir())


def test_a_command_that_is_ended_starts_nothing_while_its_children_are_listed(tmp_path, monkeypatch):
    listed = []
    children = psutil.Process.children

    def list_children(self):
        while self.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            assert signal.SIGSTOP in sent, "it runs on"
        listed.append(self.pid)
        return children(self)

    sent = []
    suspend = psutil.Process.suspend
    monkeypatch.setattr(psutil.Process, "children", list_children)
    monkeypatch.setattr(psutil.Process, "suspend", lambda self: sent.append(signal.SIGSTOP) or suspend(self))
    runner = Runner(tmp_path / "asv.conf.json")
    runner.stop()
    with pytest.raises(KeyboardInterrupt):
        runner.run(Step((sys.executable, "-c", "input()"), tmp_path, dict(os.environ)), tmp_path / "log")
    assert len(listed) == 1


def test_a_signal_that_is_ignored_stays_so(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("command", "begins"), [(("gate", "main"), "prepare.prepare"), (("bisect", "a", "b", "c"), "bisect.bisect")]
)
def test_a_cancelled_command_ends_as_after_ctrl_c(repository, monkeypatch, command, begins):
    monkeypatch.setattr(f"bench_core.gate.{begins}", lambda *arguments: os.kill(os.getpid(), signal.SIGTERM))
    done = CliRunner().invoke(main, [*command, "--suite", str(repository.config)])
    assert (done.exit_code, "interrupted" in done.stderr) == (130, True)


def test_what_cannot_be_written_while_compiling_is_no_version(plain, temporary):
    plain.commit({"thing/long.py": "x = 1\n" * 20_000})
    found = read_project(plain.config)
    store = VersionStore(found)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (130_000, hard))  # between the source and what it compiles to
    try:
        with pytest.raises(BenchCoreError, match=r"/site cannot be compiled \(.*\)\. Make room, or set env_dir"):
            store.version(resolve(found, "main"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cached(store) == []


def test_what_is_no_python_does_not_keep_a_version_from_being_made(plain):
    plain.commit({"thing/template.py": "{{ name }} = 1 2", "thing/link.py": "", "thing/folder.py/data": ""})
    found = read_project(plain.config)
    version = VersionStore(found).version(resolve(found, "main"))
    assert Path(importlib.util.cache_from_source(f"{version.path}/thing/__init__.py")).exists()


def test_a_gate_that_builds_the_same_at_the_same_time_does_not_matter(plain, monkeypatch):
    found = read_project(plain.config)
    store, revision = VersionStore(found), resolve(found, "main")
    compile_ = Runner.compile

    def overtaken(self, folder, final):
        monkeypatch.setattr(Runner, "compile", compile_)
        VersionStore(found).version(revision)
        compile_(self, folder, final)

    monkeypatch.setattr(Runner, "compile", overtaken)
    version = store.version(revision)
    assert cached(store) == [Path(version.path).parent.name]


def test_the_cache_keeps_what_was_used_last(plain, monkeypatch):
    monkeypatch.setattr(stores, "KEPT_VERSIONS", 2)
    found = read_project(plain.config)
    store = VersionStore(found)
    plain.commit({"thing/a.py": ""})
    plain.commit({"thing/b.py": ""})
    homes = []
    for age, name in ((2000, "main~2"), (3000, "main~1")):
        homes.append(Path(store.version(resolve(found, name)).path).parent)
        os.utime(homes[-1], (age, age))
    store.version(resolve(found, "main~2"))
    homes.append(Path(store.version(resolve(found, "main")).path).parent)
    assert cached(store) == sorted([homes[0].name, homes[2].name])


def test_a_clock_that_was_set_back_does_not_make_a_new_version_the_oldest(plain, monkeypatch):
    monkeypatch.setattr("bench_core.gate.versions.store.KEPT_VERSIONS", 2)
    found = read_project(plain.config)
    store = VersionStore(found)
    later = store.folder.stat().st_mtime + 10 * 86_400
    for number in range(2):
        (store.folder / f"{number:016d}").mkdir()
        os.utime(store.folder / f"{number:016d}", (later + number, later + number))
    version = Path(store.version(resolve(found, "main")).path).parent
    assert cached(store) == sorted([version.name, f"{1:016d}"])


def test_what_a_killed_gate_left_is_deleted_after_a_day(plain):
    found = read_project(plain.config)
    store = VersionStore(found)
    for name, age in (("making-old", 100_000), ("making-new", 1000)):
        (store.folder / name).mkdir()
        now = store.folder.stat().st_mtime
        os.utime(store.folder / name, (now - age, now - age))
    version = store.version(resolve(found, "main"))
    assert cached(store) == sorted([Path(version.path).parent.name, "making-new"])


def test_a_cache_that_cannot_be_written_is_named(plain):
    plain.configure(env_dir="README.md/env")
    with pytest.raises(BenchCoreError, match="versions cannot be stored in .*README.md/env"):
        VersionStore(read_project(plain.config))


# Suites


def test_a_suite_comes_with_the_whole_tree_around_it(repository):
    repository.commit({".gitattributes": "cases_thing export-ignore\n", "data/table.csv": "1\n"})
    found = read_project(repository.config)
    suite = VersionStore(found).suite(resolve(found, "main"))
    assert (suite / "calls.py").read_text() == (repository.root / "cases_thing/calls.py").read_text()
    assert (suite.parent / "data/table.csv").read_text() == "1\n"
    assert (suite.parent / "docs/index.rst").exists()


def test_a_suite_is_that_of_its_revision_and_stored_once(repository):
    found = read_project(repository.config)
    store = VersionStore(found)
    repository.write({"cases_thing/calls.py": "# other"})
    first, other = store.suite(resolve(found, "main")), store.suite(resolve(found, None))
    assert (other / "calls.py").read_text() == "# other" != (first / "calls.py").read_text()
    assert store.suite(resolve(found, "main")) == first
    assert len(list((store.folder / "suites").iterdir())) == 2


def test_a_suite_is_compiled_before_either_side_imports_it(repository):
    found = read_project(repository.config)
    suite = VersionStore(found).suite(resolve(found, "main"))
    source = str(suite / "calls.py")
    code = marshal.loads(Path(importlib.util.cache_from_source(source)).read_bytes()[16:])
    assert code.co_filename == source


def test_a_revision_without_the_suite_is_named(repository):
    repository.commit({"cases_thing/calls.py": None, "cases_thing/__init__.py": None})
    found = read_project(repository.config)
    with pytest.raises(BenchCoreError, match="has no folder cases_thing, and the benchmarks are taken from there"):
        VersionStore(found).suite(resolve(found, "main"))
