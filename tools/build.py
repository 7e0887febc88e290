"""Builds the sdist and the wheel of the last commit, bit by bit the same wherever and whenever it is done.

`python -m tools.build` writes both to dist/. With `--twice`, it builds them in two folders with two umasks, and fails
if they differ.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from bench_core import git
from bench_core.cli.terminal import say

ROOT = Path(__file__).resolve().parent.parent

UMASKS = (0o022, 0o077)
"""The modes that files get in the first and the second build."""


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "dist", help="The folder to write."
)
@click.option("--twice", is_flag=True, help="Build twice, and fail if the files differ.")
def main(out: Path, twice: bool) -> None:
    """Build the sdist and the wheel of the last commit, with the setuptools of this environment."""
    found = []
    with TemporaryDirectory(prefix="bench-core-build-") as folder:
        for number, umask in enumerate(UMASKS[: 1 + twice]):
            made = Path(folder, f"{number}" * (1 + number))  # folders of different lengths
            made.mkdir()
            found.append(built(made, umask))
        digests = [{path.name: digest(path) for path in paths} for paths in found]
        out.mkdir(parents=True, exist_ok=True)
        for path in found[0]:
            shutil.copyfile(path, out / path.name)
            say(f"{digests[0][path.name]}  {out / path.name}")
    if twice:
        if digests[0] != digests[1]:
            raise click.ClickException(f"the second build differs: {digests[1]}.")
        say("Both builds are the same.")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def built(folder: Path, umask: int) -> list[Path]:
    """Build the sdist from a clone of the last commit, and the wheel from the sdist."""
    source, dist = folder / "source", folder / "dist"
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or git.output(ROOT, "log", "-1", "--format=%ct"))
    _call(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(source)], folder, epoch, umask)
    _call([sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", str(dist)], source, epoch, umask)
    (sdist,) = dist.glob("*.tar.gz")
    normalize(sdist, epoch)
    unpacked = folder / "unpacked"
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    _call([sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(dist)], tree, epoch, 0o022)
    return sorted(dist.iterdir())


def normalize(sdist: Path, epoch: int) -> None:
    """Write an sdist again, sorted and with nothing of the machine. setuptools keeps its users, modes and dates."""
    entries = []
    with tarfile.open(sdist) as archive:
        for entry in sorted(archive.getmembers(), key=lambda entry: entry.name):
            content = archive.extractfile(entry)
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = epoch, 0, 0, "", ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            entry.pax_headers = {}
            entries.append((entry, b"" if content is None else content.read()))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))
    sdist.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))


def _call(command: Sequence[str], folder: Path, epoch: int, umask: int) -> None:
    """Run a command, and show its output only if it fails."""
    variables = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"}
    done = subprocess.run(
        command, cwd=folder, env=variables, umask=umask, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
