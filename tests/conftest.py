import gc
import json
import os
import signal
import sys

import pytest

from bench_core import git
from bench_core.run import schedule

pytest_plugins = ["pytester", "sides"]

# As in most environments, Python stores what it compiles. A recording must not take that for what a cell does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_finish():
    # Samples begin with a garbage collection. With torch and thousands of tests in memory, each takes 0.3 s.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def interrupts_are_heard():
    """A shell lets the commands that it starts in the background ignore Ctrl-C, and Python then ignores it too. Tests
    send it, also to processes of their own, which inherit what is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def logs_are_wide():
    """pytest-xdist gives its workers 80 columns."""
    os.environ.pop("COLUMNS", None)


class Repository:
    """A git repository.

    Attributes:
        root: its top folder.
        config: its asv configuration, which need not exist.
    """

    def __init__(self, root):
        self.root = root
        self.config = root / "asv.conf.json"

    @classmethod
    def new(cls, root, files=None):
        """A repository on branch main, with these files committed; without any, nothing is committed."""
        root.mkdir(parents=True, exist_ok=True)
        made = cls(root)
        made.git("init", "-b", "main")
        if files is not None:
            made.commit(files)
        return made

    def git(self, *arguments, date=None):
        """What git prints. What it commits has this date."""
        identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
        dates = {} if date is None else {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        return git.output(self.root, *identity, *map(str, arguments), variables=dates).strip()

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
        """Write the asv configuration, with these settings besides the usual ones or instead of them."""
        usual = {"version": 1, "project": "thing", "repo": ".", "benchmark_dir": "cases_thing", "env_dir": ".asv/env"}
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.write_text(json.dumps({**usual, **settings}))

    def commit(self, files=None, message="A change", **options):
        """Write these files, commit everything, and return the hash."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "--allow-empty", "-m", message, **options)
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="session")
def repositories():
    """The class `Repository`: `new` makes one, and `repositories(root)` is one that is there."""
    return Repository


@pytest.fixture(scope="module")
def two_rounds():
    """Measuring ends after two rounds in which everything was visited, however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "FEW", 2)
        patch.setattr(schedule, "PRECISE", 1e6)
        patch.setattr(schedule, "LOST", 1e6)
        yield
