"""What makes and tries the packages of a release."""

import io
import re
import tarfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench_core.compat import tomllib
from tools import installs, lock
from tools.build import normalize

ROOT = Path(__file__).parent.parent

NOON = 1_767_355_200


def packed(path, names, **entry):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            vars_of = {"mtime": 1, "uid": 7, "uname": "someone", "mode": 0o600, **entry}
            for key, value in vars_of.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(name.encode()))
    return path


def test_an_sdist_holds_nothing_of_the_machine_and_no_order_of_its_files(tmp_path):
    one = packed(tmp_path / "one.tar.gz", ["a", "b"])
    other = packed(tmp_path / "other.tar.gz", ["b", "a"], mtime=2, uid=8, uname="other", mode=0o640)
    for path in (one, other):
        normalize(path, NOON)
    assert one.read_bytes() == other.read_bytes()
    with tarfile.open(one) as archive:
        assert [(found.name, found.mode, found.mtime, found.uid) for found in archive] == [
            ("a", 0o644, NOON, 0),
            ("b", 0o644, NOON, 0),
        ]
        assert archive.extractfile("a").read() == b"a"


def test_the_lock_has_every_package_of_development_but_torch_with_hashes_and_names_no_registry():
    text = lock.LOCKED.read_text()
    locked = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", text)}
    here = [one for one in map(Requirement, lock.requirements("dev")) if one.marker is None]
    asked = {canonicalize_name(one.name) for one in here}
    assert asked <= locked
    assert "torch" not in locked
    assert not re.search(r"https?:|--index-url|--find-links|--trusted-host|file://", text)
    assert len(re.findall(r"(?m)^[\w.-]+==[^\n]+\\\n +--hash=sha256:", text)) == len(locked)


def test_the_supported_pythons_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r"Python :: 3\.", one)]
    assert named == list(installs.PYTHONS)
    assert project["requires-python"] == f">={installs.PYTHONS[0]}"


def test_the_actions_of_a_release_are_pinned_by_commit():
    used = re.findall(r"uses: (\S+)( # v[\d.]+)?", (ROOT / ".github/workflows/release.yml").read_text())
    assert used
    for action, version in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert version, action
