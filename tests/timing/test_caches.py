import pytest

from bench_core.timing.cells import SuiteDirectory

IN_BASE = """
class _Data:
    def setup_cache(self):
        return list(range(self.n))

    def track_length(self, data):
        return len(data)


class Small(_Data):
    n = 10


class Large(_Data):
    n = 1000
"""

IN_CLOSURE = """
def make(n):
    def setup_cache():
        return list(range(n))

    def track_length(data):
        return len(data)

    track_length.setup_cache = setup_cache
    track_length.benchmark_name = f"cases.track_length_{n}"
    return track_length


first, second = make(10), make(1000)
"""

IN_CLASSMETHOD = IN_BASE.replace("    def setup_cache(self):", "    @classmethod\n    def setup_cache(self):")


@pytest.mark.parametrize("text", [IN_BASE, IN_CLOSURE, IN_CLASSMETHOD], ids=["base", "closure", "classmethod"])
@pytest.mark.parametrize("order", [1, -1])
def test_one_line_of_setup_cache_makes_the_data_of_each_that_uses_it(written, tmp_path, text, order):
    path = written(cases=text).path
    lengths = []
    for suite in (SuiteDirectory(path), SuiteDirectory(path, caches=tmp_path / "shared")):
        for cell in suite.cells[::order]:
            with cell.open() as opened:
                lengths.append(opened.call())
        suite.close()
    assert lengths == [10, 1000][::order] * 2


def test_asv_is_given_a_key_for_each_class(written):
    keys = {benchmark["name"]: benchmark["setup_cache_key"] for benchmark in written(cases=IN_BASE).declared}
    assert len(set(keys.values())) == 2
    assert keys["cases.Small.track_length"].startswith("cases:3 of ")
    assert keys["cases.Small.track_length"].endswith(".cases.Small/Small")
