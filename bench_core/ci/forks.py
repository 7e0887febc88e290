"""The second workflow, for pull requests of forks: with a token, it comments on what a run without one measured.

It trusts what GitHub says of that workflow's run: which repository, branch and commit it was for. It reads one thing
that the run wrote, the outcome: a single file of bounded size in a single archive, read by its types. It checks out
nothing, runs nothing of it, and takes neither the number of the pull request, nor a command, nor an acceptance from it.
See "Preventing pwn requests" by GitHub Security Lab.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench_core.ci import comment, event
from bench_core.ci.acceptance import Acceptance, Refused, acceptance, explained
from bench_core.ci.event import Pull
from bench_core.ci.finish import api, circumstances
from bench_core.ci.github import Api, ApiError
from bench_core.ci.outcome import LARGEST, Outcome, from_bytes
from bench_core.ci.plan import OUTCOMES
from bench_core.ci.runner import Runner
from bench_core.ci.status import can_be_accepted
from bench_core.errors import BenchCoreError

FILE = "outcome.json"
"""The only file in the archive."""

MOST = comment.MOST
"""The most archives of a run. Each has a suite, or a job of a matrix, of its own."""

LARGEST_ARCHIVE = LARGEST + 10_000
"""The most bytes of an archive. Compressed content is hardly larger than the file."""

DECIDING = (".github/", "action.yml", "asv.conf.json", "asv.conf.jsonc", "pyproject.toml", "setup.py", "setup.cfg")
"""The folder and the names of files that decide how a pull request is measured."""


def comment_on_run(runner: Runner) -> list[str]:
    """Comment on the pull request of the run that has ended.

    Returns:
        What was done, in sentences.

    Raises:
        BenchCoreError: if the event is none of such a run, or GitHub does not answer.
    """
    run = event.read(Path(runner.named("GITHUB_EVENT_PATH"))).get("workflow_run")
    if not isinstance(run, dict):
        raise BenchCoreError("this event has no workflow_run: start the workflow `on: workflow_run`.")
    if run.get("event") != "pull_request":
        return [f"nothing to do: the run was started by {str(run.get('event'))[:40]!r}, not by a pull request"]
    github = api(runner)
    pull = pull_of_run(github, run)
    if pull is None:
        return ["nothing to do: the run is not on the last commit of one open pull request"]
    if not pull.is_fork:
        return ["nothing to do: the pull request is of this repository, and its own run comments"]
    number = str(event.number(run.get("id")))
    done = []
    for found in outcomes(github, number):
        if found.head != pull.head:
            raise BenchCoreError("the outcome is on another commit than the run: it is not used.")
        done.append(_comment(runner, github, pull, found, number))
    return done or ["nothing to do: the run left no outcome"]


def pull_of_run(github: Api, run: Mapping[str, Any]) -> Pull | None:
    """The open pull request whose last commit a run is on; None if there is none, or more than one.

    Raises:
        BenchCoreError: if the description of the run lacks what is needed.
    """
    try:
        source = run["head_repository"]
        owner, branch, head = str(source["owner"]["login"]), str(run["head_branch"]), event.sha(run["head_sha"])
        repository = event.number(source["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise BenchCoreError(f"GitHub describes the run in an unknown way: {error!r}.") from error
    found = [event.pull(one) for one in github.listed("pulls", state="open", head=f"{owner}:{branch}")]
    found = [one for one in found if (one.head, one.repository, one.branch) == (head, repository, branch)]
    return found[0] if len(found) == 1 else None


def outcomes(github: Api, run: str) -> Iterator[Outcome]:
    """The outcomes that a run has left, each in an archive of its own.

    Raises:
        BenchCoreError: if one is too large, or not an outcome.
    """
    listed = github.listed(f"actions/runs/{run}/artifacts", "artifacts")
    found = [one for one in listed if str(one.get("name")).startswith(OUTCOMES) and not one.get("expired")]
    if len(found) > MOST:
        raise BenchCoreError(f"the run left {len(found)} outcomes, of at most {MOST}.")
    for one in found:
        number, size = one.get("id"), one.get("size_in_bytes")
        if not isinstance(number, int) or not isinstance(size, int) or size > LARGEST_ARCHIVE:
            raise BenchCoreError(f"the archive of the outcome has {size!r} bytes, of at most {LARGEST_ARCHIVE:,}.")
        yield from_bytes(only_file(github.download(f"actions/artifacts/{number}/zip", LARGEST_ARCHIVE)))


def only_file(archive: bytes) -> bytes:
    """The content of the only file in an archive. Nothing is written to the disk.

    Raises:
        BenchCoreError: if the archive has other files, or the file is too large when it is unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            if (names := opened.namelist()) != [FILE]:
                raise BenchCoreError(f"the archive of the outcome has {len(names)} files, and not {FILE} alone.")
            with opened.open(FILE) as file:
                content = file.read(LARGEST + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise BenchCoreError(f"the archive of the outcome cannot be read: {error}.") from error
    if len(content) > LARGEST:
        raise BenchCoreError(f"the outcome has more than {LARGEST:,} bytes.")
    return content


def _comment(runner: Runner, github: Api, pull: Pull, found: Outcome, run: str) -> str:
    when = runner.given("comment") or comment.WHEN[0]
    creates = comment.creates(when, found)
    if when == "never":
        return "no comment is wanted"
    label = runner.given("label")
    accepted: Acceptance | Refused | None = None
    if label and can_be_accepted(found):
        try:
            accepted = acceptance(github, pull, pull.head, label)
        except ApiError as error:
            accepted = Refused(explained(error))
    about = circumstances(runner, accepted, label, run, is_fork=True, changed=_deciding(github, pull))
    done = comment.put(github, pull.number, comment.body(found, about), create=creates)
    return f"the comment on pull request {pull.number}: {done}"


def _deciding(github: Api, pull: Pull) -> tuple[str, ...]:
    """The files of a pull request that decide how it is measured."""
    names = [str(one.get("filename")) for one in github.listed(f"pulls/{pull.number}/files")]
    return tuple(name for name in names if name.startswith(DECIDING[0]) or name.rpartition("/")[2] in DECIDING)
