import pytest

from bench_core.errors import BenchCoreError
from bench_core.results.commits import read_commits, resolved


@pytest.fixture
def repo(tmp_path, repositories):
    configure(repositories(tmp_path))
    return repositories.new(tmp_path)


def configure(repository, **settings):
    repository.configure(**{"project": "project", "branches": ["main"], **settings})


def read(repo, *hashes):
    return read_commits(repo.config, hashes)


def test_a_commit_has_its_subject_author_and_date(repo):
    made = repo.commit(message="Say | what\n\nand why", date="2026-02-03T04:05:06+00:00")
    found = read(repo, made).known[made]
    assert (found.hash, found.subject, found.author) == (made, "Say | what", "Test")
    assert found.date == "2026-02-03T04:05:06+00:00"


def test_commits_come_before_what_descends_from_them_whatever_their_dates(repo):
    first = repo.commit(message="First", date="2026-03-01T00:00:00+00:00")
    second = repo.commit(message="Second", date="2026-01-01T00:00:00+00:00")
    assert list(read(repo, second, first).known) == [first, second]


def test_what_was_not_asked_for_is_left_out(repo):
    first, second = repo.commit(message="First"), repo.commit(message="Second")
    assert list(read(repo, second).known) == [second]
    assert first not in read(repo, second).known


def test_a_commit_that_is_not_there_fails_no_other(repo):
    made = repo.commit(message="First")
    assert list(read(repo, "a" * 40, made, "no hash").known) == [made]


def test_without_a_repository_nothing_is_known(tmp_path, repositories):
    elsewhere = repositories(tmp_path)
    configure(elsewhere, repo="https://example.org/owner/project.git")
    assert read(elsewhere, "a" * 40).known == {}


def test_a_configuration_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(BenchCoreError, match="--suite"):
        read_commits(tmp_path / "asv.conf.json", ())


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
    repo.git("remote", "add", "origin", remote)
    assert read(repo).link == page


def test_the_configured_page_comes_first(repo):
    repo.git("remote", "add", "origin", "git@github.com:owner/name.git")
    configure(repo, show_commit_url="https://example.org/show/")
    assert read(repo).link == "https://example.org/show/"


@pytest.mark.parametrize("configured", ["#", "javascript:alert(1)//"])
def test_what_is_no_web_page_is_no_link(repo, configured):
    configure(repo, show_commit_url=configured)
    assert read(repo).link == ""


def test_the_page_follows_from_a_repository_elsewhere(tmp_path, repositories):
    elsewhere = repositories(tmp_path)
    configure(elsewhere, repo="https://example.org/owner/project.git")
    assert read(elsewhere).link == "https://example.org/owner/project/commit/"


def test_git_resolves_what_it_knows(repo):
    made = repo.commit(message="First")
    repo.git("tag", "v1")
    assert [resolved(repo.config, name) for name in ("main", "v1", made[:9])] == [made] * 3


def test_inside_a_hook_of_another_repository_the_suites_own_is_asked(repo, repositories, tmp_path, monkeypatch):
    made = repo.commit(message="First")
    repo.git("remote", "add", "origin", "git@github.com:owner/name.git")
    other = repositories.new(tmp_path / "other", {})
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    found = read(repo, made)
    assert (list(found.known), found.link) == ([made], "https://github.com/owner/name/commit/")
    assert resolved(repo.config, "HEAD") == made


@pytest.mark.parametrize("name", ["nope", "--help", ""])
def test_what_git_does_not_know_is_nothing(repo, name):
    repo.commit(message="First")
    assert resolved(repo.config, name) == ""
