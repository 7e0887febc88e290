import json
import subprocess

import pytest

from bench_core.errors import BenchCoreError
from bench_core.results.commits import read_commits, resolved


def git(folder, *arguments, date="2026-01-01T00:00:00+00:00"):
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "PATH": "/usr/bin:/bin"},
    )
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path):
    git(tmp_path, "init", "-b", "main")
    configure(tmp_path)
    return tmp_path


def configure(folder, **more):
    config = {"version": 1, "project": "project", "repo": ".", "branches": ["main"], "benchmark_dir": "cases", **more}
    (folder / "asv.conf.json").write_text(json.dumps(config))


def commit(folder, subject, **options):
    git(folder, "commit", "--allow-empty", "-m", subject, **options)
    return git(folder, "rev-parse", "HEAD")


def read(repo, *hashes):
    return read_commits(repo / "asv.conf.json", hashes)


def test_a_commit_has_its_subject_author_and_date(repo):
    made = commit(repo, "Say | what\n\nand why", date="2026-02-03T04:05:06+00:00")
    found = read(repo, made).known[made]
    assert (found.hash, found.subject, found.author) == (made, "Say | what", "Ada")
    assert found.date == "2026-02-03T04:05:06+00:00"


def test_commits_come_before_what_descends_from_them_whatever_their_dates(repo):
    first = commit(repo, "First", date="2026-03-01T00:00:00+00:00")
    second = commit(repo, "Second", date="2026-01-01T00:00:00+00:00")
    assert list(read(repo, second, first).known) == [first, second]


def test_what_was_not_asked_for_is_left_out(repo):
    first, second = commit(repo, "First"), commit(repo, "Second")
    assert list(read(repo, second).known) == [second]
    assert first not in read(repo, second).known


def test_a_commit_that_is_not_there_fails_no_other(repo):
    made = commit(repo, "First")
    assert list(read(repo, "a" * 40, made, "no hash").known) == [made]


def test_without_a_repository_nothing_is_known(tmp_path):
    configure(tmp_path, repo="https://example.org/owner/project.git")
    assert read(tmp_path, "a" * 40).known == {}


def test_a_configuration_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(BenchCoreError, match="--suite"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("remote", "page"),
    [
        ("git@github.com:owner/name.git", "https://github.com/owner/name/commit/"),
        ("https://github.com/owner/name", "https://github.com/owner/name/commit/"),
        ("https://user:secret@example.org/owner/name.git", "https://example.org/owner/name/commit/"),
        ("ssh://git@example.org:2222/owner/name.git", "https://example.org/owner/name/commit/"),
        ("http://localhost:3000/owner/name.git", "http://localhost:3000/owner/name/commit/"),
        ("../elsewhere", ""),
        ("/srv/git/name.git", ""),
    ],
)
def test_a_commits_page_follows_from_the_remote(repo, remote, page):
    git(repo, "remote", "add", "origin", remote)
    assert read(repo).link == page


def test_the_configured_page_comes_first(repo):
    git(repo, "remote", "add", "origin", "git@github.com:owner/name.git")
    configure(repo, show_commit_url="https://example.org/show/")
    assert read(repo).link == "https://example.org/show/"


@pytest.mark.parametrize("configured", ["#", "javascript:alert(1)//"])
def test_what_is_no_web_page_is_no_link(repo, configured):
    configure(repo, show_commit_url=configured)
    assert read(repo).link == ""


def test_the_page_follows_from_a_repository_elsewhere(tmp_path):
    configure(tmp_path, repo="https://example.org/owner/project.git")
    assert read(tmp_path).link == "https://example.org/owner/project/commit/"


def test_git_resolves_what_it_knows(repo):
    made = commit(repo, "First")
    git(repo, "tag", "v1")
    assert [resolved(repo / "asv.conf.json", name) for name in ("main", "v1", made[:9])] == [made] * 3


@pytest.mark.parametrize("name", ["nope", "--help", ""])
def test_what_git_does_not_know_is_nothing(repo, name):
    commit(repo, "First")
    assert resolved(repo / "asv.conf.json", name) == ""
