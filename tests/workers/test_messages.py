"""Every line between processes arrives as it was sent, and what is no message is one clear error."""

import inspect
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from multiprocessing import connection
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from bench_core.codec import Tagged
from bench_core.workers import child, messages
from bench_core.workers.messages import (
    INSPECTOR,
    NURSERY,
    PROBE,
    RECORDER,
    REPORTS,
    SPAWNED,
    TURNS,
    CellRead,
    Dialogue,
    NurseryTask,
    PairTask,
    WorkerBroken,
)
from bench_core.workers.nursery import _Watch

UNIONS = {
    **{
        f"{one.process}.{way}": getattr(one, way)
        for one in (PROBE, NURSERY, RECORDER, INSPECTOR)
        for way in ("tasks", "answers")
    },
    **{"REPORTS": REPORTS, "SPAWNED": SPAWNED, "TURNS": TURNS},
}
ALL = [(name, kind) for name, union in UNIONS.items() for kind in union.kinds]


def example(hint):
    """Some value of a type, with everything that can be there."""
    if is_dataclass(hint):
        types = get_type_hints(hint)
        return hint(**{field.name: example(types[field.name]) for field in fields(hint)})
    if hint in EXAMPLES:
        return EXAMPLES[hint]
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return arguments[-1]
    if get_origin(hint) in (tuple, list):
        return get_origin(hint)([example(arguments[0])] * 2)
    if get_origin(hint) is Mapping:
        return {example(arguments[0]): example(arguments[1])}
    return example(arguments[0])  # a union with None


EXAMPLES = {str: "two\nlines, ü, \0", int: 7, float: 0.1 + 0.2, bool: True, Any: [1, {"a": None}]}

ECHO = """
import sys
from tests_of_messages import UNIONS
for line in sys.stdin:
    name, _, line = line.partition(" ")
    print(UNIONS[name].line(UNIONS[name].read(line)), flush=True)
""".replace("from tests_of_messages import UNIONS", "from bench_core.workers.messages import *\n{}")


@pytest.fixture(scope="module")
def echo():
    """Sends a message to another process, which reads it and writes it back."""
    names = (f"{name!r}: {name.replace(name.split('.')[0], name.split('.')[0].upper(), 1)}" for name in UNIONS)
    code = ECHO.format(f"UNIONS = {{{', '.join(names)}}}")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:

        def send(name, message):
            process.stdin.write(f"{name} {UNIONS[name].line(message)}\n")
            return UNIONS[name].read(process.stdout.readline())

        yield send
        process.stdin.close()


@pytest.mark.parametrize(("union", "kind"), ALL, ids=lambda one: getattr(one, "__name__", one))
def test_every_message_arrives_in_another_process_as_it_was_sent(echo, union, kind):
    message = example(kind)
    assert echo(union, message) == message


def test_every_dataclass_of_messages_is_in_a_message():
    def parts(hint):
        inner = [field.type for field in fields(hint)] if is_dataclass(hint) else get_args(hint)
        return {hint}.union(*(parts(one) for one in inner))

    sent = set().union(*(parts(kind) for _, kind in ALL))
    assert {one for _, one in inspect.getmembers(messages, inspect.isclass) if is_dataclass(one)} - sent == {Dialogue}
    assert {one for _, one in inspect.getmembers(messages, lambda one: isinstance(one, Tagged))} <= set(UNIONS.values())


def test_a_value_that_is_no_number_is_not_taken_for_none(echo):
    read = CellRead("head", "a.track_a", None, math.nan, nothing=False)
    again = echo("REPORTS", read)
    assert math.isnan(again.value)
    assert replace(again, value=0.0) == replace(read, value=0.0)


@pytest.mark.parametrize(
    ("process", "module"),
    [
        *((one.process, one.module) for one in (PROBE, NURSERY, INSPECTOR)),
        ("worker", "bench_core.workers.role"),
    ],
)
def test_a_process_that_is_sent_no_message_ends_with_one_sentence(process, module):
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()"],
        input='{"message": "Nonsense"}\n',
        capture_output=True,
        text=True,
        check=False,
    )
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"the {process} was sent a line that is no message")
    assert "Nonsense" in said
    assert done.returncode == 1


def test_a_process_that_writes_no_message_is_named_with_what_it_wrote(tmp_path, monkeypatch):
    (tmp_path / "babbling.py").write_text('def main():\n    print(\'{"message": "Nonsense"}\')\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with child.Watchdog() as watchdog:
        started = child.Child(replace(PROBE, module="babbling"), 0, watchdog)
        with pytest.raises(child.LostError, match=r"^\(probe\) wrote a line that is no message: .*Nonsense"):
            started.answer()
        started.close()


@pytest.mark.parametrize("wrote", ["'x'", "'x\\n'", "'x' * 100"])
def test_a_process_that_does_not_stop_to_write_is_lost_before_memory_is(tmp_path, monkeypatch, wrote):
    monkeypatch.setattr(child, "LONGEST", 100_000)
    (tmp_path / "babbling.py").write_text(
        f"import sys\n\ndef main():\n    while True:\n        sys.stdout.write({wrote})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with child.Watchdog() as watchdog:
        started = child.Child(replace(PROBE, module="babbling"), 0, watchdog)
        started._readers[0].join(timeout=60)
        assert not started._readers[0].is_alive()
        found = []
        while not found or "has ended" not in found[-1]:
            with pytest.raises(child.LostError) as caught:
                started.answer()
            found.append(str(caught.value))
        assert any("(probe) wrote more than 100,000 characters" in said for said in found)
        assert len(found) < 60_000
        started.close()


def test_a_worker_that_reports_no_message_is_named_with_what_it_wrote():
    ours, theirs = connection.Pipe(duplex=False)
    theirs.send_bytes(b"nonsense")
    lines = []
    task = NurseryTask({}, "cases", (), core=None, start="fork", memory=None)
    pair = PairTask(0, 1, "head", {}, (), timeout=20.0)
    watch = _Watch(task, pair, {}, {"head": ours}, memoryview(bytearray(16)).cast("Q"), lines.append)
    assert watch.imported() == ()
    (said,) = (NURSERY.answers.read(line) for line in lines)
    assert isinstance(said, WorkerBroken)
    assert (said.role, "nonsense" in said.cause) == ("head", True)
    ours.close()
    theirs.close()


USES = """
import psutil


def time_value():
    assert psutil.SIDE == "fake"
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_versions_that_provide_what_our_part_of_a_worker_needs_are_measured(sides, start):
    names = ("psutil",)
    made = sides(USES, {f"{name}/__init__.py": "SIDE = 'fake'\n" for name in names})
    base, head = (
        replace(side, version=replace(side.version, packages=names))
        for side in (made.subjects.base, made.subjects.head)
    )
    made.subjects = replace(made.subjects, base=base, head=head)
    gate = made.measure(until=lambda gate: gate.dossiers[0].effects or gate.dossiers[0].error, start=start)
    assert gate.dossiers[0].error is None
    assert gate.dossiers[0].effects
