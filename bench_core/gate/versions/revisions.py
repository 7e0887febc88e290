"""The files of revisions and of the working tree, and their digests.

Nothing is written into the repository, neither into its objects nor into its index, and nothing is checked out.
"""

from __future__ import annotations

import difflib
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bench_core import git, watchdog
from bench_core.errors import BenchCoreError, did_you_mean, shortened
from bench_core.gate.versions.project import Project
from bench_core.records.version import WORKING_TREE

SUBMODULE = "160000"
"""git's mode of a submodule."""


class _Objects:
    """A folder for the git objects of a working tree, which must not go into the repository. It is removed with the
    last revision that needs it, or when the process ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-core-", dir=watchdog.room()))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Revision:
    """The files of a commit or of the working tree.

    Attributes:
        name: the name that was given, or `WORKING_TREE`.
        commit: the full hash of the commit, or of the commit that the working tree is based on.
        tree: git's hash of the files.
        changed: the files that differ from the commit; () for a commit.
        objects: the folder with the objects of a working tree; None for a commit.
    """

    name: str
    commit: str
    tree: str
    changed: tuple[str, ...] = ()
    objects: _Objects | None = field(default=None, repr=False, compare=False)

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables that git needs to read these files."""
        return {} if self.objects is None else {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.objects.folder)}

    def __str__(self) -> str:
        on = "on " if self.name == WORKING_TREE else ""
        return f"{self.name} ({on}{self.commit[:12]})"


def resolve(project: Project, name: str | None) -> Revision:
    """Find a revision.

    Args:
        name: any name of a commit in git; None for the working tree, with its changes and new files, without ignored
            files.

    Raises:
        BenchCoreError: if there is no such revision. The message lists similar names.
    """
    try:
        commit = git.commit(project.root, "HEAD" if name is None else name)
    except git.GitError as error:
        raise BenchCoreError(_not_found(project, name or "HEAD")) from error
    if name is None:
        return _working_tree(project, commit)
    return Revision(name, commit, git.output(project.root, "rev-parse", f"{commit}^{{tree}}").strip())


def merge_base(project: Project, one: str, other: str) -> str | None:
    """The newest common ancestor; None if there is none."""
    try:
        return git.output(project.root, "merge-base", one, other).strip()
    except git.GitError:
        return None


def uncommitted(project: Project) -> tuple[str, ...]:
    """The files of the working tree that differ from its commit, new ones included. Reports, and files that asv or the
    gate writes, do not count."""
    excluded = [f":(exclude,top,literal){folder}" for folder in project.output_folders]
    return git.uncommitted(project.root, excluded, "--ignore-submodules=dirty")


def _working_tree(project: Project, commit: str) -> Revision:
    """The working tree as a git tree, made with a temporary index and object folder."""
    changed, objects = uncommitted(project), _Objects()
    own = project.root / git.output(project.root, "rev-parse", "--git-path", "objects").rstrip("\n")
    with tempfile.TemporaryDirectory(prefix="bench-core-", dir=watchdog.room()) as folder:
        variables = {
            "GIT_INDEX_FILE": str(Path(folder, "index")),
            "GIT_OBJECT_DIRECTORY": str(objects.folder),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(own),
        }
        git.output(project.root, "read-tree", commit, variables=variables)
        # Not `git add`, which fails for paths whose deletion is staged.
        named = "".join(f"{path.rstrip('/')}\0" for path in changed)
        options = ("--add", "--remove", "--replace", "-z", "--stdin")
        git.output(project.root, "update-index", *options, given=named, variables=variables)
        tree = git.output(project.root, "write-tree", variables=variables).strip()
    return Revision(WORKING_TREE, commit, tree, changed, objects)


def _not_found(project: Project, name: str) -> str:
    listed = git.output(project.root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/remotes")
    named = [ref.split("/", 2)[1:] for ref in listed.splitlines() if not ref.endswith("/HEAD")]
    local, remote = ([short for kind, short in named if kind == wanted] for wanted in ("heads", "remotes"))
    branches = local or remote  # a CI runner checks out a commit, without a local branch
    names = [short for _, short in named]
    ends = [short for short in names if short.endswith(f"/{name}")]  # branches that only the remote has
    near = list(dict.fromkeys([*ends, *difflib.get_close_matches(name, names, n=3)]))[:3]
    shallow = git.output(project.root, "rev-parse", "--is-shallow-repository").strip() == "true"
    fetch = (
        " This clone is shallow. Get the rest of the history with `git fetch --unshallow`, or with fetch-depth: 0 for "
        "actions/checkout."
        if shallow
        else ""
    )
    hint, known = did_you_mean(near), shortened(branches)
    return f"revision {name!r} not found in this repository.{hint} Known branches: {known}.{fetch}"


@dataclass(frozen=True)
class Entry:
    """A file of a revision.

    Attributes:
        mode: git's mode.
        content: git's hash of the content.
        path: the path from the top of the repository.
    """

    mode: str
    content: str
    path: PurePosixPath


def entries_of(project: Project, revision: Revision) -> list[Entry]:
    listed = git.output(project.root, "ls-tree", "-r", "-z", "--full-tree", revision.tree, variables=revision.variables)
    entries = []
    for line in listed.split("\0")[:-1]:
        described, _, path = line.partition("\t")
        mode, _, content = described.split(" ")
        entries.append(Entry(mode, content, PurePosixPath(path)))
    return entries


def package_entries(project: Project, revision: Revision) -> list[Entry]:
    """The files that the built package can depend on.

    Raises:
        BenchCoreError: if one of them is a submodule or another repository.
    """
    entries = [entry for entry in entries_of(project, revision) if project.matters(entry.path)]
    others = [str(entry.path) for entry in entries if entry.mode == SUBMODULE]
    if others:
        raise BenchCoreError(
            f"{revision} contains submodules or other repositories ({', '.join(others)}), which the gate does not "
            "support. If they are not needed, let git ignore them, or move them into docs or tests."
        )
    return entries


def benchmarks_digest(project: Project, revision: Revision) -> str:
    if project.suite is None:
        return digest_of(())
    return digest_of(entry for entry in entries_of(project, revision) if entry.path.is_relative_to(project.suite))


def digest_of(entries: Iterable[Entry]) -> str:
    """A digest of the modes, the contents and the paths of files."""
    lines = "\0".join(f"{entry.mode} {entry.content} {entry.path}" for entry in entries)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def read_file(project: Project, revision: Revision, entry: Entry) -> str:
    return git.output(project.root, "cat-file", "blob", entry.content, variables=revision.variables)


def export(project: Project, revision: Revision, folder: Path) -> None:
    """Write the files of a revision into an empty folder, as a checkout would. `git archive` is not used, since it
    omits files that .gitattributes marks with export-ignore, often the benchmarks."""
    with tempfile.TemporaryDirectory(prefix="bench-core-", dir=watchdog.room()) as index:
        git.output(
            project.root,
            *(f"--work-tree={folder}", "read-tree", "--reset", "-u", "--no-sparse-checkout", revision.tree),
            variables={**revision.variables, "GIT_INDEX_FILE": str(Path(index, "index"))},
        )
