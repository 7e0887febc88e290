"""Finds the project in a git repository, and its package, from its build configuration and its folders."""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, is_normalized_name

from bench_core import git
from bench_core.compat import tomllib
from bench_core.errors import BenchCoreError, UnknownNameError, shortened

BUILD_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
"""The files that configure a build. One of them marks the folder of a project."""

BESIDE = {
    *("asv_bench", "bench", "benchmark", "benchmarks", "build", "ci", "dist", "doc", "docs", "env", "example"),
    *("examples", "scripts", "src", "test", "tests", "tools", "venv"),
}
"""Folders that stand beside a package and are none, although some contain an ``__init__.py``."""


@dataclass(frozen=True)
class Layout:
    """Where a project is.

    Attributes:
        top: the top folder of its git repository.
        folder: the folder with the build configuration.
        project: the name under which it is installed.
        package: the name under which it is imported.
        source: the folder of the package, or the file of a single module.
    """

    top: Path
    folder: Path
    project: str
    package: str
    source: Path


def find_layout(here: Path, package: str | None = None) -> Layout:
    """Find the project that `here` belongs to.

    Args:
        package: the import package, for a project with several; None to find it.

    Raises:
        BenchCoreError: if there is no git repository, no build configuration, no package, or more than one.
    """
    top = _top(here.resolve())
    folder = _folder(here.resolve(), top)
    settings = _settings(folder)
    found = dict(_packages(folder, settings))
    name = _only(folder, found, settings.name) if package is None else package
    project = settings.name if is_normalized_name(canonicalize_name(settings.name)) else name
    source = found.get(name) or _source(_roots(folder, settings), name)
    if source is None:
        raise UnknownNameError("package", name, found)
    return Layout(top, folder, project, name, source)


def _only(folder: Path, found: Iterable[str], project: str) -> str:
    """The one of the packages that has the project's name, or else the only one."""
    names = sorted(found)
    if not names:
        raise BenchCoreError(
            f"no package found in {folder} or {folder / 'src'}: a folder with an __init__.py, or a module that "
            f"{' or '.join(BUILD_FILES)} names. If it is somewhere else, name it: --package NAME, as in an import."
        )
    named = [name for name in names if _same(name, project)]
    if len(named) == 1:
        return named[0]
    if len(names) > 1:
        raise BenchCoreError(
            f"several packages are in {folder}: {shortened(names)}. Name the one to time with --package NAME."
        )
    return names[0]


@dataclass(frozen=True)
class _Settings:
    """What the build configuration says.

    Attributes:
        name: the project's name, or "".
        roots: the folders in which it looks for packages, relative to its own.
        packages: the packages and modules that it names; empty if the build finds them.
    """

    name: str
    roots: tuple[str, ...]
    packages: tuple[str, ...]


def _top(here: Path) -> Path:
    try:
        return git.top(here)
    except git.RefusedError:
        raise
    except git.GitError as error:
        raise BenchCoreError(
            f"{here} is in no git repository, and the gate compares two versions from git. Change to the folder of "
            "your project, or make it a repository first: git init && git add . && git commit -m 'First version'"
        ) from error


def _folder(here: Path, top: Path) -> Path:
    """The nearest folder with a build configuration, from `here` up to the top of the repository."""
    for folder in (here, *here.parents):
        if any((folder / name).is_file() for name in BUILD_FILES):
            return folder
        if folder == top:
            break
    below = sorted({path.parent for name in BUILD_FILES for path in top.glob(f"*/{name}")})
    elsewhere = f" Projects are in {shortened([str(path) for path in below])}: change to one." if below else ""
    raise BenchCoreError(
        f"no {', '.join(BUILD_FILES[:-1])} or {BUILD_FILES[-1]} in {here}"
        f"{'' if here == top else f' or above it, up to {top}'}. The gate builds the project as a package, and needs "
        f"one of these files.{elsewhere}"
    )


def _settings(folder: Path) -> _Settings:
    found = [*_from_pyproject(folder), *_from_setup_cfg(folder), *_from_setup_py(folder)]
    return _Settings(
        name=next((one.name for one in found if one.name), ""),
        roots=tuple(dict.fromkeys(root for one in found for root in one.roots)),
        packages=tuple(dict.fromkeys(name for one in found for name in one.packages)),
    )


def _from_pyproject(folder: Path) -> Iterator[_Settings]:
    path = folder / "pyproject.toml"
    if not path.is_file():
        return
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchCoreError(f"{path} cannot be read: {error}.") from error
    tool = _table(content, "tool")
    setuptools = _table(tool, "setuptools")
    poetry = _table(tool, "poetry")
    flit = _table(tool, "flit", "module").get("name") or _table(tool, "flit", "metadata").get("module")
    yield _Settings(
        name=_text(_table(content, "project").get("name")) or _text(poetry.get("name")) or _text(flit),
        roots=(
            *_texts(_table(setuptools, "package-dir").get("")),
            *_texts(_table(setuptools, "packages", "find").get("where")),
            *_texts(_table(tool, "maturin").get("python-source")),
            *(_text(one.get("from")) for one in _tables(poetry.get("packages")) if one.get("from")),
        ),
        packages=(
            *_texts(setuptools.get("packages")),
            *_texts(setuptools.get("py-modules")),
            *_texts(flit),
            *(_text(one.get("include")) for one in _tables(poetry.get("packages"))),
            *_texts(_table(tool, "hatch", "build", "targets", "wheel").get("packages")),
            *_texts(_table(tool, "scikit-build", "wheel").get("packages")),
        ),
    )


def _from_setup_cfg(folder: Path) -> Iterator[_Settings]:
    read = configparser.ConfigParser(interpolation=None)
    try:
        read.read(folder / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BenchCoreError(f"{folder / 'setup.cfg'} cannot be read: {error}.") from error

    def lines(section: str, key: str) -> list[str]:
        return [line.strip() for line in read.get(section, key, fallback="").splitlines() if line.strip()]

    directories = [line.split("=", 1) for line in lines("options", "package_dir") if "=" in line]
    yield _Settings(
        name=read.get("metadata", "name", fallback="").strip(),
        roots=(
            *(place.strip() for package, place in directories if not package.strip()),
            *lines("options.packages.find", "where"),
        ),
        packages=(
            *(name for name in lines("options", "packages") if not name.startswith("find")),
            *lines("options", "py_modules"),
        ),
    )


def _from_setup_py(folder: Path) -> Iterator[_Settings]:
    """What the literal arguments of ``setup(...)`` say."""
    path = folder / "setup.py"
    if not path.is_file():
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise BenchCoreError(f"{path} cannot be read: {error}.") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "setup":
            given = {argument.arg or "": _literal(argument.value) for argument in node.keywords}
            directories = given.get("package_dir")
            yield _Settings(
                name=_text(given.get("name")),
                roots=tuple(_texts(directories.get(""))) if isinstance(directories, dict) else (),
                packages=(*_texts(given.get("packages")), *_texts(given.get("py_modules"))),
            )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _table(content: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A table in a table; empty if it is missing or something else."""
    for key in keys:
        found = content.get(key)
        content = found if isinstance(found, dict) else {}
    return content


def _tables(found: Any) -> list[Mapping[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _texts(found: Any) -> list[str]:
    """A text or a list of texts as a list; empty for anything else."""
    return [one for one in (found if isinstance(found, (list, tuple)) else [found]) if isinstance(one, str) and one]


def _roots(folder: Path, settings: _Settings) -> list[Path]:
    """The folders in which packages may be."""
    return list(dict.fromkeys(folder / root for root in (*settings.roots, "src", ".")))


def _packages(folder: Path, settings: _Settings) -> Iterator[tuple[str, Path]]:
    """The packages and modules, each with its source: those that the configuration names, or else all that there are
    in the first folder that has some."""
    roots = _roots(folder, settings)
    tops = dict.fromkeys(Path(name).name.split(".")[0] for name in settings.packages)
    named = {name: source for name in tops if (source := _source(roots, name))}
    if named:
        yield from named.items()
        return
    for root in roots:
        if not root.is_dir():
            continue
        inside = sorted(path.parent for path in root.glob("*/__init__.py"))
        found = {path.name: path for path in inside if path.name not in BESIDE and _importable(path.name)}
        if not found:
            modules = (path for path in sorted(root.glob("*.py")) if _same(path.stem, settings.name))
            found = {path.stem: path for path in modules}
        if found:
            yield from found.items()
            return


def _source(roots: Iterable[Path], name: str) -> Path | None:
    """The folder or the file of a package by its name; None if there is none."""
    for root in roots:
        place = root.joinpath(*name.split("."))
        if (place / "__init__.py").is_file():
            return place
        if (module := place.with_name(f"{place.name}.py")).is_file():
            return module
    return None


def _importable(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def _same(package: str, project: str) -> bool:
    """Whether a package has the name of the project, apart from signs that a package cannot have."""
    return _plain(package) == _plain(project)


def _plain(name: str) -> str:
    return re.sub(r"^python-|^py-|-python$", "", canonicalize_name(name)).replace("-", "")
