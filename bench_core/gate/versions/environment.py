"""The environment variables that the versions get: a list of known ones, and those that base's sources name.

A change may come from a stranger, and variables hold tokens. Both sides get the same, since variables change times.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from bench_core import git
from bench_core.gate.versions.project import Project
from bench_core.gate.versions.revisions import Revision
from bench_core.gate.versions.surroundings import LIBRARIES, OF_THE_TERMINAL, SHORTEST_BEGINNING

KNOWN = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "CI"),
        *("VIRTUAL_ENV", "CC", "CXX", "CPP", "FC", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "FFLAGS", "LDFLAGS", "RUSTFLAGS"),
        *("NVCC_FLAGS", "CMAKE_ARGS", "ARCHFLAGS", "JAVA_HOME", "SOURCE_DATE_EPOCH"),
        *OF_THE_TERMINAL,
    }
)
"""Variables that say nothing secret, and that programs need."""

KNOWN_BEGINNINGS = (*LIBRARIES, "LC_", "XDG_", "CONDA_", "ASV_", "SETUPTOOLS_SCM_")
"""The beginnings of the names of such variables."""

SECRET = re.compile(
    r"TOKEN|SECRET|PASS(W|PHRASE)|PWD\Z|CREDENTIAL|PRIVATE|COOKIE|AUTH|SESSION|(API|ACCESS|SIGNING)_?KEY|_KEY\Z"
)
"""Names of variables that are handed on only if a person says so, whatever names them."""

SOURCES = ("*.py", "*.pyx", "*.pxi", "*.pxd", "*.c", "*.cc", "*.cpp", "*.cu", "*.h", "*.hpp", "*.rs", "*.f90")
"""The files of a revision that are searched for names."""


def handed_on(
    environment: Mapping[str, str], project: Project, revision: Revision, also: Collection[str]
) -> dict[str, str]:
    """The variables of an environment that the versions get.

    Args:
        revision: the one whose sources are trusted to name variables: base.
        also: names of variables that are handed on in any case.
    """
    kept = {name for name in environment if name in KNOWN or name.startswith(KNOWN_BEGINNINGS)}
    kept |= named_in(project, revision, set(environment) - kept)
    kept = {name for name in kept if name in OF_THE_TERMINAL or not SECRET.search(name.upper())}
    return {name: value for name, value in environment.items() if name in kept or name in also}


def named_in(project: Project, revision: Revision, names: Iterable[str]) -> set[str]:
    """Those of the names that stand in the sources of a revision, or begin as a name there that ends in an
    underscore, such as ``CASE_`` in ``f"CASE_{name}"``."""
    beginnings = {name: {name, *_beginnings(name)} for name in names}
    words = sorted(set().union(*beginnings.values()))
    if not words:
        return set()
    options = [part for word in words for part in ("-e", word)]
    try:
        found = git.output(
            project.root,
            *("grep", "-h", "-o", "-w", "-F", "-I", *options, revision.tree, "--", *SOURCES),
            variables=revision.variables,
        )
    except git.GitError:  # it finds none
        return set()
    there = set(found.split())
    return {name for name, mine in beginnings.items() if mine & there}


def _beginnings(name: str) -> set[str]:
    ends = [match.end() for match in re.finditer("_", name)]
    return {name[:end] for end in ends if SHORTEST_BEGINNING <= end < len(name)}
