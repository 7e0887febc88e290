"""Turns a revision into a folder that a worker can import.

The environment that runs us is shared: torch and numpy are never installed twice. Only the project's own package is
built, from the content of a revision, and installed without its dependencies into a folder of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bench_core.errors import BenchCoreError
from bench_core.gate.versions.revisions import (
    ELSEWHERE,
    SUBMODULE,
    Entry,
    Project,
    Revision,
    benchmarks_digest,
    digest_of,
    entries_of,
    export,
    git,
    matters,
)
from bench_core.records.version import Version

KEPT_VERSIONS, KEPT_SUITES = 20, 5
"""What the cache holds at most. A suite is a whole tree of the repository, and so weighs more than a version."""

POLL = 0.1
"""Seconds until a build in another thread notices that it is to end."""

A_DAY = 86_400.0
"""Seconds after which nobody is still at work on a folder that is being made."""

DEFAULT_REQUIRES = ("setuptools>=40.8.0", "wheel")
"""What pip builds with where nothing is said (PEP 518)."""

BUILDING = (
    *("CC", "CXX", "CPP", "FC", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "FFLAGS", "LDFLAGS", "RUSTFLAGS"),
    *("CUDA_HOME", "NVCC_FLAGS", "TORCH_CUDA_ARCH_LIST", "CMAKE_ARGS", "ARCHFLAGS", "SETUPTOOLS_SCM_PRETEND_VERSION"),
)
"""Variables that change what is built: a part of a version's key, since both sides must be built alike."""


class Store:
    """The versions and suites that are built already, by their content.

    Args:
        project: what they are built from.
        folder: where to keep them; by default beside asv's environments.

    Raises:
        BenchCoreError: if nothing can be stored there.
    """

    def __init__(self, project: Project, folder: Path | None = None) -> None:
        self.project = project
        self._stopped = threading.Event()
        self.folder = (folder or project.env_dir / "bench-core").resolve()
        try:
            (self.folder / "suites").mkdir(parents=True, exist_ok=True)
            (self.folder / ".gitignore").write_text("*\n")  # else it may count as a part of the working tree
        except OSError as error:
            raise BenchCoreError(
                f"versions cannot be stored in {self.folder}: {error.strerror}. Make the folder writable, or set "
                f"env_dir in {project.config} to one that is."
            ) from error

    def versions(self, revisions: Iterable[Revision]) -> list[Version]:
        """`version` of each, at once: building a wheel takes 4 s, and one core.

        Raises:
            BenchCoreError: if one does not build.
            KeyboardInterrupt: after Ctrl-C; nothing that was begun is left or goes on.
        """
        with ThreadPoolExecutor() as threads:
            try:
                return list(threads.map(self.version, revisions))
            except KeyboardInterrupt:  # only this thread gets to know
                self._stopped.set()
                raise

    def version(self, revision: Revision) -> Version:
        """Build and install a revision, unless that was done before.

        Raises:
            BenchCoreError: if it does not build.
        """
        entries = [entry for entry in entries_of(self.project, revision) if matters(self.project, entry.path)]
        others = [str(entry.path) for entry in entries if entry.mode == SUBMODULE]
        if others:
            raise BenchCoreError(
                f"{revision} holds submodules, or other repositories ({', '.join(others)}), and the gate does not "
                "support them. If they are not needed, let git ignore them, or move them into docs or tests."
            )
        requires = self._requires(revision, entries)
        content = digest_of(entries)
        key = self._key(content, requires)
        # Every version's path is equally long. A longer one would move what lies behind it in memory, on one side
        # only, and the layout of memory alone moves a time by some per cent.
        home = self.folder / key
        if not home.is_dir():
            with self.making(home) as made:
                self._build(revision, entries, requires, made / "site", home / "site")
        os.utime(home)
        keep_newest(self.folder, KEPT_VERSIONS)
        return Version(
            name=revision.name,
            commit=revision.commit,
            changed=revision.changed,
            digest=content,
            benchmarks=benchmarks_digest(self.project, revision),
            path=str(home / "site"),
            packages=packages_in(home / "site"),
        )

    def suite(self, revision: Revision) -> Path:
        """The benchmark folder of a revision, in a tree with all that lies around it: benchmarks may read it.

        Raises:
            BenchCoreError: if the revision has no such folder.
        """
        if not any(entry.path.is_relative_to(self.project.suite) for entry in entries_of(self.project, revision)):
            raise BenchCoreError(
                f"{revision} has no folder {self.project.suite}, and the benchmarks are taken from there. Commit it, "
                f"or correct benchmark_dir in {self.project.config}."
            )
        home = self.folder / "suites" / hash16([revision.tree, sys.implementation.cache_tag])
        if not home.is_dir():
            with self.making(home) as made:
                export(self.project, revision, made)
                # Else the side that is first to import the suite would compile it, and the other would load the file.
                self.compile(made / self.project.suite, home / self.project.suite)
        os.utime(home)
        keep_newest(home.parent, KEPT_SUITES)
        return home / self.project.suite

    def _requires(self, revision: Revision, entries: Sequence[Entry]) -> tuple[str, ...] | None:
        """What the revision is built with; None where there is nothing that says how to build it."""
        subdir = self.project.subdir
        if subdir.parts and not any(entry.path.is_relative_to(subdir) for entry in entries):
            raise BenchCoreError(
                f"{revision} has no folder {subdir}, which {self.project.config} names in repo_subdir."
            )
        contents = {entry.path: entry.content for entry in entries}

        def read(name: str) -> str:
            content = contents.get(subdir / name)
            return "" if content is None else git(self.project.root, "cat-file", "blob", content, **revision.variables)

        try:
            said = tomllib.loads(read("pyproject.toml"))
        except tomllib.TOMLDecodeError as error:
            raise BenchCoreError(f"{revision} does not build: its pyproject.toml cannot be read: {error}.") from error
        # Any of the files may hold nothing but the settings of a linter.
        if (
            subdir / "setup.py" in contents
            or {"build-system", "project"} & said.keys()
            or "[metadata]" in read("setup.cfg")
        ):
            return tuple(said.get("build-system", {}).get("requires", DEFAULT_REQUIRES))
        return () if self.project.build_command else None

    def _key(self, content: str, requires: tuple[str, ...] | None) -> str:
        """The name of a version's folder: all that decides what is in it."""
        names = {"torch", "numpy", *(_name(requirement) for requirement in requires or ())}
        return hash16(
            [
                content,
                sys.version,
                sysconfig.get_platform(),
                {name: _installed(name) for name in sorted(names)},
                {name: os.environ.get(name) for name in BUILDING},
                self.project.subdir.as_posix(),
                self.project.build_command,
                requires,
            ]
        )

    def _build(
        self,
        revision: Revision,
        entries: Sequence[Entry],
        requires: tuple[str, ...] | None,
        site: Path,
        final: Path,
    ) -> None:
        # Not beside the cache, which lies in the repository: hatchling and versioneer look for git's files in the
        # folders above, and would build by what is checked out there.
        with tempfile.TemporaryDirectory(prefix="bench-core-", ignore_cleanup_errors=True) as work:
            tree, wheels, log = Path(work, "tree"), Path(work, "wheels"), Path(work, "log")
            tree.mkdir()
            wheels.mkdir()
            export(self.project, revision, tree)
            if requires is None:
                _copy(entries, tree, self.project.subdir, site)
            else:
                kept = final.parent.with_suffix(".log")
                try:
                    self._install(revision, requires, tree, wheels, site, log)
                except BuildError as error:
                    shutil.copyfile(log, kept)
                    keep_newest(self.folder, KEPT_VERSIONS, ".log")
                    raise BenchCoreError(
                        f"{revision} does not build: {error}\n{tail(log)}\nThe whole log: {kept}"
                    ) from error
            self.compile(site, final)

    def _install(
        self, revision: Revision, requires: tuple[str, ...], tree: Path, wheels: Path, site: Path, log: Path
    ) -> None:
        source = tree / self.project.subdir
        missing = [requirement for requirement in requires if not _satisfied(requirement)]
        if self.project.build_command:
            for step in self._configured(revision, source, wheels):
                self.run(step, log)
        else:
            wheel = ["wheel", "--no-deps", "--wheel-dir", str(wheels), str(source)]
            if missing:
                hint = f" pip had to fetch what builds it; installed here it need not: {', '.join(missing)}."
                self.run(pip(tree.parent, *wheel), log, hint)
            else:
                self.run(pip(tree.parent, *wheel, "--no-build-isolation"), log)
        built = [path for path in sorted(wheels.iterdir()) if path.suffix == ".whl"]
        if len(built) != 1:
            names = ", ".join(path.name for path in built) or "none"
            raise BuildError(
                f"one wheel is needed in {{build_cache_dir}}, and there is {names}. Have build_command make it there, "
                "and `pip wheel` make no others, with --no-deps."
            )
        # Isolated from pip's own settings: a configured `user` or `target` would lead the files elsewhere.
        options = ("--isolated", "--no-deps", "--no-index", "--no-compile", "--target", str(site))
        self.run(pip(tree.parent, "install", *options, str(built[0])), log)

    def _configured(self, revision: Revision, source: Path, wheels: Path) -> Iterator[Step]:
        """asv's `build_command`, with what asv documents for it."""
        from asv.util import UserError, interpolate_command

        offered = {
            "project": self.project.name,
            "conf_dir": str(self.project.config.parent),
            "env_name": "installed",
            "env_type": "installed",
            "env_dir": sys.prefix,
            "commit": revision.commit,
            "build_dir": str(source),
            "build_cache_dir": str(wheels),
        }
        variables = {"ASV": "true", **{f"ASV_{name.upper()}": value for name, value in offered.items()}}
        for line in self.project.build_command or ():
            try:
                command, extra, allowed, folder = interpolate_command(line, offered)
            except UserError as error:
                raise BenchCoreError(f"build_command in {self.project.config}: {error}") from error
            first = sys.executable if command[0] == "python" else command[0]
            yield Step((first, *command[1:]), Path(folder or source), {**_environment(), **variables, **extra}, allowed)

    def run(self, step: Step, log: Path, hint: str = "") -> None:
        """Do a step of a build.

        Args:
            log: gets the command and what it prints.
            hint: goes with the reason why it failed.

        Raises:
            BuildError: if it cannot be started, or ends with a status that is not allowed.
        """
        shown = shlex.join(step.command)
        with log.open("a") as output:
            output.write(f"$ {shown}\n")
            output.flush()
            try:
                status, _ = self._done(
                    step.command, cwd=step.folder, env=step.variables, stdout=output, stderr=subprocess.STDOUT
                )
            except OSError as error:
                raise BuildError(f"`{shown}` cannot be started: {error.strerror}.{hint}") from error
        if step.allowed is not None and status not in step.allowed:
            raise BuildError(f"`{shown}` ended with status {status}.{hint}")

    def compile(self, folder: Path, final: Path) -> None:
        """Compile what is in `folder` for the place where it will lie. What is no valid Python fails when imported.

        Raises:
            BenchCoreError: if what is compiled cannot be written.
        """
        status, said = self._done(
            (sys.executable, "-I", "-S", "-c", COMPILE, str(folder), str(final)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if status:
            last = (said.strip().splitlines() or [f"it ended with status {status}"])[-1]
            raise BenchCoreError(
                f"{final} cannot be compiled ({last}). Make room, or set env_dir in {self.project.config} to a folder "
                "that has some."
            )

    def _done(self, command: Sequence[str], **options: Any) -> tuple[int, str]:
        """The status of a command, and what it wrote into a pipe; after an interrupt, nothing of it goes on."""
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, errors="replace", **options) as process:
            try:
                while not self._stopped.is_set():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        said, _ = process.communicate(timeout=POLL)
                        return process.returncode, said or ""
                raise KeyboardInterrupt
            except BaseException:
                _end(process)
                process.wait()  # Popen itself does not, after Ctrl-C
                raise

    @contextlib.contextmanager
    def making(self, home: Path) -> Iterator[Path]:
        """A folder that becomes `home` when it is finished, and vanishes if it never is."""
        with tempfile.TemporaryDirectory(prefix="making-", dir=self.folder, ignore_cleanup_errors=True) as folder:
            made = Path(folder, "made")
            made.mkdir()
            yield made
            try:
                made.rename(home)
            except OSError:
                if not home.is_dir():  # else another gate has built the same in the meantime
                    raise


class BuildError(Exception):
    """Why a build failed, without what it printed."""


@dataclass(frozen=True)
class Step:
    """A command of a build.

    Attributes:
        command: the program and its arguments.
        folder: where it runs.
        variables: its environment.
        allowed: the statuses that it may end with; None for any.
    """

    command: tuple[str, ...]
    folder: Path
    variables: Mapping[str, str]
    allowed: set[int] | None = field(default_factory=lambda: {0})


def pip(folder: Path, *arguments: str) -> Step:
    return Step((sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"), folder, _environment())


def tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-15:])


def _environment() -> dict[str, str]:
    """The environment of a build: ours without what would make its content depend on who starts it."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name not in ELSEWHERE
    }
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    # setuptools_scm takes the version from git, and there is no repository around the files. The same one for every
    # version: it ends up in file names and texts, which must be equally long on both sides.
    kept.setdefault("SETUPTOOLS_SCM_PRETEND_VERSION", "0.0.0")
    return kept


def _copy(entries: Sequence[Entry], tree: Path, subdir: PurePosixPath, site: Path) -> None:
    """What can be imported where nothing is built: the files that make up the digest, and no others."""
    site.mkdir()
    for entry in entries:
        if entry.path.is_relative_to(subdir):
            target = site / entry.path.relative_to(subdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / entry.path, target, follow_symlinks=False)


COMPILE = """
import marshal, pathlib, py_compile, sys
folder, final = map(pathlib.Path, sys.argv[1:])
for path in filter(pathlib.Path.is_file, folder.rglob("*.py")):
    try:
        made = py_compile.compile(str(path), dfile=str(final / path.relative_to(folder)), doraise=True)
    except py_compile.PyCompileError:
        continue
    marshal.loads(pathlib.Path(made).read_bytes()[16:])
"""
"""Unlike compileall, it tells a file that is no valid Python from one that cannot be written, or is not written whole:
Python 3.11 says nothing of that."""


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def packages_in(site: Path) -> tuple[str, ...]:
    """The top-level names that can be imported from a folder."""
    endings = tuple(all_suffixes())
    found = set()
    for path in site.iterdir():
        name = path.name.split(".")[0]
        if path.is_dir():
            importable = path.name == name != "__pycache__" and any(
                inner.name.endswith(endings) for inner in path.rglob("*")
            )
        else:
            importable = path.name.endswith(endings)
        if importable and name.isidentifier():
            found.add(name)
    return tuple(sorted(found))


def _name(requirement: str) -> str:
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement:
        return requirement


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # Since 70.1, setuptools has what it once took from there.
        return _installed("setuptools") if name == "wheel" and _satisfied("setuptools>=70.1") else None


def _satisfied(text: str) -> bool:
    """Whether what a build requires is installed; what cannot be told is left to pip."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    found = _installed(canonicalize_name(requirement.name))
    return found is not None and not requirement.url and requirement.specifier.contains(found, prereleases=True)


def hash16(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def keep_newest(folder: Path, number: int, ending: str = "") -> None:
    """Delete what was not used for longest, and what gates that were killed have left."""
    with contextlib.suppress(FileNotFoundError):  # another gate tidies up as well
        found = sorted(folder.glob("?" * 16 + ending), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in found[number:]:
            # Out of the way first: half deleted it would pass for a version.
            _remove(old.rename(folder / f"making-{old.name}"))
        newest = found[0].stat().st_mtime
        for left in folder.glob("making-*"):
            if newest - left.stat().st_mtime > A_DAY:
                _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
