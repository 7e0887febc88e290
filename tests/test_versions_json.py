"""The versions of a gate in JSON (docs/gate-json.md)."""

from dataclasses import dataclass

import pytest

from bench_core import codec
from bench_core.records.version import Commit, Install, Interpreter, Version, WorkingTree, commit_of

FLAT = {"name": "main", "commit": "c" * 40, "changed": [], "digest": "d", "benchmarks": "b", "packages": ["thing"]}
WITHOUT = {"commit": None, "benchmarks": ""}

KINDS = [
    (Commit("main", "c" * 40, "d", "b", ("thing",)), FLAT),
    (WorkingTree("c" * 40, ("x", "y"), "d", "b", ("thing",)), {**FLAT, "name": "working tree", "changed": ["x", "y"]}),
    (WorkingTree("c" * 40, (), "d", "b", ()), {**FLAT, "name": "working tree", "packages": []}),
    (Install("dep==1", "d", ("dep",)), {**FLAT, **WITHOUT, "name": "dep==1", "packages": ["dep"]}),
    (Interpreter("./python", "d"), {**FLAT, **WITHOUT, "name": "./python", "packages": []}),
]


@dataclass(frozen=True)
class Compared:
    """A record that holds versions."""

    base: Version
    code: Version | None


@pytest.mark.parametrize(("version", "flat"), KINDS)
def test_every_kind_of_version_has_the_same_keys_and_is_read_back_as_what_it_is(version, flat):
    for code in (version, None):
        content = codec.to_json(Compared(version, code))
        assert content == {"base": flat, "code": None if code is None else flat}
        assert codec.from_json(Compared, content) == Compared(version, code)


def test_a_damaged_version_is_named_with_its_place():
    with pytest.raises(codec.MalformedError, match="base: lacks digest"):
        codec.from_json(Compared, {"base": {name: FLAT[name] for name in FLAT if name != "digest"}, "code": None})


@pytest.mark.parametrize(("version", "flat"), KINDS)
def test_installs_and_interpreters_are_of_no_commit(version, flat):
    assert commit_of(version) == flat["commit"]
