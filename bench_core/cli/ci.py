"""`bench-core ci`: the steps of the action for GitHub (docs/ci.md). The first one, `bench_core/ci/plan.py`, runs before
anything is installed, and so is no command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench_core.cli.options import CONFIG
from bench_core.cli.terminal import for_commands

if TYPE_CHECKING:
    from bench_core.ci.runner import Runner


def _runner() -> Runner:
    from bench_core.ci.runner import Runner

    return Runner(os.environ, for_commands())


@click.group()
def ci() -> None:
    """The steps of the action for GitHub. They read the variables that GitHub's runner sets.

    \b
    Example:
      bench-core ci finish
    """


@ci.command()
def evidence() -> None:
    """Tell later steps in which folder the gate keeps its evidence, for the cache.

    \b
    Example:
      bench-core ci evidence
    """
    from bench_core.ci.measure import asked_model, evidence_folder
    from bench_core.ci.runner import is_yes

    runner = _runner()
    isolated = is_yes("isolated", runner.given("isolated"))
    needs_suite = asked_model(runner) is None
    folder = evidence_folder(Path.cwd(), runner.given("suite"), isolated=isolated, needs_suite=needs_suite)
    runner.give(folder=str(folder))


@ci.command()
@click.option("--base", required=True, help="The full hash of the commit to compare with.")
@click.option("--head", required=True, help="The full hash of the commit that is judged.")
def gate(base: str, head: str) -> None:
    """Measure: run the gate, and write the job's summary, annotations, the page and the outcome.

    It ends with 0 whatever the verdict is, so that the steps that follow run. `bench-core ci finish` ends the job.

    \b
    Example:
      bench-core ci gate --base 4e6b7ac4... --head 3677fb64...
    """
    from bench_core.ci.measure import measure

    measure(_runner(), Path.cwd(), base, head)


@ci.command()
def finish() -> None:
    """End the job: look who accepted a regression, comment on the pull request, and set the status.

    Exit code 0: green. 1: red.

    \b
    Example:
      GITHUB_TOKEN=... bench-core ci finish
    """
    from bench_core.ci.finish import finish as finished

    sys.exit(0 if finished(_runner()).is_green else 1)


@ci.command()
def comment() -> None:
    """Comment on the pull request of a fork, in a workflow that runs on `workflow_run`.

    \b
    Example:
      GITHUB_TOKEN=... bench-core ci comment
    """
    from bench_core.ci.forks import comment_on_run

    runner = _runner()
    for line in comment_on_run(runner):
        runner.notice(line)


@ci.command()
@CONFIG
def accepted(config: Path) -> None:
    """Add the regressions that were accepted in merged pull requests to the results, for the report.

    \b
    Example:
      GITHUB_TOKEN=... bench-core ci accepted
    """
    from bench_core.asv_config import asv_config
    from bench_core.ci.finish import api
    from bench_core.ci.history import keep

    runner = _runner()
    for one in keep(api(runner), asv_config(config).results):
        runner.say(f"added: pull request {one.pull_request}, accepted by {one.by}")
