"""The files of a first set-up. What exists is kept."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from bench_core import git
from bench_core.asv_config import NAMES, USUAL, AsvConfig, asv_config, found_in
from bench_core.errors import BenchCoreError
from bench_core.files import write_whole
from bench_core.scaffold.calls import Call, choose_call
from bench_core.scaffold.layout import Layout
from bench_core.scaffold.sources import Sources

ACTION = "OWNER/bench_core@HASH"
"""The GitHub action that the workflows use, for the user to complete. A stranger could take a name that is free."""

COMMENT = ACTION.replace("@", "/comment@")
"""The action that comments on the pull requests of forks."""

WORKFLOWS = {
    "benchmarks.yml": f"gates each pull request; replace {ACTION} in it",
    "benchmarks-comment.yml": f"comments on the pull requests of forks; replace {COMMENT} in it",
}
"""The workflows, and what each does."""

EXAMPLE = "example.py"
"""The module with the example benchmark."""

OUTPUT = ".asv"
"""The folder for what the commands leave, at the top of the repository, where the action caches it."""

SUITES = ("benchmarks", "benchmarks/asv_suite")
"""The folder of a new suite, and the one for a project that keeps something else in the first. setuptools takes
neither for a package."""


@dataclass(frozen=True)
class Planned:
    """A file of the set-up.

    Attributes:
        path: where it is.
        text: its whole content; None to keep the file that is there.
        about: what it is, or why it is kept.
    """

    path: Path
    text: str | None
    about: str

    @property
    def action(self) -> str:
        """What happens to the file: ``new``, ``changed`` or ``kept``."""
        if self.text is None:
            return "kept"
        return "changed" if self.path.exists() else "new"


@dataclass(frozen=True)
class Plan:
    """A set-up.

    Attributes:
        config: the suite's configuration.
        files: its files.
    """

    config: Path
    files: tuple[Planned, ...]

    @property
    def has_example(self) -> bool:
        """Whether the example benchmark is new."""
        return any(one.path.name == EXAMPLE for one in self.files)


def plan(layout: Layout) -> Plan:
    """Decide what to write. Nothing is written yet.

    Raises:
        BenchCoreError: if the repository has a configuration that cannot be read, or no room for a suite.
    """
    existing = _existing(layout)
    config = existing or layout.folder / USUAL.name
    named = asv_config(config) if existing else None
    suite = named.suite if named else _free_folder(layout)
    call = choose_call(Sources(layout.package, layout.source), layout.folder)
    return Plan(
        config,
        (
            _configuration(layout, config, suite, named),
            *_suite(layout, suite, call, known=named is not None),
            *_workflows(layout, config),
            *_ignored(layout, suite, named.environments if named else layout.top / OUTPUT),
        ),
    )


def _existing(layout: Layout) -> Path | None:
    """The configuration that the project has: beside its build configuration, at the top of the repository, or in a
    folder of the project, such as asv_bench."""
    inside = sorted(path.parent for name in NAMES for path in layout.folder.glob(f"*/{name}"))
    return next((found for folder in (layout.folder, layout.top, *inside) if (found := found_in(folder))), None)


def write(plan: Plan) -> None:
    """Write what is planned: all of it, or nothing if a part of it cannot be written.

    Raises:
        BenchCoreError: if a file cannot be written.
    """
    wanted = [(one.path, one.text) for one in plan.files if one.text is not None]
    try:
        for path, _ in wanted:
            _require_writable(path)
        for path, text in wanted:
            write_whole(path, text.encode(errors="surrogateescape"))
    except OSError as error:
        raise BenchCoreError(
            f"{path} cannot be written: {error.strerror}. Make its folder writable, and run the command again: it "
            "keeps the files that are there."
        ) from error


def _configuration(layout: Layout, config: Path, suite: Path, existing: AsvConfig | None) -> Planned:
    if existing:
        return Planned(config, None, "there is a configuration")
    folder = config.parent
    output = _relative(layout.top / OUTPUT, folder)
    settings = {
        "version": 1,
        "project": layout.project,
        "repo": _relative(layout.top, folder),
        **({} if folder == layout.top else {"repo_subdir": _relative(folder, layout.top)}),
        "dvcs": "git",
        "branches": [git.default_branch(layout.top)],
        "environment_type": "virtualenv",
        "benchmark_dir": _relative(suite, folder),
        "env_dir": f"{output}/env",
        "results_dir": f"{output}/results",
        "html_dir": f"{output}/html",
    }
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in settings.items())
    return Planned(config, f"{{\n{lines}\n}}\n", "the configuration of the suite")


def _suite(layout: Layout, suite: Path, call: Call | None, *, known: bool) -> Iterator[Planned]:
    """The files of the suite.

    Args:
        known: whether a configuration that was there names the suite. An example is added only if it has no module.
    """
    modules = sorted(path for path in suite.rglob("*.py") if path.name != "__init__.py")
    if modules and known:
        yield Planned(suite, None, f"the suite has benchmarks ({modules[0].name})")
        return
    package = suite / "__init__.py"
    if not package.exists():
        yield Planned(package, "", "makes the folder a package")
    about = f"times {call.function}, as in {call.origin}" if call else f"times `import {layout.package}`"
    code = _code(call, layout.package) if call else IMPORT.replace("PACKAGE", layout.package)
    yield Planned(suite / EXAMPLE, _filled("example.txt", project=layout.project, code=code), about)


IMPORT = """
def timeraw_import():
    # asv runs this text in a process of its own, since a second import in one process takes no time.
    return "import PACKAGE\""""
"""The example for a package of which no function is called."""


def _code(call: Call, package: str) -> str:
    """The benchmark of a call."""
    lines = [*_sorted(call.imports, package), "", ""]
    if not call.prepared:
        return "\n".join([*lines, f"def time_{call.name}():", f"    {call.expression}"])
    lines += [f"class {''.join(part.title() for part in call.name.split('_'))}:", "    def setup(self):"]
    lines += [f"        self.{name} = {value}" for name, value in call.prepared]
    return "\n".join([*lines, "", f"    def time_{call.name}(self):", f"        {call.expression}"])


def _sorted(imports: tuple[str, ...], package: str) -> list[str]:
    """Import statements in the usual groups, with an empty line between two: the standard library, others, the
    project."""

    def group(statement: str) -> int:
        top = statement.split()[1].split(".")[0]
        return 2 if top == package.split(".")[0] else 0 if top in sys.stdlib_module_names else 1

    lines: list[str] = []
    for number in range(3):
        found = sorted(statement for statement in imports if group(statement) == number)
        lines += ["", *found] if lines and found else found
    return lines


def _workflows(layout: Layout, config: Path) -> Iterator[Planned]:
    """The workflow that gates, and the one that comments on the pull requests of forks."""
    options = {
        "suite": "" if config == layout.top / USUAL.name else _relative(config, layout.top),
        "requirements": "" if layout.folder == layout.top else f"./{_relative(layout.folder, layout.top)}",
    }
    given = "".join(f"          {name}: {json.dumps(value)}\n" for name, value in options.items() if value)
    for name, about in WORKFLOWS.items():
        path = layout.top / ".github/workflows" / name
        if path.exists():
            yield Planned(path, None, "there is a workflow of this name")
            continue
        text = _filled(
            name,
            action=ACTION,
            comment=COMMENT,
            options=f"        with:\n{given}" if given else "",
        )
        yield Planned(path, text, about)


def _ignored(layout: Layout, suite: Path, environments: Path) -> Iterator[Planned]:
    """The .gitignore with what the commands leave in the repository, unless git ignores it already."""
    entries = []
    for path in (environments, suite / "__pycache__", Path(sys.prefix)):
        if path.is_relative_to(layout.top) and not git.ignores(layout.top, path / "file"):
            inside = path.relative_to(layout.top).as_posix()
            entries.append("__pycache__/" if path.name == "__pycache__" else f"/{inside}/")
    if entries:
        path = layout.top / ".gitignore"
        before = path.read_bytes().decode(errors="surrogateescape") if path.exists() else ""
        gap = "" if before.endswith("\n") or not before else "\n"
        yield Planned(path, before + gap + "\n".join(entries) + "\n", f"git ignores {', '.join(entries)}")


def _free_folder(layout: Layout) -> Path:
    """The folder of a new suite: the first that has no code."""
    for name in SUITES:
        folder = layout.folder / name
        if not set(folder.glob("*.py")) - {folder / "__init__.py"}:
            return folder
    raise BenchCoreError(
        f"{' and '.join(SUITES)} in {layout.folder} hold code that no asv.conf.json names. Write one that names the "
        "folder of the suite as benchmark_dir, and run the command again: it adds the rest."
    )


def _relative(path: Path, folder: Path) -> str:
    """A path as seen from a folder, as configurations write it."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _require_writable(path: Path) -> None:
    """Raises OSError if a file could not be made at this path."""
    if path.exists():
        with path.open("ab"):
            return
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _filled(template: str, **values: str) -> str:
    """A template with its ``$names`` replaced."""
    text = (resources.files("bench_core.scaffold") / "templates" / template).read_text(encoding="utf-8")
    return Template(text).substitute(values)
