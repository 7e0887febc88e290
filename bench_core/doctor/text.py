"""Shows the findings and the facts about the machine in the terminal and in a bug report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench_core import units
from bench_core.doctor.findings import Finding, Severity, findings, level, unseen
from bench_core.doctor.machine import Machine


def report(machine: Machine) -> RenderableType:
    """For the terminal: the findings, the unknown facts, and the known ones."""
    found, missing = findings(machine), unseen(machine)
    parts: list[RenderableType] = []
    if found:
        parts += [Text("What disturbs timings on this machine, most important first", style="bold"), ""]
        for number, finding in enumerate(found, 1):
            parts += [_shown(number, finding), ""]
    else:
        parts += [Text("Nothing was found that disturbs timings on this machine.", style="bold green"), ""]
    if missing:
        parts += [Text(f"Not visible from here: {', '.join(missing)}.", style="dim"), ""]
    parts += [Text("Versions and hardware (bench-core doctor --markdown: ready to paste)", style="bold"), ""]
    return Group(*parts, _rows((Text(heading), Text(text)) for heading, text in facts(machine)))


def markdown(machine: Machine) -> str:
    """For a bug report: facts and findings, without names of hosts, users or folders."""
    found, missing = findings(machine), unseen(machine)
    width = max(len(heading) for heading, _ in facts(machine))
    lines = ["```text", *(f"{heading:<{width}}  {text}" for heading, text in facts(machine)), "```", ""]
    lines += ["What disturbs timings there (`bench-core doctor`):" if found else "`bench-core doctor` found nothing."]
    lines += [f"- {level(finding.severity)}: {finding.what}" for finding in found]
    if missing:
        lines += ["", f"Not visible: {', '.join(missing)}."]
    return "\n".join(lines) + "\n"


def facts(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Versions and hardware as pairs of heading and text. The text of an unknown fact is ``unknown``."""
    return tuple((heading, text or "unknown") for heading, text in _facts(machine))


_STYLES = {Severity.SPOILS: "bold red", Severity.DISTURBS: "yellow", Severity.MINOR: "cyan"}


def _rows(rows: Iterable[tuple[RenderableType, RenderableType]]) -> Table:
    """Two columns. Text that wraps stays in its own column."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _shown(number: int, finding: Finding) -> Table:
    heading = Text.assemble((level(finding.severity), _STYLES[finding.severity]), ": ", finding.what)
    lines: list[RenderableType] = [heading, Text(finding.effect), Text(finding.action)]
    if finding.command:
        lines.append(Text(f"  {finding.command}", style="bold"))
    return _rows([(Text(f"{number}."), Group(*lines))])


def _facts(machine: Machine) -> Iterator[tuple[str, str | None]]:
    software = machine.software
    if software:
        versions = dict(software.versions)
        ours = versions.pop("bench_core", None)
        yield "bench_core", ours
        yield "python", software.python
        yield "torch", _torch(machine)
        versions.pop("torch", None)
        yield "packages", units.joined(*(f"{name} {version}" for name, version in versions.items()))
        if software.torch:
            yield "accelerators", units.joined(*software.torch.accelerators) or "none"
    yield "system", units.joined(machine.os, f"kernel {machine.kernel}" if machine.kernel else None)
    yield "processor", machine.cpu
    yield "cores", _cores(machine)
    yield "caches", units.joined(*(f"{name} {units.size(size)}" for name, size in machine.caches.items()))
    yield "memory", _memory_line(machine)
    yield "load", None if machine.load is None else f"{machine.load:.2f}"
    yield "frequency", _frequency(machine)
    yield "huge pages", machine.huge_pages
    yield (
        "address space",
        {0: "not randomized", 1: "partly randomized", 2: "randomized"}.get(
            -1 if machine.randomized is None else machine.randomized
        ),
    )
    yield "runs on", _runs_on(machine)
    threads = units.joined(*(f"{name}={value}" for name, value in machine.variables.items()))
    yield "thread variables", threads or "none set"


def _torch(machine: Machine) -> str | None:
    software = machine.software
    if software is None:
        return None
    version = software.versions.get("torch", "not installed (the extra bench_core[torch] brings it)")
    if software.torch_error:
        return f"{version}, does not import ({software.torch_error})"
    build = software.torch
    if build is None:
        return version
    return units.joined(
        version,
        f"built for {build.built_for}",
        build.capability,
        f"BLAS {build.blas}" if build.blas else None,
        f"oneDNN {build.onednn}" if build.onednn else None,
        f"{units.plural(build.threads, 'thread')} by default",
    )


def _cores(machine: Machine) -> str:
    slow = machine.efficiency
    return units.joined(
        f"{units.plural(machine.physical, 'core')}" if machine.physical else None,
        f"{units.plural(machine.logical, 'hardware thread')}" if machine.logical else None,
        f"slow ones {units.spans(slow)}" if slow else None,
        f"usable {units.spans(machine.usable)}" if machine.usable else None,
        f"isolated {units.spans(machine.isolated) or 'none'}" if machine.isolated is not None else None,
        f"quota {machine.quota:g} cores" if machine.quota is not None else None,
    )


def _memory_line(machine: Machine) -> str:
    return units.joined(
        *(
            f"{units.size(size)} {name}".strip()
            for name, size in (
                ("", machine.memory_total),
                ("available", machine.memory_available),
                ("limit", machine.memory_limit),
                ("in swap", machine.swap_used or None),
            )
            if size is not None
        )
    )


def _frequency(machine: Machine) -> str:
    governors = machine.governors
    return units.joined(
        f"governor {' and '.join(sorted(governors))}" if governors else None,
        f"driver {machine.driver}" if machine.driver else None,
        None if machine.turbo is None else f"turbo {'on' if machine.turbo else 'off'}",
        f"slowed by heat {machine.hot:,} times" if machine.hot is not None else None,
    )


def _runs_on(machine: Machine) -> str:
    if machine.virtual is None:
        kind = None
    elif machine.virtual:
        kind = f"virtual machine ({machine.hypervisor or 'unknown kind'})"
    else:
        kind = "hardware"
    return units.joined(
        kind,
        f"container ({machine.container})" if machine.container else None,
        f"{units.percent(machine.stolen, 1)} stolen" if machine.virtual and machine.stolen is not None else None,
        None if machine.on_battery is None else f"{'battery' if machine.on_battery else 'mains'} power",
    )
