"""Judges the facts about a machine: what disturbs timings, in order of importance, and what to do about it.

`bench_core.doctor.machine` gathers the facts. An effect has a figure only if the figure follows from the facts or was
measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from bench_core import units
from bench_core.doctor.linux import CPU
from bench_core.doctor.machine import Machine


class Severity(IntEnum):
    """How much a finding matters."""

    SPOILS = 0
    """Times measured now are wrong. Fix this first."""
    DISTURBS = 1
    """Times scatter, and differ from one run to the next."""
    MINOR = 2
    """Matters only for small differences."""


@dataclass(frozen=True)
class Finding:
    """One thing that disturbs timings.

    Attributes:
        severity: how much it matters.
        what: what was found, with its numbers.
        effect: how it changes timings.
        action: the next step, in words.
        command: the next step as a command; "" if there is none.
    """

    severity: Severity
    what: str
    effect: str
    action: str
    command: str = ""


LARGEST_CELL = 2 << 30
"""The bytes of memory that the largest cell of the suite needs."""

STOLEN = 0.01
"""Stolen time is reported with an effect from this share on: the gate's noise floor."""

SLACK = 0.25
"""The load of an idle machine that runs this command."""

BUSY = 0.25
"""The load is reported from this share of busy cores on, since cores share caches, memory bus and power. The value is a
choice. A busy neighbour changes times, but hardly ratios: those of two versions sampled in turn on one core scattered
by 0.5 to 2.9 % beside a memory-bound loop on the other core, and by 0.5 to 2.5 % without it."""


def findings(machine: Machine) -> tuple[Finding, ...]:
    """What disturbs timings, most important first."""
    found = [finding for check in _CHECKS if (finding := check(machine)) is not None]
    return tuple(sorted(found, key=lambda finding: finding.severity))  # stable: `_CHECKS` orders equals


def stored(finding: Finding) -> tuple[str, str, str]:
    """A finding in the form that is stored beside results: (level, sentence, what to do)."""
    return level(finding.severity), finding.what, f"{finding.action} {finding.command}".strip()


def unseen(machine: Machine) -> tuple[str, ...]:
    """The facts that could not be read."""
    looked_for = {
        "load": machine.load,
        "cores this process may use": machine.usable,
        "memory": machine.memory_available,
        "virtual machine or not": machine.virtual,
        "scaling governor": machine.governors,
        "turbo": machine.turbo,
        "hardware threads of a core": machine.smt,
        "slowing down by heat": machine.hot,
        "transparent huge pages": machine.huge_pages,
    }
    return tuple(name for name, fact in looked_for.items() if fact is None)


def best_core(machine: Machine) -> int | None:
    """The core to pin to, or None if it is unknown: an isolated core if there is one, and never a slow core of a
    processor with two kinds of cores. Of several it is the last, so that the answer is always the same."""
    if machine.system != "Linux" or not machine.usable:
        return None
    isolated = machine.isolated or frozenset()
    if machine.container:  # a container's cpuset holds whatever list the host has
        isolated &= machine.usable
    candidates = isolated or machine.usable
    return max(candidates - machine.efficiency or candidates)


def level(severity: Severity) -> str:
    return severity.name.lower()


# Each check judges one thing, and returns None if its facts are unknown or harmless.


def _load(machine: Machine) -> Finding | None:
    cores = machine.physical or machine.logical  # the sibling of a busy core is not free
    if machine.load is None or not cores:
        return None
    command = {"Linux": "top -o %CPU", "Darwin": "top -o cpu"}.get(machine.system or "", "")
    end = ":" if command else "."
    here = f"The load is {machine.load:.1f} on {units.plural(cores, 'core')} (average of the last minute)."
    if machine.load > cores - 1 + SLACK:
        return Finding(
            Severity.SPOILS,
            here,
            "No core is free for the benchmark, so its times include the time of other processes on its core.",
            f"Find out what is running, end it or wait for it, and start again after a minute{end}",
            command,
        )
    if machine.load > BUSY * cores + SLACK:
        return Finding(
            Severity.DISTURBS,
            here,
            "Other processes share the last cache, the memory bus and the power budget with the benchmark. Cells with "
            "large weights suffer most.",
            f"Find out what is running and end what can wait{end}",
            command,
        )
    return None


def _small_quota(machine: Machine) -> Finding | None:
    if machine.quota is None or machine.quota >= 1:
        return None
    command = "cat /proc/self/cgroup"  # names the group
    if machine.container:
        starts = machine.container in ("docker", "podman")
        command = f"{machine.container} run --cpuset-cpus 0-1 IMAGE" if starts else ""
    return Finding(
        Severity.SPOILS,
        f"A CPU quota grants {machine.quota:g} of one core.{_stopped(machine)}",
        f"The kernel stops even a single thread for {units.percent(1 - machine.quota, 0)} of the time, in the middle "
        "of samples.",
        f"{_cores_of_its_own(machine)}{':' if command else '.'}",
        command,
    )


def _quota(machine: Machine) -> Finding | None:
    if machine.quota is None or machine.quota < 1 or not machine.usable or machine.quota >= len(machine.usable):
        return None
    whole = sorted(machine.usable - machine.efficiency or machine.usable)[-math.floor(machine.quota) :]
    return Finding(
        Severity.DISTURBS,
        f"A CPU quota grants {machine.quota:g} of {len(machine.usable)} visible cores.{_stopped(machine)}",
        "A cell that runs a thread on every visible core uses the quota up, and is then stopped for the rest of the "
        "period. Cells with one thread are undisturbed as long as nothing else in the group runs.",
        f"{_cores_of_its_own(machine)}. Until then use no more cores than the quota covers:",
        f"taskset --cpu-list {units.spans(whole)} bench-core run",
    )


def _stopped(machine: Machine) -> str:
    if not machine.quota_stopped or not machine.quota_periods:
        return ""
    return f" It stopped a thread in {machine.quota_stopped:,} of {machine.quota_periods:,} periods."


def _cores_of_its_own(machine: Machine) -> str:
    if machine.container == "kubernetes":
        return (
            "Use nodes with the static CPU manager policy and give the pod the same whole number of CPUs as request "
            "and as limit: it then has cores of its own"
        )
    if machine.container:
        return "Start the container with cores of its own (--cpuset-cpus) instead of a quota (--cpus)"
    return "Raise the quota (CPUQuota in systemd) of the control group that this process is in"


def _memory(machine: Machine) -> Finding | None:
    known = [size for size in (machine.memory_available, machine.memory_limit) if size is not None]
    if not known or min(known) >= LARGEST_CELL:
        return None
    limited = machine.memory_limit is not None and machine.memory_limit == min(known)
    swapped = f", and {units.size(machine.swap_used)} of swap is in use" if machine.swap_used else ""
    return Finding(
        Severity.SPOILS,
        f"Only {units.size(min(known))} of memory is available"
        f"{' (the limit of the control group)' if limited else ''}{swapped}.",
        f"The largest cells need up to {units.size(LARGEST_CELL)}. Cells that do not fit are n/a. Close to the limit "
        "the system swaps, or kills the process.",
        "Raise the limit, or leave out the large cells. This lists which are n/a:"
        if limited
        else "End the processes that hold the memory, or leave out the large cells. This lists which are n/a:",
        "bench-core list",
    )


def _stolen(machine: Machine) -> Finding | None:
    if not machine.virtual or machine.stolen is None or machine.stolen < STOLEN:
        return None
    return Finding(
        Severity.DISTURBS,
        f"{_virtual_machine(machine)}.{_went_to_others(machine)}",
        f"A sample includes the time that was stolen during it. {_cannot_be_seen(machine)}",
        "Use a machine type with dedicated cores. On this machine, trust only values that were sampled in turn in one "
        "run, and repeat the comparison:",
        "bench-core gate main",
    )


def _virtual(machine: Machine) -> Finding | None:
    if not machine.virtual or (machine.stolen is not None and machine.stolen >= STOLEN):
        return None
    return Finding(
        Severity.DISTURBS,
        f"{_virtual_machine(machine)}.{_went_to_others(machine)}",
        f"Other guests use the same caches, memory bus and power budget. {_cannot_be_seen(machine)}",
        "Compare values that were sampled in turn in one run, not times of different days. Repeat surprising results:",
        "bench-core gate main",
    )


def _virtual_machine(machine: Machine) -> str:
    return f"This is a virtual machine ({machine.hypervisor or 'of unknown kind'})"


def _went_to_others(machine: Machine) -> str:
    if machine.stolen is None:
        return ""
    return f" Other guests got {units.percent(machine.stolen, 1)} of the CPU time that it wanted (steal, since boot)."


def _cannot_be_seen(machine: Machine) -> str:
    if machine.governors is not None:
        return "Governor and turbo are what the guest sees. The host decides."
    return "Governor, turbo and temperature are visible only on the host, so the speed may change unnoticed."


def _unpinned(machine: Machine) -> Finding | None:
    core = best_core(machine)
    if core is None or machine.usable is None or len(machine.usable) == 1:
        return None
    kinds, note = "", ""
    slow = machine.usable & machine.efficiency
    if slow and slow != machine.usable:
        kinds = f", {len(slow)} of them slow"
        note = f"; core {core} is a fast one"
    if core in (machine.isolated or ()):
        note = f"; core {core} is isolated, so the kernel runs no other process there"
    return Finding(
        Severity.DISTURBS,
        f"This process is not pinned: it may run on {cpus(machine, len(machine.usable))}{kinds}.",
        "On a noisy two-core virtual machine, ratios of two identical versions that were sampled in turn scattered by "
        "5 to 39 % unpinned, and by 1 to 3 % with both on one core.",
        f"Pin every run to the same core{note}. Cells with threads=all then have one thread, so time those unpinned:",
        f"taskset --cpu-list {core} bench-core run",
    )


def _governor(machine: Machine) -> Finding | None:
    # "userspace" keeps a chosen frequency, which is as steady as "performance".
    slow = {name: n for name, n in (machine.governors or {}).items() if name not in ("performance", "userspace")}
    if not slow:
        return None
    names = " and ".join(f"{name} on {cpus(machine, number)}" for name, number in sorted(slow.items()))
    lowest = "powersave" in slow and not (machine.driver or "").startswith(("intel_pstate", "amd-pstate"))
    return Finding(
        Severity.DISTURBS,
        f"The scaling governor is {names}{f' (driver {machine.driver})' if machine.driver else ''}.",
        "It keeps cores at their lowest frequency."
        if lowest
        else "The frequency follows the load. A core that was idle starts slowly, so the same call takes longer in a "
        "short sample than in a long one.",
        _on_host(
            machine,
            "set a governor that keeps the frequency high until the next boot (cpupower is in the package "
            "linux-cpupower, linux-tools or kernel-tools):",
        ),
        "sudo cpupower frequency-set --governor performance",
    )


def _battery(machine: Machine) -> Finding | None:
    if not machine.on_battery:
        return None
    return Finding(
        Severity.DISTURBS,
        "The machine runs on battery.",
        "To save power the system lowers the frequency, and changes it as the battery empties.",
        "Connect it to mains power, and run this again:",
        "bench-core doctor",
    )


def _threads(machine: Machine) -> Finding | None:
    build = machine.software.torch if machine.software else None
    if build is None or not machine.usable or build.threads <= len(machine.usable):
        return None
    asked = machine.variables.get("OMP_NUM_THREADS") or machine.variables.get("MKL_NUM_THREADS")
    return Finding(
        Severity.DISTURBS,
        f"torch starts {build.threads} threads by default and may use {cpus(machine, len(machine.usable))}"
        f"{f' (the environment asks for {asked})' if asked else ''}.",
        "Threads that share a core wait for each other at the end of every operation. Cells of this suite set their "
        "own number of threads. Other suites use the default.",
        "Ask for one thread a core:",
        f"export OMP_NUM_THREADS={len(machine.usable)} MKL_NUM_THREADS={len(machine.usable)}",
    )


def _hot(machine: Machine) -> Finding | None:
    if not machine.hot:
        return None
    return Finding(
        Severity.MINOR,
        f"Cores have slowed down because of heat {machine.hot:,} times since boot.",
        "The same cell takes longer on a hot core than on a cool one.",
        "Run this again after a benchmark. If the number has grown, the times were affected: cool the machine, or run "
        "less at once:",
        "bench-core doctor",
    )


def _smt(machine: Machine) -> Finding | None:
    if not machine.smt:
        return None
    switchable = machine.smt_switch == "on" and not machine.virtual
    core = best_core(machine)
    siblings = next((group for group in machine.groups or () if core in group), frozenset()) - {core}
    keep = f"keep core {units.spans(siblings)}, the sibling of {core}, idle" if siblings else "keep siblings idle"
    return Finding(
        Severity.MINOR,
        f"Hardware threads share cores (SMT): {machine.logical} threads on {machine.physical} cores.",
        "A process on the sibling takes a part of the core's caches and execution units from the benchmark.",
        _on_host(machine, f"{keep}, or switch SMT off (`echo on` switches it on again):")
        if switchable
        else f"In a pinned run {keep}.",
        f"echo off | sudo tee /{CPU}/smt/control" if switchable else "",
    )


def _turbo(machine: Machine) -> Finding | None:
    if not machine.turbo or machine.turbo_switch is None:
        return None
    off = 1 if machine.turbo_switch.endswith("no_turbo") else 0
    switch = machine.turbo_switch.replace("policy0", "policy*")
    return Finding(
        Severity.MINOR,
        "Turbo is on.",
        "The frequency depends on the temperature and on the number of busy cores, so a cold or idle machine is faster "
        "than a warm or busy one.",
        _on_host(
            machine,
            "switch it off while timing: all times become longer, and steadier "
            f"(`echo {1 - off}` switches it on again):",
        ),
        f"echo {off} | sudo tee /{CPU}/{switch}",
    )


def _huge_pages(machine: Machine) -> Finding | None:
    if machine.huge_pages != "always":
        return None
    return Finding(
        Severity.MINOR,
        "Transparent huge pages are used for every process (always).",
        "Whether a large weight gets huge pages depends on how fragmented memory is at that moment. The same cell "
        "differs between processes, most of all where it writes to fresh memory.",
        _on_host(machine, "use them only for processes that ask for them, until the next boot:"),
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
    )


# In order of importance within one severity. Battery follows the governor, since it changes the frequency as much.
_CHECKS: tuple[Callable[[Machine], Finding | None], ...] = (
    _load,
    _small_quota,
    _memory,
    _unpinned,
    _governor,
    _battery,
    _stolen,
    _quota,
    _threads,
    _virtual,
    _hot,
    _smt,
    _turbo,
    _huge_pages,
)


def _on_host(machine: Machine, action: str) -> str:
    """An action that changes settings of the kernel, which is impossible inside a container."""
    where = "On the host, outside the container, " if machine.container else ""
    return where + (action if where else action[0].upper() + action[1:])


def cpus(machine: Machine, number: int) -> str:
    return units.plural(number, "hardware thread" if machine.smt else "core")
