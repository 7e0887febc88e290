import itertools

import pytest

from bench_core.timing.cells import SuiteDirectory

_counter = itertools.count()


@pytest.fixture
def written(tmp_path):
    """Makes a suite of modules, given by name and text. Its package has a name of its own, since it is imported into
    this process."""
    made = []

    def write(**modules):
        folder = tmp_path / f"written_suite_{next(_counter)}"
        folder.mkdir()
        for name, text in {"__init__": "", **modules}.items():
            (folder / f"{name}.py").write_text(text)
        made.append(SuiteDirectory(folder))
        return made[-1]

    yield write
    for suite in made:
        suite.close()
