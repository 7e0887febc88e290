"""A real slowdown of torch: `trunc_normal_` by the inverse distribution function, as it was before 2.12, and by
rejection, as it is now. The gate must find a regression in one direction, and an improvement in the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from trials import repositories
from trials.files import Trial
from trials.gates import gate

FILES = {
    ".gitignore": ".asv/\n__pycache__/\n",
    "asv.conf.json": (
        '{"version": 1, "project": "fill", "repo": ".", "branches": ["main"], "benchmark_dir": "cells",'
        ' "env_dir": ".asv/env", "results_dir": ".asv/results", "html_dir": ".asv/html"}\n'
    ),
    "cells/__init__.py": "",
    "cells/fills.py": """
import fill
import torch


class Fill:
    params = [8, 64, 256, 1024]
    param_names = ["side"]
    weights = {side: torch.empty(side, side) for side in params}

    def time_fill(self, side):
        fill.fill(self.weights[side])
""",
}

INVERSE = "from bench_core.suite.initializers import trunc_normal_by_inverse_cdf as fill\n"
TORCH = "from torch.nn.init import trunc_normal_ as fill\n"
WAYS = {"to the inverse distribution function": (TORCH, INVERSE), "to torch's own": (INVERSE, TORCH)}


def run(trial: Trial, gates: int, say: Callable[[str], None]) -> None:
    """Run the gates that are missing in the file, `gates` in each direction."""
    done = {(line["way"], line["gate"]) for line in trial.done()}
    with TemporaryDirectory(prefix="trials-") as folder:
        repository = repositories.made(Path(folder, "fill"))
        for index in range(gates):
            for way, texts in WAYS.items():
                if (way, index) in done:
                    continue
                base, head = (
                    repository.commit({**FILES, "fill/__init__.py": f'"""Fills a weight."""\n\n{text}'}, way)
                    for text in texts
                )
                found = gate(repository.root, base, head, *trial.arguments, seed=3000 + index)
                trial.add(way=way, gate=index, **found)
                say(f"{way}: {found['verdict']}, {found['counts']}, {found['wall']:.0f} s")
