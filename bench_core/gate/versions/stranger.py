"""What a gate on a stranger's head (`--isolated`) asks for besides confined processes.

Both sides run base's benchmarks, with base's configuration of asv, so nothing of head runs in base's process. Versions
and evidence are kept apart from those of other gates.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path, PurePosixPath

from bench_core import watchdog
from bench_core.codec import to_json
from bench_core.errors import BenchCoreError
from bench_core.gate.versions.project import Project
from bench_core.gate.versions.revisions import Revision, entries_of, read_file
from bench_core.workers import child
from bench_core.workers.messages import Confinement

FOLDER = Path("bench-core", "isolated")
"""The folder of versions and evidence below asv's `env_dir`."""


def checked(project: Project, base: Revision) -> tuple[str, ...]:
    """Check that processes can be confined here, and that asv's configuration is base's.

    Returns:
        A sentence on what is not blocked here, if there is anything.

    Raises:
        BenchCoreError: if one does not hold.
    """
    path = (
        PurePosixPath(project.config.relative_to(project.root)) if project.config.is_relative_to(project.root) else None
    )
    entry = next((one for one in entries_of(project, base) if one.path == path), None)
    if path is not None and entry is None and project.config.exists():
        raise BenchCoreError(
            f"{base.name} has no {path}, and --isolated takes nothing from head but its package. Add the suite to "
            f"{base.name} first, or gate without --isolated."
        )
    if path is not None and entry is not None and read_file(project, base, entry) != _text(project.config):
        raise BenchCoreError(
            f"{path} differs from that of {base.name}, and it says which commands build a version. --isolated takes "
            f"nothing from head but its package: `git checkout {base.name} -- {path}`, or gate without --isolated."
        )
    missing = not_blocked()
    return (f"isolated, but not blocked here: {', '.join(missing)}.",) if missing else ()


def _text(config: Path) -> str:
    """What a configuration holds; "" if there is none, which differs from any that base has."""
    return config.read_text() if config.exists() else ""


def not_blocked() -> list[str]:
    """What confined processes can do here although they should not, one phrase each.

    Raises:
        BenchCoreError: if processes cannot be confined here.
    """
    with tempfile.TemporaryDirectory(prefix="bench-core-", dir=watchdog.room()) as folder:
        confined = json.dumps(to_json(Confinement(writable=(folder,), readable=())))
        command = [*child.command("bench_core.workers.isolation", "", Path(folder)), confined]
        asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        why = asked.stderr.strip().rpartition("\n")[2]
        raise BenchCoreError(
            f"--isolated is not possible here: {why}. Run the gate where it is, or in a container that holds nothing "
            "secret and is thrown away."
        )
    missing: list[str] = json.loads(asked.stdout)
    return missing
