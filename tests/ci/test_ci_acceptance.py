"""Who has accepted a regression: GitHub says so, and nobody else."""

import json

import pytest
from hub import FORK, GREEN, LABEL, RED, TOKEN, GitHub

from bench_core.ci import event
from bench_core.ci.acceptance import Acceptance, Refused, acceptance
from bench_core.ci.comment import Circumstances, body
from bench_core.ci.github import Api
from bench_core.ci.history import keep
from bench_core.errors import BenchCoreError
from bench_core.results.accepted import FILE, read_accepted

HEAD, EARLIER, LATER = "a" * 40, "e" * 40, "f" * 40


@pytest.fixture
def api(github):
    return Api(github.address, "owner/project", TOKEN)


def asked(api, head=HEAD, **how):
    return acceptance(api, event.pull(GitHub().open(head=head, **how)), head, LABEL)


def test_without_the_label_nothing_is_accepted(github, api):
    assert asked(api) is None
    github.label(HEAD, name="documentation")
    assert asked(api) is None


def test_the_label_names_who_put_it_and_when(github, api):
    github.run(HEAD, "2026-01-02T03:00:00Z")
    github.label(HEAD)
    assert asked(api) == Acceptance("maintainer", "2026-01-02T03:04:05Z", LABEL, HEAD)


def test_a_label_that_was_removed_does_not_count_and_one_put_again_does(github, api):
    github.label(HEAD)
    github.label(HEAD, action="unlabeled", date="2026-01-02T04:00:00Z")
    assert asked(api) is None
    github.label(HEAD, by="another", date="2026-01-02T05:00:00Z")
    assert asked(api).by == "another"


def test_a_label_counts_for_its_commit_alone(github, api):
    github.run(EARLIER, "2026-01-02T03:00:00Z")
    github.label(EARLIER)
    github.run(HEAD, "2026-01-02T04:00:00Z")
    found = asked(api)
    assert isinstance(found, Refused)
    assert "an earlier commit" in found.reason


def test_a_commit_that_had_its_run_before_the_label_is_not_accepted_by_pushing_it_again(github, api):
    github.run(HEAD, "2026-01-02T02:00:00Z")  # something slow, pushed and taken back
    github.run(EARLIER, "2026-01-02T03:00:00Z")
    github.label(EARLIER)
    github.run(HEAD, "2026-01-02T04:00:00Z")  # and pushed again
    assert isinstance(asked(api), Refused)


def test_a_later_run_on_the_same_commit_is_accepted_too(github, api):
    github.label(HEAD)
    github.label(HEAD, name="documentation", date="2026-01-02T05:00:00Z")
    assert asked(api).commit == HEAD


def test_the_run_of_another_repository_does_not_count(github, api):
    github.label(EARLIER)
    github.run(HEAD, "2026-01-02T03:04:05Z", repository=FORK)
    assert isinstance(asked(api), Refused)


def test_a_label_of_a_fork_is_found_by_the_runs_of_the_fork(github, api):
    github.label(HEAD, repository=FORK)
    assert asked(api, fork=True).by == "maintainer"


def test_a_label_that_started_no_run_is_refused_with_the_cure(github, api):
    github.label(HEAD)
    github.runs.clear()
    assert "run on `labeled`" in asked(api).reason


@pytest.mark.parametrize("login", ["", "a b", "-->", "x" * 40, "<b>"])
def test_a_login_that_is_none_is_refused(github, api, login):
    github.label(HEAD, by=login)
    assert isinstance(asked(api), Refused)


def merged(github, text, number=12, head=HEAD, **more):
    github.pulls.append(GitHub().open(number, head, merge_commit_sha=LATER, merged_at="2026-01-03", **more))
    github.pulls[-1]["state"] = "closed"
    github.comment(text)


ACCEPTED = body(RED, Circumstances(accepted=Acceptance("maintainer", "2026-01-02T03:04:05Z", LABEL, HEAD)))


def test_what_was_accepted_in_a_merged_pull_request_joins_the_history_once(github, api, tmp_path):
    merged(github, ACCEPTED)
    (found,) = keep(api, tmp_path)
    assert (found.pull_request, found.merged, found.commit, found.by) == (12, LATER, HEAD, "maintainer")
    assert found.cells == ("counting.Count.time_count(cpu, 100) +9.1 % (+8.1 … +9.7 %)",)
    assert keep(api, tmp_path) == []
    assert read_accepted(tmp_path) == (found,)


def test_what_was_not_accepted_or_not_merged_does_not(github, api, tmp_path):
    merged(github, body(RED, Circumstances()))
    assert keep(api, tmp_path) == []
    github.comments.clear()
    merged(github, ACCEPTED, merged_at_none=True)
    github.pulls[-1]["merged_at"] = None
    github.pulls.pop(0)
    assert keep(api, tmp_path) == []


def test_an_acceptance_of_an_earlier_commit_or_by_another_author_does_not(github, api, tmp_path):
    merged(github, ACCEPTED, head=EARLIER)
    assert keep(api, tmp_path) == []
    github.pulls[-1]["head"]["sha"] = HEAD
    github.comments[0]["user"] = {"login": "stranger", "type": "User"}
    assert keep(api, tmp_path) == []
    github.comments[0]["body"] = body(GREEN, Circumstances())
    assert keep(api, tmp_path) == []


@pytest.mark.parametrize(
    "line", ["x", "{}", json.dumps({"schema": "bench-core/accepted/2"}), json.dumps({"schema": 2}), "[1]"]
)
def test_a_damaged_line_of_the_history_is_named(tmp_path, line):
    (tmp_path / FILE).write_text(line + "\n")
    with pytest.raises(BenchCoreError, match="line 1, cannot be read"):
        read_accepted(tmp_path)
