"""The step that measures. It has no token: the code of head runs while it does."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench_core.asv_config import USUAL, asv_config, found_in, unconfigured
from bench_core.ci import event, lines
from bench_core.ci.outcome import LONGEST, Outcome, not_run, outcome, to_bytes
from bench_core.ci.page import page
from bench_core.ci.runner import PREFIX, Runner, is_yes
from bench_core.ci.status import STOPPED
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.gate.judge.exit_code import exit_code
from bench_core.gate.judge.gate import judge
from bench_core.gate.versions import stranger
from bench_core.records.gate import Asked, GateRecord, GateVerdict
from bench_core.records.model import ModelSpec
from bench_core.records.version import Commit
from bench_core.report.gate import Place, workflow_commands
from bench_core.results import gate_file
from bench_core.texts import line

OF_MODEL = ("model", "device", "dtype", "input")
"""The inputs that say on which model to gate, if it is not the suite."""

OPTIONS = (*OF_MODEL, "suite", "bench", "budget", "noise-floor", "limit", "lanes", "creep", "timeout")
"""The inputs of the action that are options of the gate, under the same names."""

FLAGS = ("strict", "explain", "all", "isolated")
"""The inputs that are options of the gate without a value."""

WITHHELD = ("GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_", PREFIX)
"""What the names of the variables begin with that the gate does not get. They hold the files and the addresses of
GitHub's runner."""

SECRET = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "PRIVATE_KEY", "API_KEY")
"""What the names of variables contain that are secrets of a workflow."""

JSON, SUMMARY, PAGE, OUTCOME = "gate.json", "summary.md", "gate.html", "outcome.json"
"""The files of the step, in its own folder."""


def asked_model(runner: Runner) -> ModelSpec | None:
    """The model that the inputs ask for; None without one."""
    target, device, dtype, example = map(runner.given, OF_MODEL)
    return ModelSpec(target, device or ModelSpec.device, dtype, example) if target else None


def evidence_folder(project: Path, suite: str, *, isolated: bool = False, needs_suite: bool = True) -> Path:
    """The folder in which the gate keeps its evidence.

    Args:
        project: the repository.
        suite: the configuration of the suite, from there; "" for the usual one.
        isolated: whether head is confined.
        needs_suite: whether there must be a configuration, as for all gates but those on a model.

    Raises:
        BenchCoreError: if the configuration cannot be read, or names a folder outside of the repository, which no cache
            should carry along.
    """
    config = project / suite if suite else found_in(project) or project / USUAL
    kept = stranger.FOLDER if isolated else Path("bench-core")
    named = unconfigured(project) if not (needs_suite or suite or config.exists()) else asv_config(config)
    folder = (named.environments / kept / "evidence").resolve()
    if not folder.is_relative_to(project.resolve()) or not str(folder).isprintable():
        raise BenchCoreError(
            f"env_dir of {config} is outside of the repository: set `cache: false`, or another env_dir."
        )
    return folder


def command(runner: Runner, tool: Path, base: str, head: str) -> list[str]:
    """The gate as the inputs of the action ask for it. No input is read as another option.

    Raises:
        BenchCoreError: if an input has a value that is not allowed.
    """
    profile = runner.given("profile")
    if profile not in ("", "quick", "full"):
        raise BenchCoreError(f"the input profile is {profile!r}, and not quick or full.")
    options = [f"--{name}={value}" for name in OPTIONS if (value := runner.given(name))]
    options += [f"--{name}" for name in FLAGS if is_yes(name, runner.given(name))]
    options += [f"--{profile}"] if profile else []
    options += [f"--env={name}" for name in runner.given("env").split()]
    files = (f"--json={runner.folder / JSON}", f"--markdown={runner.folder / SUMMARY}")
    return [str(tool), "gate", *options, *files, event.sha(base), event.sha(head)]


def clean(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment for the gate, without what belongs to the runner, and without secrets."""
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith(WITHHELD) and not any(part in name.upper() for part in SECRET)
    }


def program() -> Path:
    """The program `bench-core` of this environment. `python -m` would search the folder of the project first."""
    return Path(sysconfig.get_path("scripts")) / "bench-core"


def measure(runner: Runner, project: Path, base: str, head: str, tool: Path | None = None) -> Outcome:
    """Run the gate, and write what it found: the job's summary, annotations, and files for the steps that follow.

    Args:
        project: the repository.
        base, head: full hashes.
        tool: the program to start.

    Raises:
        BenchCoreError: if an input is not allowed.
    """
    asked = command(runner, tool or program(), base, head)
    for name in (JSON, SUMMARY, PAGE, OUTCOME):
        (runner.folder / name).unlink(missing_ok=True)
    with runner.without_commands():
        code = subprocess.run(asked, env=clean(runner.variables), cwd=project, check=False).returncode
    suite, model = runner.given("suite"), asked_model(runner)
    try:
        found, record, verdict = judged(runner.folder / JSON, suite, base, head, code)
    except BenchCoreError as error:
        reason = f"{STOPPED.get(code, f'it ended with exit code {code}')}: {error}" if code else str(error)
        found = not_run(suite, base, head, code or BenchCoreError.exit_code, reason)
        isolated = is_yes("isolated", runner.given("isolated"))
        found = replace(found, asked=Asked(isolated=isolated, handed_on=tuple(runner.given("env").split())))
    else:
        runner.say(*workflow_commands(record, verdict, _places(runner, project, base, head, record)))
    found = replace(found, model=model)
    summary = runner.folder / SUMMARY
    if summary.is_file():
        runner.summarize(summary.read_text(errors="replace"))
    found = replace(found, job=line(runner.given("job"), LONGEST), bench=line(runner.given("bench"), LONGEST))
    write_whole(runner.folder / OUTCOME, to_bytes(found))
    write_whole(runner.folder / PAGE, page(found))
    runner.give(
        verdict=found.verdict,
        exit_code=str(found.exit_code),
        json=str(runner.folder / JSON),
        outcome=str(runner.folder / OUTCOME),
        page=str(runner.folder / PAGE),
    )
    return found


def judged(path: Path, suite: str, base: str, head: str, code: int) -> tuple[Outcome, GateRecord, GateVerdict]:
    """The outcome that follows from the effects in a gate's file.

    Args:
        code: the exit code of the gate.

    Raises:
        BenchCoreError: if there is none, or if it is not on these commits or contradicts the exit code.
    """
    record = gate_file.read(path)
    compared = [one.hash if isinstance(one, Commit) else one.name for one in (record.base, record.head)]
    if compared != [base, head]:
        raise BenchCoreError("the result is that of a gate on other commits.")
    verdict = judge(record)
    # With 2, the gate measured too little to decide anything, although its file is whole.
    allowed = {exit_code(verdict, record, strict) for strict in (False, True)} | {BenchCoreError.exit_code}
    if code not in allowed:
        raise BenchCoreError(f"the result follows from exit code {min(allowed)}, and the gate ended with {code}.")
    return outcome(suite, base, head, code, record, verdict), record, verdict


def _places(runner: Runner, project: Path, base: str, head: str, record: GateRecord) -> dict[str, Place]:
    """The places of annotations. Without them, the annotations are those of the job."""
    try:
        return lines.places(project, base, head, record)
    except BenchCoreError as error:
        runner.notice(f"no place is known for the annotations: {error}", "warning")
        return {}
