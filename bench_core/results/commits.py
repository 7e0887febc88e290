"""Reads the commits of results from git: subjects, authors, and the addresses of their pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench_core import git
from bench_core.asv_config import asv_config
from bench_core.records.commit import LoggedCommit


@dataclass(frozen=True)
class Commits:
    """Commits of a repository.

    Attributes:
        known: the commits that the repository has, by hash, ancestors first.
        link: the address of a commit's page, without the hash at its end; "" if it is not known.
    """

    known: Mapping[str, LoggedCommit] = field(default_factory=dict)
    link: str = ""


def read_commits(config: Path, hashes: Collection[str]) -> Commits:
    """Read commits, and the address of their pages, from the repository that an ``asv.conf.json`` names. Without git,
    or without a repository on this machine, no commit is known, and the history lacks their subjects.

    Raises:
        BenchCoreError: if the configuration cannot be read.
    """
    settings = asv_config(config)
    folder = config.absolute().parent / settings.repo
    # asv's default is "#". Other schemes are ignored, too.
    show = settings.commit_url if urlsplit(settings.commit_url).scheme in ("http", "https") else ""
    return Commits(
        _known(folder, hashes),
        show or _page_of(_said(folder, "remote", "get-url", "origin").strip()) or _page_of(settings.repo),
    )


def resolved(config: Path, name: str) -> str:
    """The full hash of the commit with a name in git, e.g. a branch or a tag; "" if there is none.

    Raises:
        BenchCoreError: if the configuration cannot be read.
    """
    folder = config.absolute().parent / asv_config(config).repo
    return _said(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").strip()


def _known(repo: Path, hashes: Collection[str]) -> dict[str, LoggedCommit]:
    wanted = {name for name in hashes if re.fullmatch("[0-9a-f]{40,64}", name)}
    if not wanted:
        return {}
    # Commits may be missing, since other machines may have measured other clones.
    listed = _said(
        repo,
        *("log", "--date-order", "--reverse", "--ignore-missing", "--stdin", "--format=%H%x00%s%x00%an%x00%aI"),
        given="".join(f"{name}\n" for name in sorted(wanted)),
    )
    commits = (LoggedCommit(*line.split("\0")) for line in listed.split("\n") if line.count("\0") == 3)
    return {commit.hash: commit for commit in commits if commit.hash in wanted}


def _page_of(remote: str) -> str:
    """``git@github.com:owner/name.git`` -> ``https://github.com/owner/name/commit/``; "" for anything else. GitHub,
    GitLab, Gitea and Forgejo share this form. User and password are left out: they may be secret."""
    scheme = "https"
    scp = re.fullmatch(r"(?:[\w.-]+@)?([\w.-]+\.[\w-]+):(?!/)(.+)", remote)
    if scp:
        host, path = scp[1], scp[2]
    else:
        address = urlsplit(remote)
        if address.scheme not in ("http", "https", "ssh", "git") or not address.hostname:
            return ""
        host, path = address.hostname, address.path
        if address.scheme.startswith("http"):
            scheme, host = address.scheme, address.netloc.rpartition("@")[2]
    path = path.strip("/").removesuffix(".git")
    return f"{scheme}://{host}/{path}/commit/" if path else ""


def _said(repo: Path, *arguments: str, given: str = "") -> str:
    """The output of git; "" if it fails or is not installed. Bytes that are not UTF-8 are replaced."""
    try:
        said = git.output(repo, *arguments, given=given)
    except (git.GitError, git.MissingError):
        return ""
    return said.encode(errors="surrogateescape").decode(errors="replace")
