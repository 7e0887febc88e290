"""The project and its package are found from what the build configuration says, and from the folders."""

import pytest

from bench_core.errors import BenchCoreError
from bench_core.scaffold.layout import find_layout

NAMED = '[project]\nname = "thing"\n'


@pytest.fixture
def found(tmp_path, repositories):
    """Finds the package in a repository with these files: its import name, and its source."""

    def find(files, where=".", package=None):
        root = tmp_path / "root"
        repositories.new(root).write(files)
        (root / where).mkdir(parents=True, exist_ok=True)
        layout = find_layout(root / where, package)
        return layout.package, layout.source.relative_to(root).as_posix()

    return find


@pytest.mark.parametrize(
    ("files", "package", "source"),
    [
        ({"pyproject.toml": NAMED, "src/thing/__init__.py": ""}, "thing", "src/thing"),
        ({"pyproject.toml": NAMED, "thing/__init__.py": "", "tests/__init__.py": ""}, "thing", "thing"),
        ({"pyproject.toml": NAMED, "thing.py": ""}, "thing", "thing.py"),
        ({"pyproject.toml": '[project]\nname = "Py-Thing"\n', "thing/__init__.py": ""}, "thing", "thing"),
        ({"pyproject.toml": NAMED, "other/__init__.py": "", "tests/__init__.py": ""}, "other", "other"),
        ({"pyproject.toml": NAMED, "thing/__init__.py": "", "other/__init__.py": ""}, "thing", "thing"),
        ({"setup.cfg": "[metadata]\nname = thing\n", "thing/__init__.py": ""}, "thing", "thing"),
        (
            {"setup.cfg": "[options]\npackage_dir =\n    = lib\n", "lib/thing/__init__.py": ""},
            "thing",
            "lib/thing",
        ),
        (
            {"setup.py": "setup(name='thing', package_dir={'': 'python'})", "python/thing/__init__.py": ""},
            "thing",
            "python/thing",
        ),
        (
            {"pyproject.toml": '[tool.poetry]\nname = "x"\npackages = [{include = "thing", from = "lib"}]\n',
             "lib/thing/__init__.py": "", "lib/more/__init__.py": ""},
            "thing",
            "lib/thing",
        ),
        (
            {"pyproject.toml": '[tool.hatch.build.targets.wheel]\npackages = ["src/thing"]\n',
             "src/thing/__init__.py": "", "src/more/__init__.py": ""},
            "thing",
            "src/thing",
        ),
        ({"pyproject.toml": '[tool.flit.module]\nname = "thing"\n', "thing.py": ""}, "thing", "thing.py"),
    ],
)  # fmt: skip
def test_the_package_is_found(found, files, package, source):
    assert found(files) == (package, source)


def test_a_subfolder_belongs_to_the_nearest_project(found):
    files = {
        "pyproject.toml": NAMED,
        "thing/__init__.py": "",
        "python/part/setup.py": "setup(name='part')",
        "python/part/part/__init__.py": "",
    }
    assert found(files, "python/part/docs") == ("part", "python/part/part")
    assert found(files, "python") == ("thing", "thing")


def test_a_named_package_may_be_in_a_namespace(found):
    files = {"pyproject.toml": NAMED, "src/names/part/__init__.py": ""}
    assert found(files, package="names.part") == ("names.part", "src/names/part")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"README.md": ""}, "no pyproject.toml, setup.py or setup.cfg in"),
        ({"part/setup.py": "setup()"}, "Projects are in"),
        ({"pyproject.toml": NAMED}, "no package found in"),
        ({"pyproject.toml": NAMED, "one/__init__.py": "", "two/__init__.py": ""}, "several packages are in"),
        ({"pyproject.toml": "[project"}, "pyproject.toml cannot be read"),
        ({"setup.py": "setup("}, "setup.py cannot be read"),
        ({"setup.cfg": "no section"}, "setup.cfg cannot be read"),
    ],
)
def test_what_is_missing_is_named(found, files, said):
    with pytest.raises(BenchCoreError, match=said):
        found(files)


def test_a_package_that_is_not_there_is_named(found):
    with pytest.raises(BenchCoreError, match="unknown package 'thin'. Did you mean 'thing'?"):
        found({"pyproject.toml": NAMED, "thing/__init__.py": ""}, package="thin")


def test_a_folder_without_a_repository_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BenchCoreError, match="is in no git repository.*git init"):
        find_layout(tmp_path)
