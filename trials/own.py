"""Compares the time of asv and of our gate on forty cells of this project's own suite, which import torch, between two
commits that differ by a comment. Every regression is false."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench_core import clock
from trials import aa, repositories
from trials.figures import Figure, spread
from trials.files import Line, Trial, today
from trials.sidebyside import Question, ask_asv, ask_gate, asv

TOOLS = {"gate": ask_gate, "asv continuous": ask_asv}


def run(trial: Trial, rounds: int, say: Callable[[str], None]) -> None:
    """Make the comparisons that are missing in the file: in every round, one with each tool, in turn."""
    done = {(line["round"], line["asked"]) for line in trial.done()}
    if not (missing := [(index, name) for index in range(rounds) for name in TOOLS if (index, name) not in done]):
        return
    selection = "|".join(aa.SELECTION)
    with TemporaryDirectory(prefix="trials-") as folder:
        home = Path(folder, "home")
        home.mkdir()
        clone = repositories.clone_of_tool(Path(folder, "clone"))
        shutil.rmtree(clone.root / "results")  # `asv compare` refuses results of several machines
        base = clone.commit({}, "Base")
        text = (clone.root / aa.COMMENTED).read_text()
        question = Question(
            clone.root, base, base, selection, home, ["--bench", selection, *trial.arguments], seed=7000
        )
        built = False
        for index, name in missing:
            head = clone.commit({aa.COMMENTED: f"{text}\n# Round {index} with {name}.\n"}, f"Round {index}, {name}")
            if name == "asv continuous" and not built:
                built = True
                asv(question, "machine", "--yes")
                asv(question, "setup", allowed=(0, 1))  # it exits with a list of environments, which counts as 1
            began = clock.host()
            answer = TOOLS[name](replace(question, head=head, seed=question.seed + index))
            reds = {rule: sorted(cells) for rule, cells in answer.red.items()}
            trial.add(
                round=index,
                asked=name,
                date=today(),
                seconds=round(answer.seconds, 1),
                red=reds,
                unsure=sorted(answer.unsure),
            )
            counted = {rule: len(cells) for rule, cells in reds.items()}
            say(f"round {index}, {name}: {answer.seconds:.0f} s ({clock.host() - began:.0f} s in all), red {counted}")


def of_own(lines: Sequence[Line]) -> list[Figure]:
    found = []
    for tool in dict.fromkeys(line["asked"] for line in lines):
        own = [line for line in lines if line["asked"] == tool]
        for rule in own[0]["red"]:
            reds = sum(len(line["red"][rule]) for line in own)
            found.append(Figure("own", f"{tool}, {rule}: false reds", f"{reds} in {len(own)} comparisons"))
        if unsure := sum(len(line["unsure"]) for line in own):
            found.append(Figure("own", f"{tool}: cells that it leaves open, all comparisons", str(unsure)))
        found.append(spread("own", f"{tool}: a comparison", [line["seconds"] / 60 for line in own], "min"))
    return found
