"""The first step of the action: what is compared, and the keys of its caches. It runs before anything is installed, so
it needs the standard library alone, and starts as a file: ``python -I plan.py``.

A cache is named by what it depends on. The environment depends on the tool, the interpreter and what is installed; the
evidence on the two commits. The name begins with the scope: all runs of a fork's pull request share one, and those of
the repository's own branches another, so a fork's run neither reads nor writes what others use.
"""

from __future__ import annotations

import hashlib
import itertools
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench_core.ci.event import Pull
    from bench_core.ci.runner import Runner
    from bench_core.ci.use import Use

VERSION = "1"
"""The version of the caches' content. Another one makes all earlier caches unused."""

OUTCOMES = "bench-core-outcome"
"""What the names of the artifacts begin with that the second workflow reads."""

DECLARING = ("pyproject.toml", "setup.py", "setup.cfg", "requirements*.txt", "requirements/*.txt", "*.lock")
"""The files of a project that say what it needs."""


ASKED = ("suite", "bench", "profile", "job", "model", "device", "dtype", "input")
"""The inputs that say what is measured."""


@dataclass(frozen=True)
class Plan:
    """What is compared, and the caches.

    Attributes:
        base, head: full hashes.
        environment, evidence: the names of the caches. To the one of the evidence, each run adds its own number.
        is_fork: whether head comes from another repository.
        is_isolated: whether head is confined (`bench-core gate --isolated`). The working tree is then that of base, so
            that nothing of head is installed or configures anything.
        pull_request: its number; 0 without one.
        use: which use of the action in its job this is.
        outcome: the name of the artifact for the second workflow. The jobs of a matrix have different ones.
    """

    base: str
    head: str
    environment: str
    evidence: str
    is_fork: bool
    is_isolated: bool
    pull_request: int
    use: Use
    outcome: str


def plan(runner: Runner, tool: Path, project: Path) -> Plan:
    """Find out what is compared.

    Args:
        tool: the folder of the action, with the sources of bench_core.
        project: the repository that is measured.

    Raises:
        BenchCoreError: if the repository lacks the commits, or see `this_use`.
    """
    from bench_core import git
    from bench_core.ci import event
    from bench_core.ci.use import named, this_use

    found = event.read(Path(runner.named("GITHUB_EVENT_PATH")))
    pull = event.pull_of(found)
    head = commit(project, runner.given("head") or (pull.head if pull else runner.named("GITHUB_SHA")))
    base = _base(project, runner.given("base"), head, pull, str(found.get("before") or ""))
    is_isolated = _isolated(runner.given("isolated"), is_fork=bool(pull and pull.is_fork))
    if is_isolated:
        git.output(project, "checkout", "--quiet", "--detach", base)
    use = this_use(runner)
    scope = f"fork-{pull.number}" if pull and pull.is_fork else "own"
    machine = f"{platform.system()}-{platform.machine()}"
    installed = digest(
        [
            VERSION,
            sys.version,
            sys.prefix,
            str(use.folder),
            runner.given("requirements"),
            *_contents(sorted((tool / "bench_core").rglob("*.py"))),
            *_contents([tool / "pyproject.toml"]),
            *_contents(declaring(project, runner.given("requirements"))),
        ]
    )
    asked = digest([VERSION, installed, *(runner.given(name) for name in ASKED)])
    return Plan(
        base=base,
        head=head,
        environment=f"bench-core-environment-{scope}-{machine}-{installed}",
        evidence=f"bench-core-evidence-{scope}-{machine}-{asked[:16]}-{base}-{head}-",
        is_fork=bool(pull and pull.is_fork),
        is_isolated=is_isolated,
        pull_request=pull.number if pull else 0,
        use=use,
        outcome=named(OUTCOMES, use.artifact),
    )


def _isolated(asked: str, *, is_fork: bool) -> bool:
    from bench_core.errors import BenchCoreError

    if asked not in ("", "auto", "true", "false"):
        raise BenchCoreError(f"the input isolated is {asked!r}, and not auto, true or false.")
    return asked == "true" or (asked != "false" and is_fork)


def _base(project: Path, asked: str, head: str, pull: Pull | None, before: str) -> str:
    """The commit to compare with: the one that is asked for, the merge base of a pull request, the commit before a
    push, or the parent of head."""
    from bench_core import git
    from bench_core.errors import BenchCoreError

    if asked:
        return commit(project, asked)
    if pull is not None:
        try:
            return git.output(project, "merge-base", commit(project, pull.base), head).strip()
        except git.GitError as error:
            raise BenchCoreError(f"the two sides of the pull request have no common commit here. {DEEP}") from error
    return commit(project, before if before.strip("0") else f"{head}~1")


DEEP = "Check out the whole history: let the action do it, or give actions/checkout `fetch-depth: 0`."


def commit(project: Path, name: str) -> str:
    """The full hash of a commit.

    Raises:
        BenchCoreError: if the repository does not have it.
    """
    from bench_core import git
    from bench_core.errors import BenchCoreError

    try:
        # A branch that is not checked out is only known by its remote's name.
        names = [name, f"origin/{name}"] if not name.startswith("-") else []
        return next(found for one in names if (found := _known(project, one)))
    except StopIteration:
        raise BenchCoreError(f"{name[:80]!r} is no commit of the repository in {project}. {DEEP}") from None
    except git.MissingError:
        raise


def _known(project: Path, name: str) -> str:
    from bench_core import git

    try:
        return git.commit(project, name)
    except git.GitError:
        return ""


def declaring(project: Path, requirements: str) -> list[Path]:
    """The files that say what is installed: those of the project, and those that `requirements` names with ``-r`` or
    ``-c``."""
    found = {path for pattern in DECLARING for path in project.glob(pattern)}
    words = requirements.split()
    found |= {project / word for option, word in itertools.pairwise(words) if option in ("-r", "-c")}
    return sorted(path for path in found if path.is_file())


def _contents(paths: Iterable[Path]) -> Iterator[str]:
    """The name and the content of each file, as its digest."""
    for path in paths:
        yield f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def digest(parts: Iterable[str]) -> str:
    """A digest of texts. No other texts give the same one, also not the same text in other parts."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{len(part)}:{part}".encode(errors="surrogateescape"))
    return whole.hexdigest()[:40]


def main() -> int:
    from bench_core.ci import runner
    from bench_core.errors import BenchCoreError

    here = runner.here()
    try:
        made = plan(here, Path(__file__).resolve().parents[2], Path(here.named("GITHUB_WORKSPACE")))
        made.use.note()
        here.give(
            base=made.base,
            head=made.head,
            environment=made.environment,
            evidence=made.evidence,
            fork="true" if made.is_fork else "false",
            isolated="true" if made.is_isolated else "false",
            pull_request=str(made.pull_request or ""),
            artifact=made.use.artifact,
            outcome=made.outcome,
            folder=str(made.use.folder),
        )
    except BenchCoreError as error:
        here.notice(str(error), "error")
        return error.exit_code
    here.say(f"comparing head {made.head} with base {made.base}")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    sys.exit(main())
