import pytest

from bench_core import git
from bench_core.errors import BenchCoreError


@pytest.fixture
def repository(tmp_path, repositories):
    return repositories.new(tmp_path / "repository", {"a": "1\n", "folder/b": "1\n"})


@pytest.mark.parametrize("variable", git.OF_ANOTHER_REPOSITORY)
def test_a_git_hook_does_not_lead_to_its_own_repository(repository, repositories, tmp_path, monkeypatch, variable):
    other = repositories.new(tmp_path / "other", {"a": "2\n"})
    named = {"GIT_WORK_TREE": other.root, "GIT_INDEX_FILE": other.root / ".git/index", "GIT_NAMESPACE": "other"}
    before = git.output(repository.root, "rev-parse", "HEAD"), git.uncommitted(repository.root)
    monkeypatch.setenv(variable, str(named.get(variable, other.root / ".git")))
    assert (git.output(repository.root, "rev-parse", "HEAD"), git.uncommitted(repository.root)) == before


def test_files_that_differ_from_the_commit_are_named_from_the_top_whole_and_one_by_one(repository):
    repository.write({"a": "2\n", "folder/b": None, "new folder/ä\tfile": "", "new folder/more": ""})
    expected = {"a", "folder/b", "new folder/ä\tfile", "new folder/more"}
    assert set(git.uncommitted(repository.root / "folder")) == expected


def test_what_is_excluded_does_not_differ(repository):
    repository.write({"a": "2\n", "folder/b": "2\n"})
    assert git.uncommitted(repository.root, [":(exclude,top)folder"]) == ("a",)


def test_what_python_compiles_does_not_differ(repository):
    before = git.uncommitted(repository.root)
    (repository.root / "folder" / "__pycache__").mkdir()
    (repository.root / "folder" / "__pycache__" / "m.cpython-311.pyc").touch()
    assert git.uncommitted(repository.root) == before


def test_a_new_report_at_the_top_does_not_differ_and_a_committed_one_does(repository):
    repository.commit({"old.json": "1\n"})
    repository.write({"new.json": "", "folder/new.json": "", "old.json": "2\n"})
    assert set(git.uncommitted(repository.root)) == {"folder/new.json", "old.json"}


def test_what_git_says_of_a_failure_is_in_the_error(repository):
    with pytest.raises(git.GitError, match=r"`git rev-parse --verify 'no\^\{commit\}'` failed in .*: fatal: "):
        git.commit(repository.root, "no")


def test_a_repository_of_another_user_is_refused_with_gits_own_cure(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own tests use it
    with pytest.raises(git.RefusedError, match="another user owns it; `git config --global --add safe.directory /.*`"):
        git.commit(repository.root, "HEAD")


def test_without_git_the_error_is_another_one_and_says_what_to_do(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchCoreError, match="Install git") as caught:
        git.commit(repository.root, "HEAD")
    assert not isinstance(caught.value, git.GitError)
