"""The last step of the action: who accepted a regression, the comment, and the status of the job. It has the token, so
it runs after the code of head."""

from __future__ import annotations

from pathlib import Path

from bench_core.ci import comment, event
from bench_core.ci.acceptance import Acceptance, Refused, acceptance, explained
from bench_core.ci.event import Pull
from bench_core.ci.github import Api, ApiError
from bench_core.ci.outcome import LARGEST, Outcome, from_bytes
from bench_core.ci.runner import Runner
from bench_core.ci.status import Status, can_be_accepted, status
from bench_core.errors import BenchCoreError


def finish(runner: Runner) -> Status:
    """End the job.

    Raises:
        BenchCoreError: if the step that measures has left no outcome.
    """
    found = read(runner.folder / "outcome.json")
    pull = event.pull_of(event.read(Path(runner.named("GITHUB_EVENT_PATH"))))
    label = runner.given("label")
    accepted: Acceptance | Refused | None = None
    if pull is not None and label and can_be_accepted(found):
        try:
            accepted = acceptance(api(runner), pull, found.head, label)
        except ApiError as error:
            accepted = Refused(explained(error))
    about = circumstances(runner, accepted, label)
    result = status(found, about.accepted)
    if pull is not None and not pull.is_fork:
        _comment(runner, found, pull, about)
    _say(runner, found, about, result)
    runner.give(
        status="success" if result.is_green else "failure",
        accepted_by=about.accepted.by if about.accepted else "",
    )
    return result


def read(path: Path) -> Outcome:
    try:
        with path.open("rb") as file:
            return from_bytes(file.read(LARGEST + 1))
    except OSError as error:
        raise BenchCoreError(f"the step that measures has left no outcome: {path}: {error.strerror}.") from error


def api(runner: Runner) -> Api:
    return Api(
        runner.named("GITHUB_API_URL"), runner.named("GITHUB_REPOSITORY"), runner.variables.get("GITHUB_TOKEN", "")
    )


def circumstances(
    runner: Runner,
    accepted: Acceptance | Refused | None,
    label: str,
    run: str = "",
    *,
    is_fork: bool = False,
    changed: tuple[str, ...] = (),
) -> comment.Circumstances:
    """What a comment says besides the outcome. `run` is the number of the run that measured; by default, this one."""
    number = run or runner.named("GITHUB_RUN_ID")
    return comment.Circumstances(
        run=f"{runner.named('GITHUB_SERVER_URL')}/{runner.named('GITHUB_REPOSITORY')}/actions/runs/{number}",
        accepted=accepted if isinstance(accepted, Acceptance) else None,
        refused=accepted.reason if isinstance(accepted, Refused) else "",
        label=label,
        is_fork=is_fork,
        changed=changed,
    )


def _comment(runner: Runner, found: Outcome, pull: Pull, about: comment.Circumstances) -> None:
    """Write the comment. A job is not red because of it."""
    when = runner.given("comment") or comment.WHEN[0]
    creates = comment.creates(when, found)
    if when == "never":
        return
    try:
        done = comment.put(api(runner), pull.number, comment.body(found, about), create=creates)
        runner.say(f"the comment on the pull request: {done}")
    except ApiError as error:
        cure = " The job needs the permission `pull-requests: write`." if error.status in (401, 403, 404) else ""
        runner.notice(f"no comment was written: {error}{cure}", "warning")


def _say(runner: Runner, found: Outcome, about: comment.Circumstances, result: Status) -> None:
    """The status in the log, and in the job's summary if it is another one than that of the gate."""
    if about.accepted is not None:
        text = f"{result.title} by {about.accepted.by} with the label {about.label}"
        runner.summarize(f"**{result.mark} {comment.accepted_by(about.accepted)}**")
        runner.notice(text)
    elif not result.is_green:
        reason = f": {found.reason}" if found.exit_code not in (0, 1) else ""
        runner.notice(f"{result.title}{reason}{f'. {about.refused}' if about.refused else ''}", "error")
    elif found.verdict == "inconclusive":
        runner.notice(result.title, "warning")
    else:
        runner.notice(result.title)
