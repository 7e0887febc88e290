"""That instructions are read as callgrind wrote them, and that each way to fail has a message of its own."""

import os
import shutil

import pytest

from bench_core.errors import BenchCoreError
from bench_core.gate.why import instructions
from bench_core.gate.why.cause import InstructionCounts
from bench_core.gate.why.instructions import count, counts_of, functions
from bench_core.workers.messages import Dumps

CALLS = """
import thing


class Walk:
    number = 1

    def setup(self):
        self.lengths = [100]

    def time_walk(self):
        thing.walk(self.lengths.pop())


def time_broken():
    thing.broken()
"""
BASE = "def walk(count):\n    for _ in range(count):\n        pass\ndef broken():\n    pass\n"
HEAD = BASE.replace("range(count)", "range(2 * count)").replace("broken():\n    pass", "broken():\n    1 / 0")

DUMP = """# callgrind format
version: 1
positions: line
events: Ir
summary: 0

ob=(2) /lib/libc.so
fl=(1) malloc.c
fn=(1) malloc
0 10
cob=(3) /lib/libthing.so
cfi=(4) thing.c
cfn=(5) walk
calls=1 7
0 999
+3 5

ob=(3)
fl=(4)
fn=(5)
0 20
fi=(1)
* 2
fn=(6) 0x0000000000001234
-2 7

totals: 44
"""


def test_instructions_of_a_call_belong_to_what_is_called():
    found = functions(DUMP.splitlines())
    assert (found.counts, found.total()) == ({"malloc": 15, "walk": 22, "unnamed in libthing.so": 7}, 44)


@pytest.mark.parametrize(
    ("file", "is_interpreter"),
    [
        ("/usr/local/lib/libpython3.11.so.1.0", True),
        ("/usr/bin/python3.13", True),
        ("/usr/bin/python3", True),
        ("/opt/libpython3.14t.so", True),
        ("/lib/libthing.so", False),
        ("/venv/lib/python3.11/site-packages/thing/walk.cpython-311-x86_64-linux-gnu.so", False),
        ("/lib/libpython3.11_helper.so", False),
    ],
)
def test_a_function_belongs_to_the_interpreter_if_the_interpreters_file_holds_it(file, is_interpreter):
    found = functions(DUMP.replace("/lib/libthing.so", file).splitlines())
    assert ("walk" in found.of_interpreter) is is_interpreter
    assert "malloc" not in found.of_interpreter


def test_a_count_is_the_median_less_what_counting_takes(tmp_path):
    def dump(name, count):
        path = tmp_path / name
        path.write_text(f"fn=(1) work\n0 {count}\n")
        return str(path)

    dumps = Dumps(2, (dump("a", 210), dump("b", 9000), dump("c", 214)), dump("empty", 14))
    assert counts_of(dumps) == InstructionCounts(100, {"work": 100})


def test_a_missing_valgrind_is_named_with_what_to_install(sides, monkeypatch):
    made = sides(CALLS, BASE)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchCoreError, match="valgrind is not installed.*apt-get install valgrind"):
        count(made.subjects, ["calls.Walk.time_walk"], lambda line: None)
    assert made.left_behind() == []


def test_another_kind_of_machine_is_named(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(BenchCoreError, match="only on Linux on x86_64, and this is .* on arm64"):
        instructions.require_valgrind()


TOO_OLD = """#!/bin/sh
case "$1" in --version) echo valgrind-3.1.0; exit;; esac
for word; do case "$word" in --log-file=*) log="${word#--log-file=}";; esac; done
echo "vex amd64->IR: unhandled instruction bytes: 0x62 0xF1 0x7C 0x48" >> "$log"
kill -ILL $$
"""


def test_a_valgrind_that_is_too_old_is_named_with_the_instruction(sides, monkeypatch):
    made = sides(CALLS, BASE)
    fake = made.root / "bin" / "valgrind"
    fake.parent.mkdir()
    fake.write_text(TOO_OLD)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BenchCoreError) as raised:
        count(made.subjects, ["calls.Walk.time_walk"], lambda line: None)
    assert str(raised.value) == (
        "instructions cannot be counted: valgrind-3.1.0 does not know an instruction (0x62 0xF1 0x7C 0x48) that this "
        "code executes on this processor. Install a newer valgrind."
    )
    assert made.left_behind() == []


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind, which is not installed")
@pytest.mark.thorough
def test_twice_the_work_is_twice_the_instructions(sides):
    made = sides(CALLS, BASE, HEAD)
    found = count(made.subjects, ["calls.Walk.time_walk", "calls.time_broken"], lambda line: None)
    base, head = found.counts["calls.Walk.time_walk"]
    assert head.total / base.total == pytest.approx(2, rel=0.15)
    assert head.functions.keys() > {"list_pop"}
    assert found.failed == {"calls.time_broken": "head: ZeroDivisionError: division by zero (thing/__init__.py:5)"}
    assert made.left_behind() == []
