"""What git knows of the project: revisions, the working tree, and the digests of their content.

Nothing is ever written into the repository, neither its objects nor its index, nor is anything checked out.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from bench_core.asv_config import AsvConfig, asv_config
from bench_core.errors import BenchCoreError, did_you_mean, shortened
from bench_core.files import is_report

WORKING_TREE = "working tree"

SUBMODULE = "160000"
"""The mode under which git lists another repository's commit."""

ELSEWHERE = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
"""Variables that git sets for its hooks: inside one they would lead every call to the hook's repository."""


@dataclass(frozen=True)
class Project:
    """What is compared, as asv's configuration describes it.

    Attributes:
        name: asv's `project`.
        root: top of the git repository.
        config: the configuration.
        suite: asv's `benchmark_dir`, relative to `root`.
        subdir: the folder with the build configuration (asv's `repo_subdir`), relative to `root`.
        env_dir, results_dir, html_dir: asv's own folders.
        build_command: as configured, or None.
        written: files that the gate itself will write: no part of what it compares.
    """

    name: str
    root: Path
    config: Path
    suite: PurePosixPath
    subdir: PurePosixPath
    env_dir: Path
    results_dir: Path
    html_dir: Path
    build_command: tuple[str, ...] | None
    written: tuple[Path, ...] = ()


def project(config: Path) -> Project:
    """Read an ``asv.conf.json``. As for asv, its paths are relative to the folder that it lies in.

    Raises:
        BenchCoreError: if it cannot be read, or does not describe a suite in a git repository on this machine.
    """
    config = config.absolute().parent.resolve() / config.name
    named = asv_config(config)
    root = _top(config, named)
    suite = named.suite.resolve()
    if root not in suite.parents:
        raise BenchCoreError(
            f"{config}: benchmark_dir is {os.path.relpath(named.suite, config.parent)!r}, and the gate needs a folder "
            f"below the top of the repository that is compared, {root}: it takes the benchmarks of the head revision "
            "from there."
        )
    return Project(
        name=named.project,
        root=root,
        config=config,
        suite=PurePosixPath(suite.relative_to(root)),
        subdir=PurePosixPath(named.subdir),
        env_dir=named.environments.resolve(),
        results_dir=named.results.resolve(),
        html_dir=named.html.resolve(),
        build_command=_commands(named.build_command),
    )


def _top(config: Path, named: AsvConfig) -> Path:
    """The repository that the configuration names."""
    repo, folder = named.repo, config.parent
    place = (folder / repo).resolve()
    needed = (
        f"{config}: repo is {repo!r}, and the gate needs a git repository on this machine: clone it, and set repo to "
        'the path of its top folder, seen from this file ("." where both lie together).'
    )
    if named.dvcs not in (None, "git") or not place.is_dir():
        raise BenchCoreError(needed)
    done = _run_git(place, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise BenchCoreError(f"{needed} git says of {place}: {done.stderr.strip()}")
    top = Path(done.stdout.rstrip("\n")).resolve()
    if top != place:
        raise BenchCoreError(
            f"{config}: repo is {repo!r}, which is not the top of its git repository. Set it to "
            f"{os.path.relpath(top, folder)!r}; if what is built lies in a subfolder, name that in repo_subdir."
        )
    return top


def _commands(found: str | list[str] | None) -> tuple[str, ...] | None:
    """asv takes one command or a list; an empty list builds nothing, and leaves it to us."""
    return ((found,) if isinstance(found, str) else tuple(found)) if found else None


class _Objects:
    """A folder for the objects of a working tree, which must not go into the repository. It is removed with the last
    revision that needs it, or when the process ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-core-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Revision:
    """A content of the repository.

    Attributes:
        name: as it was asked for.
        commit: the full hash; for a working tree, of the commit that it stands on.
        tree: the hash of the content.
        changed: files that differ from the commit; () for a commit.
        objects: where git finds what is in no commit, or None.
    """

    name: str
    commit: str
    tree: str
    changed: tuple[str, ...] = ()
    objects: _Objects | None = field(default=None, repr=False, compare=False)

    @property
    def variables(self) -> Mapping[str, str]:
        """What git needs in its environment to read it."""
        return {} if self.objects is None else {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.objects.folder)}

    def __str__(self) -> str:
        on = "on " if self.name == WORKING_TREE else ""
        return f"{self.name} ({on}{self.commit[:12]})"


def resolve(project: Project, name: str | None) -> Revision:
    """Find a revision.

    Args:
        name: whatever git takes for a commit; None for the working tree, with what is not committed and not ignored.

    Raises:
        BenchCoreError: if there is none of that name, with the near misses.
    """
    commit = _find(project, "HEAD" if name is None else name)
    if name is None:
        return _working_tree(project, commit)
    return Revision(name, commit, git(project.root, "rev-parse", f"{commit}^{{tree}}").strip())


def merge_base(project: Project, one: str, other: str) -> str:
    """The newest commit that both descend from; "" where there is none."""
    return _run_git(project.root, "merge-base", one, other).stdout.strip()


def uncommitted(project: Project) -> tuple[str, ...]:
    """The files of the working tree that differ from its commit, new ones included; reports, and what asv or the gate
    writes, do not count."""
    listed = git(
        project.root,
        *("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty"),
        *("--", ".", *(f":(exclude,top,literal){folder}" for folder in _own(project))),
    )
    return tuple(line[3:] for line in listed.split("\0") if line and not is_report(line))


def _working_tree(project: Project, commit: str) -> Revision:
    """Let git make a tree of what lies in the working tree, with an index and an object folder of our own."""
    changed, objects = uncommitted(project), _Objects()
    own = project.root / git(project.root, "rev-parse", "--git-path", "objects").rstrip("\n")
    with tempfile.TemporaryDirectory(prefix="bench-core-") as folder:
        variables = {
            "GIT_INDEX_FILE": str(Path(folder, "index")),
            "GIT_OBJECT_DIRECTORY": str(objects.folder),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(own),
        }
        git(project.root, "read-tree", commit, **variables)
        # Not `git add`, which fails at paths whose deletion is staged.
        named = "".join(f"{path.rstrip('/')}\0" for path in changed)
        options = ("--add", "--remove", "--replace", "-z", "--stdin")
        git(project.root, "update-index", *options, given=named, **variables)
        tree = git(project.root, "write-tree", **variables).strip()
    return Revision(WORKING_TREE, commit, tree, changed, objects)


def _find(project: Project, name: str) -> str:
    found = _run_git(project.root, "rev-parse", "--verify", f"{name}^{{commit}}")  # with this ending it is no option
    if found.returncode:
        raise BenchCoreError(_not_found(project, name))
    return found.stdout.strip()


def _not_found(project: Project, name: str) -> str:
    listed = git(project.root, "for-each-ref", "--format=%(refname)", "refs/heads", "refs/tags", "refs/remotes")
    named = [ref.split("/", 2)[1:] for ref in listed.splitlines() if not ref.endswith("/HEAD")]
    local, remote = ([short for kind, short in named if kind == wanted] for wanted in ("heads", "remotes"))
    branches = local or remote  # what a build machine has checked out is on no branch
    names = [short for _, short in named]
    ends = [short for short in names if short.endswith(f"/{name}")]  # only the remote has it
    near = list(dict.fromkeys([*ends, *difflib.get_close_matches(name, names, n=3)]))[:3]
    shallow = git(project.root, "rev-parse", "--is-shallow-repository").strip() == "true"
    fetch = (
        " This clone is shallow: it holds only a part of the history. Get the rest with `git fetch --unshallow`, or "
        "with fetch-depth: 0 for actions/checkout."
        if shallow
        else ""
    )
    hint, known = did_you_mean(near), shortened(branches)
    return f"revision {name!r} not found in this repository.{hint} Known branches: {known}.{fetch}"


def digest(project: Project, revision: Revision) -> str:
    """Stands for the content of all files that can matter to the built package, and their modes."""
    return digest_of(entry for entry in entries_of(project, revision) if matters(project, entry.path))


def benchmarks_digest(project: Project, revision: Revision) -> str:
    """Stands for the content of the benchmark folder."""
    return digest_of(entry for entry in entries_of(project, revision) if entry.path.is_relative_to(project.suite))


@dataclass(frozen=True)
class Entry:
    """A file of a tree: its mode, the hash of its content, its path."""

    mode: str
    content: str
    path: PurePosixPath


def entries_of(project: Project, revision: Revision) -> list[Entry]:
    listed = git(project.root, "ls-tree", "-r", "-z", "--full-tree", revision.tree, **revision.variables)
    entries = []
    for line in listed.split("\0")[:-1]:
        described, _, path = line.partition("\t")
        mode, _, content = described.split(" ")
        entries.append(Entry(mode, content, PurePosixPath(path)))
    return entries


def digest_of(entries: Iterable[Entry]) -> str:
    lines = "\0".join(f"{entry.mode} {entry.content} {entry.path}" for entry in entries)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def matters(project: Project, path: PurePosixPath) -> bool:
    """Whether the built package can depend on the file.

    What documents and tests the project is known by its place: at the top of the repository, or beside the build
    configuration. Deeper inside, in the package, a .rst file may be data that it reads.
    """
    ours = [project.suite, *_own(project)]
    if any(path.is_relative_to(folder) for folder in ours) or path == _relative(project, project.config):
        return False
    for top in {PurePosixPath("."), project.subdir}:
        if not path.is_relative_to(top):
            continue
        first, *inside = path.relative_to(top).parts
        if not inside:
            if path.suffix in (".md", ".rst") or first.startswith(("LICENSE", "CHANGELOG")):
                return False
        elif (first in ("docs", "doc", "tests", "test") or first[0] == ".") and not _needed(project, top / first):
            return False
    return True


def _own(project: Project) -> list[PurePosixPath]:
    """asv's own folders, as far as they lie in the repository and hold nothing else, and what the gate writes."""
    places = (project.env_dir, project.results_dir, project.html_dir, *project.written)
    found = [_relative(project, place) for place in places]
    return [folder for folder in found if folder is not None and not _needed(project, folder)]


def _needed(project: Project, folder: PurePosixPath) -> bool:
    """The suite or the build configuration lies in the folder."""
    return any(place.is_relative_to(folder) for place in (project.suite, project.subdir))


def _relative(project: Project, path: Path) -> PurePosixPath | None:
    return PurePosixPath(path.relative_to(project.root)) if path.is_relative_to(project.root) else None


def export(project: Project, revision: Revision, folder: Path) -> None:
    """Write a revision's files into an empty folder, as a checkout would.

    Not with `git archive`, which leaves out what .gitattributes marks with export-ignore: often the benchmarks.
    """
    with tempfile.TemporaryDirectory(prefix="bench-core-") as index:
        git(
            project.root,
            *(f"--work-tree={folder}", "read-tree", "--reset", "-u", "--no-sparse-checkout", revision.tree),
            **{**revision.variables, "GIT_INDEX_FILE": str(Path(index, "index"))},
        )


def _run_git(root: Path, *arguments: str, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run git so that it writes nothing of its own accord."""
    inherited = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    settings = ("core.fsmonitor=false", f"core.hooksPath={os.devnull}", "core.splitIndex=false")
    options = [option for setting in settings for option in ("-c", setting)]
    try:
        return subprocess.run(
            ["git", "-C", str(root), *options, *arguments],
            env={**inherited, "GIT_OPTIONAL_LOCKS": "0", **variables},
            input=given,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # git's paths are bytes
            check=False,
        )
    except FileNotFoundError as error:
        raise BenchCoreError(
            "git is needed to compare revisions, and there is no such program. Install git."
        ) from error


def git(root: Path, *arguments: str, given: str = "", **variables: str) -> str:
    done = _run_git(root, *arguments, given=given, **variables)
    if done.returncode:
        raise BenchCoreError(f"`git {shlex.join(arguments)}` failed in {root}: {done.stderr.strip()}")
    return done.stdout
