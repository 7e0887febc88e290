import json
import subprocess

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
def project(tmp_path, request):
    """A git repository with a suite of a few cells, committed. Its package has a name of its own, since it is imported
    into this process."""
    name = "cases_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "fills.py").write_text(CASES)
    config = {
        "version": 1,
        "project": "project",
        "repo": ".",
        "dvcs": "git",
        "branches": ["main"],
        "benchmark_dir": name,
        "results_dir": "results",
        "env_dir": ".asv/env",
        "environment_type": "virtualenv",
    }
    (tmp_path / "asv.conf.json").write_text(json.dumps(config))

    def git(*arguments):
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    git("init", "-b", "main")
    git("add", "-A")
    git("commit", "-m", "A suite")
    return tmp_path
