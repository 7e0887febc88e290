import io
from dataclasses import replace

import pytest
from rich.console import Console

from bench_core.doctor import findings, text
from bench_core.doctor.findings import Severity
from bench_core.doctor.machine import Machine, Software, TorchBuild

SOFTWARE = Software(
    "CPython 3.12.1",
    {"bench_core": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6", "asv": "0.6.6"},
    TorchBuild(threads=1, capability="AVX2", blas="mkl", onednn="3.12.0"),
)
# Eight cores, pinned to the last, governor, turbo and the rest as this very command advises.
TUNED = Machine(
    system="Linux",
    os="Ubuntu 24.04 LTS",
    kernel="6.8.0",
    cpu="Xeon",
    logical=8,
    groups=frozenset(frozenset({core}) for core in range(8)),
    physical=8,
    usable=frozenset({7}),
    isolated=frozenset({6, 7}),
    caches={"L1d": 32 << 10, "L3": 16 << 20},
    memory_total=64 << 30,
    memory_available=60 << 30,
    swap_used=0,
    load=0.1,
    governors={"performance": 1},
    driver="intel_pstate",
    turbo=False,
    turbo_switch="intel_pstate/no_turbo",
    smt_switch="off",
    hot=0,
    huge_pages="madvise",
    randomized=2,
    virtual=False,
    stolen=0.0,
    software=SOFTWARE,
)
PAIRS = frozenset(frozenset({core, core + 4}) for core in range(4))
LAPTOP = replace(
    TUNED,
    groups=PAIRS,
    physical=4,
    usable=frozenset(range(8)),
    isolated=frozenset(),
    governors={"powersave": 8},
    turbo=True,
    smt_switch="on",
    hot=12,
    huge_pages="always",
    on_battery=True,
)
GUEST = replace(
    TUNED,
    logical=2,
    physical=2,
    groups=frozenset({frozenset({0}), frozenset({1})}),
    usable=frozenset({0, 1}),
    isolated=frozenset(),
    governors=None,
    driver=None,
    turbo=None,
    turbo_switch=None,
    hot=None,
    virtual=True,
    hypervisor="QEMU",
    stolen=0.002,
)
CONTAINER = replace(GUEST, container="docker", quota=1.5, quota_periods=200, quota_stopped=30, virtual=False)
BUSY = replace(TUNED, load=7.6)
ELSEWHERE = Machine(system="Darwin", os="Darwin 23.1.0", cpu="arm", logical=10, physical=10, load=9.8, on_battery=True)


def checks(machine):
    """The name of each finding, by its first words."""
    known = {
        "The load": "load",
        "A CPU quota": "quota",
        "Only": "memory",
        "This process is not pinned": "unpinned",
        "The scaling governor": "governor",
        "The machine runs on battery": "battery",
        "This is a virtual machine": "virtual",
        "torch starts": "threads",
        "Cores have slowed down": "hot",
        "Hardware threads": "smt",
        "Turbo": "turbo",
        "Transparent huge pages": "huge pages",
    }
    return [
        next(name for start, name in known.items() if finding.what.startswith(start))
        for finding in findings.findings(machine)
    ]


def only(machine):
    (finding,) = findings.findings(machine)
    return finding


def printed(machine, width=100):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(text.report(machine))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_a_tuned_machine_has_no_findings_and_hides_nothing():
    assert findings.findings(TUNED) == ()
    assert findings.unseen(TUNED) == ()
    assert printed(TUNED).startswith("Nothing was found that disturbs timings on this machine.\n\nVersions")


def test_findings_come_in_order_of_importance():
    everything = replace(
        LAPTOP,
        load=9.0,
        quota=0.5,
        memory_available=1 << 30,
        virtual=True,
        stolen=0.02,
        software=replace(SOFTWARE, torch=TorchBuild(threads=64)),
    )
    assert checks(everything) == [
        *("load", "quota", "memory"),
        *("unpinned", "governor", "battery", "virtual", "threads"),
        *("hot", "smt", "turbo", "huge pages"),
    ]
    severities = [finding.severity for finding in findings.findings(everything)]
    assert severities == [Severity.SPOILS] * 3 + [Severity.DISTURBS] * 5 + [Severity.MINOR] * 4


def test_a_mild_finding_never_precedes_a_severe_one():
    found = findings.findings(replace(CONTAINER, quota=0.5, load=1.0))  # a load of 1 of 2 cores disturbs only
    assert [finding.severity for finding in found] == sorted(finding.severity for finding in found)
    assert found[0].what.startswith("A CPU quota")


@pytest.mark.parametrize("machine", [LAPTOP, GUEST, CONTAINER, BUSY, ELSEWHERE, Machine(), Machine(load=9, logical=2)])
def test_every_finding_ends_in_the_next_step(machine):
    for finding in findings.findings(machine):
        assert finding.action.endswith(":" if finding.command else "."), finding


def test_a_machine_that_says_nothing_has_no_findings_and_says_what_is_not_visible():
    assert findings.findings(Machine()) == ()
    assert len(findings.unseen(Machine())) == 9
    assert "Not visible from here: load, cores this process may use, memory" in printed(Machine())


@pytest.mark.parametrize(
    ("load", "cores", "severity"),
    [
        (0.2, 1, None),
        (0.3, 1, Severity.SPOILS),
        (0.7, 2, None),
        (1.2, 2, Severity.DISTURBS),
        (1.3, 2, Severity.SPOILS),
        (16.0, 64, None),
        (17.0, 64, Severity.DISTURBS),
        (63.5, 64, Severity.SPOILS),
    ],
)
def test_load_spoils_timings_when_it_leaves_no_core_free(load, cores, severity):
    found = findings.findings(replace(TUNED, load=load, physical=cores))
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])


def test_a_quota_below_one_core_spoils_and_says_for_how_long_it_stops_a_thread():
    finding = only(replace(TUNED, quota=0.4))
    assert finding.severity is Severity.SPOILS
    assert "for 60 % of the time" in finding.effect
    assert finding.command == "cat /proc/self/cgroup"


def test_a_quota_that_covers_every_usable_core_is_no_finding():
    assert "quota" in checks(replace(TUNED, quota=1.5, usable=frozenset({6, 7})))
    assert "quota" not in checks(replace(TUNED, quota=2, usable=frozenset({6, 7})))
    assert findings.findings(replace(TUNED, quota=1.5)) == ()


def test_a_broken_quota_is_answered_with_as_many_cores_as_it_covers():
    finding = findings.findings(replace(CONTAINER, quota=2.5, usable=frozenset(range(4)), logical=4))[-1]
    assert finding.command == "taskset --cpu-list 2-3 bench-core run"
    assert all(part in finding.what for part in ("2.5 of 4", "30 of 200 periods"))


def test_the_limit_of_a_control_group_limits_the_available_memory():
    finding = only(replace(TUNED, memory_limit=1 << 30))
    assert all(part in finding.what for part in ("1.00 GiB", "control group"))


def test_a_governor_of_the_lowest_frequency_is_distinguished_from_one_that_follows_the_load():
    def effect(driver):
        return only(replace(TUNED, driver=driver, governors={"powersave": 1})).effect

    assert "lowest" in effect("acpi-cpufreq")
    assert effect("intel_pstate").startswith("The frequency follows the load")
    assert findings.findings(replace(TUNED, governors={"userspace": 1})) == ()


def test_stolen_time_counts_from_the_noise_floor_on():
    pinned = replace(GUEST, usable=frozenset({1}))
    assert "1.0 %" in only(replace(pinned, stolen=0.01)).what
    assert "0.9 %" in only(replace(pinned, stolen=0.009)).what
    assert only(replace(pinned, stolen=None)).what == "This is a virtual machine (QEMU)."


def test_in_a_guest_the_hosts_governor_is_reported_as_invisible():
    pinned = replace(GUEST, usable=frozenset({1}))
    assert "visible only on the host" in only(pinned).effect
    assert "cannot be seen" not in only(replace(pinned, governors={"performance": 1})).effect


def test_the_core_to_pin_to_is_isolated_then_fast_then_last():
    free = replace(TUNED, usable=frozenset(range(6)))
    assert findings.best_core(free) == 7
    assert findings.best_core(replace(free, isolated=frozenset())) == 5
    assert findings.best_core(replace(free, isolated=frozenset(), efficiency=frozenset({4, 5, 6, 7}))) == 3
    assert findings.best_core(replace(free, container="docker")) == 5  # its cpuset does not hold 6 and 7
    assert findings.best_core(replace(free, system="Darwin")) is None


def test_settings_of_the_kernel_are_changed_outside_the_container():
    def actions(machine):
        return [f.action for f in findings.findings(machine) if "sudo" in f.command]

    assert all(action[0].isupper() and "host" not in action for action in actions(LAPTOP))
    inside = actions(replace(LAPTOP, container="podman"))
    assert len(inside) == 4
    assert all(action.startswith("On the host, outside the container, ") for action in inside)


def test_in_a_guest_no_action_is_advised_that_it_cannot_take():
    finding = next(f for f in findings.findings(replace(LAPTOP, virtual=True)) if f.what.startswith("Hardware threads"))
    assert finding.command == ""
    assert "core 3, the sibling of 7" in finding.action


@pytest.mark.parametrize(
    ("switch", "command"),
    [
        ("intel_pstate/no_turbo", "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"),
        ("cpufreq/boost", "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
        ("cpufreq/policy0/boost", "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/policy*/boost"),
    ],
)
def test_turbo_is_switched_off_by_the_switch_that_this_machine_has(switch, command):
    assert only(replace(TUNED, turbo=True, turbo_switch=switch)).command == command


def test_more_threads_than_usable_cores_names_the_variable_s_number():
    software = replace(SOFTWARE, torch=TorchBuild(threads=16))
    finding = only(replace(TUNED, software=software, variables={"OMP_NUM_THREADS": "16"}))
    assert all(part in finding.what for part in ("16 threads", "1 core (the environment asks for 16)"))
    assert finding.command == "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"


def test_other_systems_get_their_own_commands():
    assert checks(ELSEWHERE) == ["load", "battery"]
    assert findings.findings(ELSEWHERE)[0].command == "top -o cpu"
    assert only(BUSY).command == "top -o %CPU"
    assert only(replace(BUSY, system="Windows")).command == ""


def test_a_torch_that_does_not_import_is_reported_and_not_fatal():
    machine = replace(TUNED, software=Software("CPython 3.12.1", {"torch": "2.13.0"}, torch_error="OSError"))
    assert "torch             2.13.0, does not import (OSError)" in text.markdown(machine)


@pytest.mark.parametrize("machine", [LAPTOP, GUEST, CONTAINER])
def test_commands_survive_a_terminal_of_eighty_columns(machine):
    shown = printed(machine, width=80)
    commands = [finding.command for finding in findings.findings(machine) if finding.command]
    assert commands
    assert all(command in shown for command in commands)


def test_the_report_for_the_terminal(snapshot):
    assert printed(replace(CONTAINER, virtual=True, hypervisor=None), width=80) == snapshot


def test_the_report_for_a_bug_tracker(snapshot):
    assert text.markdown(LAPTOP) == snapshot
