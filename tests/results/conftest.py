import pytest

CASES = """
from bench_core.suite import Suite, labels, traffic


class Fill(Suite):
    params = [labels("cpu", "cuda"), labels("as_is", "twice"), labels("8x4", "64x64")]
    param_names = ["device", "idiom", "size"]
    quick = {"size": ["8x4"]}
    rivals = "idiom"

    def setup(self, device, idiom, size):
        super().setup(device, idiom, size)
        self.weight = list(range(32))

    @traffic(writes=1)
    def time_fill(self, device, idiom, size):
        self.weight[:] = [0] * 32


class Later(Suite):
    def time_sum(self):
        sum(range(10))
"""


@pytest.fixture
def project(tmp_path, request, repositories):
    """A git repository with a suite of a few cells, committed. Its package has a name of its own, since it is imported
    into this process."""
    name = "cases_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    made = repositories(tmp_path)
    made.configure(project="project", dvcs="git", branches=["main"], benchmark_dir=name, environment_type="virtualenv")
    return repositories.new(tmp_path, {f"{name}/__init__.py": "", f"{name}/fills.py": CASES}).root
