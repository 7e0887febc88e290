"""`bench-core init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench_core import git
from bench_core.asv_config import naming
from bench_core.cli.terminal import say

if TYPE_CHECKING:
    from bench_core.scaffold.files import Plan


@click.command("init", short_help="Set up benchmarks and a CI workflow in this repository.")
@click.option("--package", metavar="NAME", help="The package to time, as in an import. [default: the project's own]")
def init(package: str | None) -> None:
    """Set up benchmarks in the git repository that this folder belongs to.

    Writes asv.conf.json, a first benchmark of the project's own package, GitHub workflows that gate pull requests, and
    what git has to ignore. The project's code is read to find a function to time, and not run. What exists is kept.

    \b
    Example:
      bench-core init
    """
    from bench_core.scaffold.files import plan, write
    from bench_core.scaffold.layout import find_layout

    layout = find_layout(Path(), package)
    planned = plan(layout)
    lines = [(one.action, _shown(one.path), one.about) for one in planned.files]
    write(planned)
    say(f"Project {layout.project}, package {layout.package} in {_shown(layout.source)}.\n")
    width = max(len(path) for _, path, _ in lines)
    for action, path, about in lines:
        say(f"{action:7}  {path:{width}}  {about}")
    say("\n" + "\n".join(_next(layout.top, planned)))


def _shown(path: Path) -> str:
    """A path as it is named from here."""
    return os.path.relpath(path)


def _next(top: Path, planned: Plan) -> list[str]:
    """What to do next. The last line is a command."""
    folder = planned.config.parent
    change = [] if folder.samefile(Path()) else [shlex.join(["cd", _shown(folder)])]
    suite = naming(Path(planned.config.name))
    if not planned.has_example:
        return ["Next, list the cells of the suite:", _command(*change, shlex.join(["bench-core", "list", *suite]))]
    try:
        git.commit(top, "HEAD")
    except git.GitError:
        add = shlex.join(["git", "-C", _shown(top), "add", "."])
        return ["Next, make the first commit, to compare later versions with:", _command(add, "git commit -m 'Start'")]
    return [
        "Next, compare the last commit with the working tree. The code is the same, so the new benchmark passes; --all",
        "measures it nevertheless:",
        _command(*change, shlex.join(["bench-core", "gate", "HEAD", "--all", *suite])),
    ]


def _command(*parts: str) -> str:
    return f"  {' && '.join(parts)}"
