"""Confines a process that runs a stranger's code: where it writes and reads, whom it signals, and the network.

Landlock (Linux 6.2 or newer) takes rights away from a process and from all that it starts, for good, and needs no
rights itself. A network namespace leaves a process nothing but its own localhost. Where the system grants none,
Landlock blocks TCP from Linux 6.7 on. From 6.12 on, it also blocks signals to other processes.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import itertools
import json
import os
import resource
import shutil
import socket
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench_core.codec import from_json
from bench_core.workers.messages import Confinement

SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/opt", "/etc", "/nix", "/proc", "/sys", "/dev")
"""Folders of the system that may be read."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm")
"""Devices that may be written, and the folder of shared memory, which multiprocessing needs."""

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls, the same on all architectures."""

BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""The number of rights to files that each version of Landlock knows; later ones know as many as the last."""

READING = 0b1101
"""Landlock's rights to execute and read files, and to list folders."""

OF_FILES = 0xC007
"""The rights that a file can have, which is no folder: execute, write, read, truncate, ioctl."""

VERSION_OF_TRUNCATE, VERSION_OF_TCP, VERSION_OF_SIGNALS = 3, 4, 6
"""The versions of Landlock from which it restricts these. Without the first, files could be emptied."""


class IsolationError(Exception):
    """A process cannot be confined here. The text is the reason."""


def confine(confined: Confinement) -> list[str]:
    """Confine this process and all that it starts. It gets a folder for temporary files of its own.

    Returns:
        What is not blocked here, one phrase each.

    Raises:
        IsolationError: if the file system cannot be closed.
    """
    own = Path(confined.writable[0], "temporary")
    own.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)
    version = _call(CREATE_RULESET, 0, 0, 1)
    if version < VERSION_OF_TRUNCATE:
        found = f"has Landlock's version {version}" if version > 0 else "has no Landlock"
        raise IsolationError(f"the system {found}, and version {VERSION_OF_TRUNCATE} is needed (Linux 6.2 or newer)")
    missing = []
    apart = _leave_network()
    _give_up_rights()
    _limit_files(own)
    _restrict(confined, version, tcp=not apart)
    if not apart and version < VERSION_OF_TCP:
        missing.append("the network (neither network namespaces nor Linux 6.7)")
    elif not apart:
        missing.append("UDP (no network namespaces here)")
    if version < VERSION_OF_SIGNALS:
        missing.append("signals to other processes (Linux 6.12)")
    return missing


def main() -> None:
    """Run the command after the first argument, confined as that one says, a `Confinement` as JSON. Without a command,
    print what is not blocked here, as JSON."""
    confined, *command = sys.argv[1:]
    try:
        missing = confine(from_json(Confinement, json.loads(confined)))
    except IsolationError as error:
        raise SystemExit(str(error)) from None
    if command:
        os.execvp(command[0], command)
    sys.stdout.write(json.dumps(missing))


def _call(number: int, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    return int(library.syscall(number, *arguments))


def _leave_network() -> bool:
    """Enter a network namespace of our own, with its localhost. Returns whether that is possible here."""
    library, user, network = ctypes.CDLL(None, use_errno=True), os.getuid(), 0x40000000
    group = os.getgid()
    if library.unshare(network) != 0:
        if library.unshare(0x10000000 | network) != 0:  # as the owner of a new user namespace
            return False
        with suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:  # bring localhost up
        name, up, set_flags = b"lo", 1, 0x8914
        fcntl.ioctl(asked, set_flags, struct.pack("16sH14s", name, up, b""))
    return True


def _give_up_rights() -> None:
    """Give up what root may do besides reading and writing all files: it could look into other processes."""
    version, of_files = 0x20080522, 0b11111
    header = struct.pack("Ii", version, 0)
    ctypes.CDLL(None).capset(header, struct.pack("6I", of_files, of_files, 0, 0, 0, 0))


def _limit_files(folder: Path) -> None:
    """Let no file become larger than half of what is free now, and no crash leave an image of the memory."""
    free = shutil.disk_usage(folder).free // 2
    for limit, most in ((resource.RLIMIT_FSIZE, free), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # it is lower already
            resource.setrlimit(limit, (most, most))


def _restrict(confined: Confinement, version: int, *, tcp: bool) -> None:
    everything = (1 << BY_VERSION.get(version, max(BY_VERSION.values()))) - 1
    words = [everything]
    if version >= VERSION_OF_TCP:
        words.append(0b11 if tcp else 0)
    if version >= VERSION_OF_SIGNALS:
        words.append(0b10)
    attributes = struct.pack(f"{len(words)}Q", *words)
    rules = _call(CREATE_RULESET, attributes, len(attributes), 0)
    if rules < 0:
        raise IsolationError(f"Landlock refuses: {os.strerror(ctypes.get_errno())}")
    for path in {*SYSTEM, *_of_python(), *confined.readable}:
        _allow(rules, path, READING & everything)
    for path in (*DEVICES, *confined.writable):
        _allow(rules, path, everything)
    no_new_rights = 38
    ctypes.CDLL(None).prctl(no_new_rights, 1, 0, 0, 0)  # needed, and so no program gets other rights, such as sudo
    if _call(RESTRICT_SELF, rules, 0) != 0:
        raise IsolationError(f"Landlock refuses: {os.strerror(ctypes.get_errno())}")
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # there is no such folder here
        return
    is_folder = Path(path).is_dir()
    rule = struct.pack("=Qi", rights if is_folder else rights & OF_FILES, file)
    added = _call(ADD_RULE, rules, 1, rule, 0)
    os.close(file)
    if added != 0:
        raise IsolationError(f"Landlock refuses a rule for {path}: {os.strerror(ctypes.get_errno())}")


def show_repositories(folder: Path) -> None:
    """Let a process that is confined later import from the repositories in its import path. It cannot list them, so
    Python would find nothing there, and perhaps another copy of the same package behind them. Folders of links to what
    stays open come before them.

    Args:
        folder: for these folders. The process must not be able to write to it, if others use it too.
    """
    shown = {}
    for root in filter(_is_repository, list(dict.fromkeys(sys.path))):
        links = folder / hashlib.sha256(root.encode(errors="surrogateescape")).hexdigest()[:16]
        links.mkdir(parents=True, exist_ok=True)
        for path in _visible(root):
            with suppress(FileExistsError):
                (links / Path(path).name).symlink_to(path)
        sys.path.insert(sys.path.index(root), str(links))
        shown[root] = str(links)
    if named := os.environ.get("PYTHONPATH"):  # for the processes that this one starts
        both = ([shown[path], path] if path in shown else [path] for path in named.split(os.pathsep))
        os.environ["PYTHONPATH"] = os.pathsep.join(itertools.chain.from_iterable(both))


def _of_python() -> Iterator[str]:
    """The folders that Python imports from; of a repository what is visible in it."""
    for path in {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path}:
        if _is_repository(path):
            yield from _visible(path)
        elif path:
            yield path


def _is_repository(path: str) -> bool:
    """Whether a folder that Python imports from is a repository, such as a project that is installed in place. Its
    hidden folders stay closed: git's configuration may hold the token of a CI service."""
    return Path(path, ".git").exists()


def _visible(root: str) -> list[str]:
    return [str(path) for path in Path(root).iterdir() if not path.name.startswith(".")]
