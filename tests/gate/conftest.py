import shutil

import pytest

PYPROJECT = """
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "thing"
version = "1.0"

[tool.setuptools]
packages = ["thing"]
"""

CASES = """
import thing


class Call:
    def time_value(self):
        thing.value()
"""


@pytest.fixture(scope="session")
def template(tmp_path_factory, repositories):
    """A small package with a suite, committed once. Each test gets a copy: copying is quicker than committing."""
    made = repositories(tmp_path_factory.mktemp("template") / "repository")
    made.configure()
    repositories.new(
        made.root,
        {
            "pyproject.toml": PYPROJECT,
            "README.md": "A thing.\n",
            ".gitignore": "*.log\n.asv/\n",
            "thing/__init__.py": "def value():\n    return 1\n",
            "cases_thing/__init__.py": "",
            "cases_thing/calls.py": CASES,
            "docs/index.rst": "Thing\n",
            "tests/test_thing.py": "",
        },
    )
    return made.root


@pytest.fixture
def repository(tmp_path, template, repositories):
    return repositories(shutil.copytree(template, tmp_path / "repository"))


@pytest.fixture
def plain(repository):
    """A repository that says nothing of how it is built: its versions are made in no time."""
    repository.commit({"pyproject.toml": None})
    return repository


@pytest.fixture(scope="module")
def shared_repository(tmp_path_factory, template, repositories):
    """For what takes long to build; not to be changed by a test."""
    return repositories(shutil.copytree(template, tmp_path_factory.mktemp("shared") / "repository"))
