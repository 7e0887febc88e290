"""What a process has started and made does not outlive it, even if it is killed."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from bench_core import watchdog
from bench_core.files import write_whole
from bench_core.watchdog import Watchdog

KILLED = """
import json, os, signal, subprocess, sys, tempfile
from pathlib import Path
from bench_core import watchdog
from bench_core.files import write_whole

def start(*options, **more):
    code = "import os, signal; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True); signal.pause()"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **more)
    return int(child.stdout.readline())

outside = Path(sys.argv[1])
with watchdog.Watchdog(), watchdog.Watchdog() as inner:
    Path(tempfile.mkdtemp(dir=watchdog.room()), "file").touch()
    beside = outside / "making"
    with watchdog.vanishing(beside):
        beside.mkdir()
        (beside / "file").touch()
        left = [start(env=watchdog.variables(os.environ))]
        print(json.dumps({"left": left, "folder": str(inner.folder)}), flush=True)
        KILLS
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def killed(tmp_path, kills):
    """Run the program above until it kills itself. Returns what it said, after its watchdog has ended too."""
    before = psutil.Process().children()
    code = KILLED.replace("KILLS", kills)
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        said = json.loads(process.stdout.readline())
        children = [one for one in psutil.Process(process.pid).children() if one not in before]
        process.stdin = None
        process.kill()
        process.wait()
    assert psutil.wait_procs(children, timeout=10)[1] == []
    return said


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux shows the environment of a process")
def test_what_a_killed_process_has_started_and_made_is_gone(tmp_path, temporary):
    said = killed(tmp_path, "signal.pause()")
    assert not any(map(psutil.pid_exists, said["left"]))
    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "making").exists()


def test_a_process_that_is_killed_as_it_writes_leaves_the_old_file_alone(tmp_path, temporary):
    (tmp_path / "page").write_text("old")
    killed(tmp_path, "Path.replace = lambda *_: signal.pause(); write_whole(outside / 'page', 'new')")
    assert (tmp_path / "page").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page", "temporary"]


def test_the_watchdog_of_an_inner_block_has_no_process_of_its_own(temporary):
    before = psutil.Process().children()
    with Watchdog() as outer:
        started = set(psutil.Process().children()) - set(before)
        with Watchdog() as inner:
            assert set(psutil.Process().children()) - set(before) == started
            assert inner.folder.parent == outer.folder
            assert watchdog.room() == inner.folder
        assert not inner.folder.exists()
        assert watchdog.room() == outer.folder
    assert watchdog.room() is None
    assert (psutil.Process().children(), list(temporary.iterdir())) == (before, [])


def test_without_a_watchdog_everything_works_as_usual(tmp_path):
    assert watchdog.variables({"A": "1"}) == {"A": "1"}
    with watchdog.vanishing(tmp_path / "x"), watchdog.ending(1):
        write_whole(tmp_path / "x", "text")
    assert (tmp_path / "x").read_text() == "text"


def test_a_folder_is_known_to_the_watchdog_before_it_is_made(monkeypatch, temporary):
    def refuse(path, mode):
        started.extend(process for process in psutil.Process().children() if process not in before)
        raise OSError("no room")

    before, started = psutil.Process().children(), []
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OSError, match="no room"):
        Watchdog()
    assert len(started) == 1
    assert psutil.Process().children() == before
