"""Files are written whole, and what cannot be written is found out before."""

import os
import sys
from pathlib import Path

import pytest

from bench_core.files import try_write, write_whole


def test_trying_to_write_changes_nothing(tmp_path):
    page = tmp_path / "page"
    try_write(page)
    assert list(tmp_path.iterdir()) == []
    page.write_text("as it was")
    os.utime(page, (1, 1))
    try_write(page)
    assert (page.read_text(), page.stat().st_mtime, list(tmp_path.iterdir())) == ("as it was", 1, [page])


def test_a_folder_and_a_file_in_no_folder_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError):
        try_write(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        try_write(tmp_path / "no" / "page")
    assert caught.value.strerror == f"there is no folder {tmp_path / 'no'}"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        try_write(tmp_path / "file" / "page")


@pytest.mark.skipif(sys.platform != "linux", reason="the device is Linux's")
def test_a_full_device_is_refused_and_an_open_one_is_not():
    try_write(Path("/dev/null"))
    with pytest.raises(OSError, match="No space left on device"):
        try_write(Path("/dev/full"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="nothing is read-only here")
def test_what_is_read_only_is_refused(tmp_path):
    page = tmp_path / "page"
    page.touch(0o444)
    with pytest.raises(PermissionError):
        try_write(page)
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        try_write(tmp_path / "other")


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such pipes")
def test_a_pipe_is_not_opened_before_it_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    try_write(pipe)  # opening it would wait for a reader
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "page")
    assert os.read(reader, 9) == b"page"
    os.close(reader)
