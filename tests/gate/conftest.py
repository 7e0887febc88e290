import json
import shutil
import subprocess

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


class Repository:
    """A git repository to compare revisions of.

    Attributes:
        root: its top.
        config: its asv configuration.
    """

    def __init__(self, root):
        self.root = root
        self.config = root / "asv.conf.json"

    def git(self, *arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        command = ["git", "-C", str(self.root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, files):
        """Write files, given as path and text; None deletes one."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def configure(self, **settings):
        """Write the asv configuration, with these settings instead of the usual."""
        usual = {"version": 1, "project": "thing", "repo": ".", "benchmark_dir": "cases_thing", "env_dir": ".asv/env"}
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(json.dumps({**usual, **settings}))

    def commit(self, files=None):
        """Commit everything, and return the hash."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "--allow-empty", "-m", "A change")
        return self.git("rev-parse", "HEAD")


def thing(root):
    """A small package with a suite, committed once."""
    root.mkdir()
    made = Repository(root)
    made.git("init", "-b", "main")
    made.configure()
    made.commit(
        {
            "pyproject.toml": PYPROJECT,
            "README.md": "A thing.\n",
            ".gitignore": "*.log\n.asv/\n",
            "thing/__init__.py": "def value():\n    return 1\n",
            "cases_thing/__init__.py": "",
            "cases_thing/calls.py": CASES,
            "docs/index.rst": "Thing\n",
            "tests/test_thing.py": "",
        }
    )
    return made


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """What each test gets a copy of: copying is quicker than committing."""
    return thing(tmp_path_factory.mktemp("template") / "repository").root


@pytest.fixture
def repository(tmp_path, template):
    return Repository(shutil.copytree(template, tmp_path / "repository"))


@pytest.fixture(scope="module")
def shared_repository(tmp_path_factory, template):
    """For what takes long to build; not to be changed by a test."""
    return Repository(shutil.copytree(template, tmp_path_factory.mktemp("shared") / "repository"))
