"""A/A gates on this project, between two commits that differ by a comment. Every regression is false."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from trials import repositories
from trials.files import Trial
from trials.gates import gate
from trials.neighbours import noisy, other_core_busy

SELECTION = (
    r"InPlace\.time_initialize\(cpu, zeros_, (8x4|256x256|1024x1024|4096x4096), float32",
    r"InPlace\.time_initialize\(cpu, (normal_|uniform_), (8x4|256x256), float32",
    r"DirectEdit\.time_add_one\(cpu, (data|no_grad), (8x4|1024x1024|4096x4096)\)",
    r"LazyConstruction\.time_construct\(cpu, (lazy|plain), (LazyLinear|notebook)\)",
    r"LazyForward\.time_forward\(cpu, (first|second), (LazyLinear|notebook)\)",
    r"StateDict\.time_state_dict\((plain|hooks), flat, (10|100)\)",
    r"LoadBySize\.time_load\(cpu, (load_state_dict|copy_loop|assign), (8x4|1024x1024)\)",
    r"SharedLayer\.time_(backward|forward)\(cpu, (tied|untied), (8|512), 8\)",
)
"""Forty cells, of every family, from 3 us to 20 ms."""

COMMENTED = "bench_core/suite/base.py"
"""The file to which the comment is added."""


def run(trial: Trial, runs: int, say: Callable[[str], None], *, beside_noise: bool = False) -> None:
    """Continue up to `runs` gates. During every second one, another process keeps the last core busy. With
    `beside_noise`, all of them run on a noisy machine instead (see `noisy`).

    Every head has another comment, so that each gate compares another pair of folders: the effect of a file's address
    in
    memory is drawn anew.
    """
    done = len(trial.done())
    if done >= runs:
        return
    cells = [] if trial.options["bench"] else ["--bench", "|".join(SELECTION)]
    with TemporaryDirectory(prefix="trials-") as folder:
        clone = repositories.clone_of_tool(Path(folder, "clone"))
        base = clone.commit({}, "Base")
        text = (clone.root / COMMENTED).read_text()
        for index in range(done, runs):
            head = clone.commit({COMMENTED: f"{text}\n# A/A gate {index:03d} differs by this line.\n"}, f"A/A {index}")
            busy = bool(index % 2) and not beside_noise
            with noisy() if beside_noise else other_core_busy() if busy else contextlib.nullcontext():
                found = gate(clone.root, base, head, *cells, *trial.arguments, seed=1000 + index)
            trial.add(gate=index, busy=busy, **found)
            say(f"A/A {index + 1} of {runs}: {found['verdict']}, {found['counts']}, {found['wall']:.0f} s")
