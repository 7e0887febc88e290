"""The second workflow: it comments on what a run of a fork has measured, and believes GitHub alone."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hub import FORK, GREEN, RED, TOKEN, of, row

from bench_core.ci import forks
from bench_core.ci.forks import comment_on_run, only_file
from bench_core.ci.outcome import LARGEST, to_bytes
from bench_core.cli import main
from bench_core.errors import BenchCoreError

RUN = 99


def ended(step, head="a" * 40, branch="faster", **more):
    """The event of a run on the branch of a fork that has ended."""
    source = {"id": FORK, "owner": {"login": "stranger"}}
    run = {"id": RUN, "event": "pull_request", "head_sha": head, "head_branch": branch, "head_repository": source}
    step.event({"workflow_run": {**run, **more}})


def leave(github, found, **how):
    github.leave(str(RUN), {"outcome.json": to_bytes(found)}, **how)


@pytest.fixture
def there(github, step):
    """An open pull request of a fork whose run has left an outcome."""
    github.open(fork=True)
    ended(step)
    leave(github, RED)
    return github


def test_it_comments_on_the_pull_request_of_the_run(there, step):
    assert comment_on_run(step.runner) == ["the comment on pull request 12: created"]
    (made,) = there.comments
    assert "❌ bench-core: 1 cell slower" in made["body"]
    assert "a job that runs the code of this pull request" in made["body"]
    assert f"/actions/runs/{RUN}" in made["body"]
    assert ("POST", "/repos/owner/project/issues/12/comments", f"Bearer {TOKEN}") in there.requests


def test_the_token_goes_to_the_api_alone(there, step):
    comment_on_run(step.runner)
    (storage,) = [one for one in there.requests if one[1].startswith("/storage")]
    assert storage[2] is None
    assert all(token == f"Bearer {TOKEN}" for _, path, token in there.requests if path.startswith("/repos"))


def test_a_label_is_looked_up_and_never_read_from_the_outcome(there, step):
    there.label("a" * 40, repository=FORK)
    comment_on_run(step.runner)
    assert "Accepted by <b>maintainer</b>" in there.comments[0]["body"]


def test_changes_of_what_decides_how_it_is_measured_are_named(there, step):
    there.files = ["docs/a.md", ".github/workflows/gate.yml", "suite/asv.conf.json", "<b>.py"]
    comment_on_run(step.runner)
    text = there.comments[0]["body"]
    assert "<code>.github/workflows/gate.yml</code>, <code>suite/asv.conf.json</code>" in text
    assert "docs/a.md" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"head": {"sha": "d" * 40}},  # pushed again since
        {"head": {"ref": "other"}},
        {"head": {"repo": {"id": 9, "owner": {"login": "stranger"}}}},
        {"state": "closed"},
    ],
)
def test_a_run_on_something_else_than_the_last_commit_is_not_used(there, step, change):
    pull = there.pulls[0]
    for key, value in change.items():
        pull[key] = {**pull[key], **value} if isinstance(value, dict) else value
    assert comment_on_run(step.runner)[0].startswith("nothing to do")
    assert there.comments == []


def test_two_pull_requests_of_one_commit_are_not_told_apart(there, step):
    there.open(number=13, fork=True)
    assert comment_on_run(step.runner)[0].startswith("nothing to do")


def test_an_outcome_on_another_commit_is_refused(github, step):
    github.open(fork=True)
    ended(step)
    leave(github, replace(GREEN, head="d" * 40))
    with pytest.raises(BenchCoreError, match="on another commit"):
        comment_on_run(step.runner)
    assert github.comments == []


def test_a_run_of_the_repository_itself_or_of_another_event_is_left_alone(github, step):
    source = {"id": 7, "owner": {"login": "owner"}}
    github.open()
    ended(step, head_repository=source)
    leave(github, RED)
    assert "of this repository" in comment_on_run(step.runner)[0]
    ended(step, event="push")
    assert "not by a pull request" in comment_on_run(step.runner)[0]
    step.event({})
    with pytest.raises(BenchCoreError, match="on: workflow_run"):
        comment_on_run(step.runner)


def test_a_run_without_an_outcome_is_left_alone(github, step):
    github.open(fork=True)
    ended(step)
    assert comment_on_run(step.runner) == ["nothing to do: the run left no outcome"]
    leave(github, RED, name="something-else")
    assert comment_on_run(step.runner) == ["nothing to do: the run left no outcome"]


def test_each_suite_and_each_job_of_a_run_has_its_comment(there, step):
    leave(there, replace(GREEN, suite="b/asv.conf.json"), name="bench-core-outcome-b")
    leave(there, replace(GREEN, job="3.14"), name="bench-core-outcome-bench-core-3.14")
    assert len(comment_on_run(step.runner)) == len(there.comments) == 3


def test_an_outcome_of_an_earlier_version_names_no_job(there, step):
    content = {name: value for name, value in json.loads(to_bytes(GREEN)).items() if name != "job"}
    there.leave(str(RUN), {"outcome.json": json.dumps(content).encode()}, name="bench-core-outcome-x")
    comment_on_run(step.runner)
    assert len(there.comments) == 1  # that of the only job, which this one edits too


@pytest.mark.parametrize("size", [LARGEST + 10_001, "1", None])
def test_an_archive_that_says_to_be_too_large_is_not_fetched(github, step, size):
    github.open(fork=True)
    ended(step)
    leave(github, RED, size=size) if size is not None else leave(github, RED, size="none")
    with pytest.raises(BenchCoreError, match="the archive of the outcome has"):
        comment_on_run(step.runner)
    assert not any(path.startswith("/storage") for _, path, _ in github.requests)


def test_an_archive_that_is_larger_than_it_says_is_not_read(github, step):
    github.open(fork=True)
    ended(step)
    leave(github, RED, size=10)
    github.storage[100] = b"x" * (2 * LARGEST)
    with pytest.raises(BenchCoreError, match="has more than"):
        comment_on_run(step.runner)


def packed(github, files):
    github.leave("0", files)
    return github.storage[max(github.storage)]


def test_only_the_one_file_of_an_archive_is_read(github):
    content = to_bytes(RED)
    assert only_file(packed(github, {"outcome.json": content})) == content
    for files in (
        {},
        {"../outcome.json": content},
        {"/outcome.json": content},
        {"outcome.json": content, "other": b""},
        {"outcome.json": b"x" * (LARGEST + 1)},  # a small archive of a large file
    ):
        with pytest.raises(BenchCoreError):
            only_file(packed(github, files))


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_a_damaged_archive_is_refused(github, cut):
    whole = packed(github, {"outcome.json": to_bytes(RED)})
    with pytest.raises(BenchCoreError, match=r"cannot be read|0 files"):
        only_file(whole[:cut])


def test_an_archive_with_a_wrong_checksum_is_refused(github):
    whole = bytearray(packed(github, {"outcome.json": to_bytes(RED)}))
    whole[60] ^= 255
    with pytest.raises(BenchCoreError, match="cannot be read"):
        only_file(bytes(whole))


def test_more_archives_than_suites_are_refused(github, step):
    github.open(fork=True)
    ended(step)
    for number in range(forks.MOST + 1):
        leave(github, RED, name=f"bench-core-outcome-{number}")
    with pytest.raises(BenchCoreError, match="21 outcomes"):
        comment_on_run(step.runner)


def test_nothing_of_a_hostile_outcome_leaves_its_place(github, step):
    github.open(fork=True)
    ended(step)
    bad = "</code>\n\n<!-- bench-core gate --> @owner ::error::x \u202e"
    leave(
        github, of(row("slower", bad, bad, bad, bad, bad), verdict="regression", exit_code=1, suite=bad, notes=(bad,))
    )
    comment_on_run(step.runner)
    text = github.comments[0]["body"]
    assert text.isprintable() or all(line.isprintable() for line in text.splitlines())
    assert text.count("<!--") == 1
    assert "@owner" not in text.replace(text[text.index("<code>") : text.rindex("</code>")], "")


def test_as_a_command(there, step):
    done = CliRunner().invoke(main, ["ci", "comment"], env=step.variables)
    assert done.exit_code == 0, done.output
    assert done.stdout == "::notice title=bench-core::the comment on pull request 12: created\n"
    step.event({"workflow_run": {"event": "pull_request"}})
    done = CliRunner().invoke(main, ["ci", "comment"], env=step.variables)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


def test_an_event_can_be_no_json(step, tmp_path):
    (tmp_path / "runner/event.json").write_text(json.dumps([1]))
    with pytest.raises(BenchCoreError, match="no JSON object"):
        comment_on_run(step.runner)
