"""The figures of the trials of kills and of gates in a row."""

from trials.kill import of_kill
from trials.soak import SETTLED, of_soak


def values(figures):
    return {figure.what: figure.value for figure in figures}


def test_kills_are_counted_by_what_they_leave():
    kill = {"kind": "gate", "after": 1.0, "gone": 0.1, "left": [], "faults": []}
    lines = [kill, {**kill, "left": ["process"]}, {"kind": "gate", "finished": 1, "same": False}]
    found = values(of_kill(lines))
    assert found["gate: kills after which something is left after 5 s"].startswith("1 of 2")
    assert found["gate: kills after which a result is damaged"].startswith("0 of 2")
    assert found["gate: runs to the end with another result"].startswith("1 of 1")
    assert not any(what.startswith("report") for what in found)


def gate(number, memory, **changes):
    held = {"memory": memory * 2**20, "descriptors": 6, "versions": min(number, 20)}
    usual = {
        "counts": {"pass": 3},
        "verdict": "pass",
        "control_rejects": False,
        "wall": 5.0,
        "process": "1",
        "held": held,
    }
    return {**usual, **changes}


def test_what_grows_is_counted_within_one_process_after_its_first_gates():
    lines = [gate(0, 900, process="0"), *(gate(number, 50 + number) for number in range(SETTLED + 5))]
    found = values(of_soak(lines))
    what = f"from gate {SETTLED + 1} to gate {SETTLED + 5} of one process"
    assert found[f"memory, {what}"] == "+4.0 MiB of 60 MiB"
    assert found[f"descriptors, {what}"] == "+0 of 6"
    assert found[f"versions, {what}"] == "at most 14"
    assert found["gates that are red"].startswith(f"0 of {SETTLED + 6}")


def test_false_alarms_of_gates_in_a_row_are_counted():
    lines = [gate(0, 50), gate(1, 50, verdict="regression", counts={"regression": 1, "pass": 2})]
    found = values(of_soak(lines))
    assert found["gates that are red"].startswith("1 of 2")
    assert found["cells that are red"].startswith("1 of 6")
