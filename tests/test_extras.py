"""What is missing is named with the command that installs it, and a plain installation needs none of it."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from bench_core import extras
from bench_core.compat import tomllib
from bench_core.extras import EXTRAS, MODULES, MissingPackageError, command, require

ROOT = Path(__file__).parent.parent

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

WHERE = {
    "torch": (
        "benchmarks",
        "bench_core/suite",
        "bench_core/model/worker.py",
        "bench_core/model_cells",
        "bench_core/timing/idioms.py",
        "bench_core/gpu/accelerator.py",
        "bench_core/timing/torch_timer.py",
        "bench_core/doctor/machine.py",
    ),
    "report": (
        "bench_core/report/page",
        "bench_core/analysis/growth.py",
        "bench_core/analysis/rank_growth.py",
        "bench_core/analysis/history.py",
    ),
    "pytest": ("bench_core/pytest_plugin",),
}
"""The only places that may import the packages of an extra."""

BROUGHT = {"markupsafe": "jinja2", "triton": "torch", "pytest_benchmark": "pytest-benchmark"}
"""Modules of a package of another name, or of one that a requirement brings."""


def requirements(extra=None):
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return {Requirement(one).name for one in listed}


def imported(path):
    """The packages outside Python that a file imports anywhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return {BROUGHT.get(name, name) for name in found - set(sys.stdlib_module_names) - {"bench_core", "benchmarks"}}


BUILDS = "bench_core/analysis/build.py"
"""What imports the parts of the report that need packages."""


def run_without(*packages, arguments, folder=ROOT):
    """The command line in an environment that lacks these packages."""
    hidden = {MODULES.get(package, package): None for package in packages}
    code = f"import sys; sys.modules.update({hidden!r}); from bench_core.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_table_of_extras_is_that_of_the_project():
    for extra, packages in EXTRAS.items():
        assert set(packages) == requirements(extra)
    assert requirements("all") == {"bench_core"}
    assert re.search(r"\[(.*)\]", PROJECT["optional-dependencies"]["all"][0])[1].split(",") == list(EXTRAS)


def test_a_plain_installation_requires_no_package_of_an_extra():
    assert not requirements() & {one for packages in EXTRAS.values() for one in packages}


def test_every_import_is_of_a_requirement_or_in_a_part_that_has_its_extra():
    for path in [*ROOT.glob("bench_core/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]:
        name = path.relative_to(ROOT).as_posix()
        extras = [extra for extra, places in WHERE.items() if name.startswith(places)]
        known = requirements().union(*(EXTRAS[extra] for extra in extras)) | {"tomllib"}
        assert not {one for one in imported(path) if one not in known}, name


def test_every_other_part_can_be_imported_in_a_plain_installation():
    places = tuple(place for places in WHERE.values() for place in places if not place.startswith("bench_core/doctor"))
    names = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("bench_core/**/*.py"))]
    kept = [
        name.removesuffix(".py").removesuffix("/__init__") for name in names if not name.startswith((*places, BUILDS))
    ]
    hidden = dict.fromkeys(MODULES.get(one, one) for packages in EXTRAS.values() for one in packages)
    program = "import importlib, sys; sys.modules.update({!r}); [importlib.import_module(name) for name in {!r}]"
    modules = [name.replace("/", ".") for name in kept]
    code = program.format(hidden, [name for name in modules if not name.endswith("__main__")])
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (len(modules) > 100, done.stderr) == (True, "")


def installed_from(monkeypatch, origin):
    """Lets bench_core be installed from there, as pip notes it; None for a package index."""
    noted = None if origin is None else json.dumps(origin)
    found = [
        SimpleNamespace(read_text=lambda file, text=text: text) for text in (None, noted)
    ]  # the first: a build's own
    monkeypatch.setattr(extras, "distributions", lambda name: found)


FORGE = "https://forge.example/bench_core.git"


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "pip install 'bench_core[report]'"),
        ({"url": "file:///a%20b/bench", "dir_info": {"editable": True}}, "pip install -e '/a b/bench[report]'"),
        ({"url": "file:///a/bench", "dir_info": {}}, "pip install 'bench_core[report] @ file:///a/bench'"),
        (
            {"url": FORGE, "vcs_info": {"vcs": "git", "commit_id": "1a2b", "requested_revision": "main"}},
            f"pip install 'bench_core[report] @ git+{FORGE}@1a2b'",
        ),
        (
            {"url": "file:///a/bench_core-1.whl", "archive_info": {"hash": "sha256=1"}},
            "pip install 'bench_core[report] @ file:///a/bench_core-1.whl'",
        ),
    ],
    ids=["index", "in place", "folder", "repository", "wheel"],
)
def test_an_extra_is_installed_from_where_bench_core_is_from(monkeypatch, origin, expected):
    installed_from(monkeypatch, origin)
    assert command("report") == expected


def test_where_bench_core_is_not_installed_the_extra_is_named_all_the_same(monkeypatch):
    monkeypatch.setattr(extras, "distributions", lambda name: [])
    assert command("report") == "pip install 'bench_core[report]'"


def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    installed_from(monkeypatch, None)
    for module in ("jinja2", "vl_convert"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError) as caught:
        require("report", "jinja2", "vl-convert-python", "numpy", what="The page")
    assert str(caught.value) == "The page needs jinja2 and vl-convert-python: pip install 'bench_core[report]'"
    require("report", "numpy", what="The page")


@pytest.mark.parametrize(
    ("arguments", "missing", "what"),
    [
        (["report"], "report", "The page needs vl-convert-python, jinja2, ruptures and numpy"),
        (["report", "--format", "json"], "report", "The report needs ruptures and numpy"),
        (["list"], "torch", "This suite needs torch, safetensors and numpy"),
        (["known"], "torch", "This suite needs torch, safetensors and numpy"),
        (["agree"], "torch", "`bench-core agree` needs torch"),
        (["gpu"], "torch", "`bench-core gpu` needs torch"),
    ],
)
def test_a_command_that_lacks_an_extra_says_so(arguments, missing, what):
    done = run_without(*EXTRAS[missing], arguments=arguments)
    assert (done.returncode, done.stderr) == (2, f"bench-core: {what}: {command(missing)}\n")
