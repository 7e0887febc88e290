"""Reads facts about the machine from the files of the Linux kernel. All paths are relative to a root folder, so a test
can build any machine out of files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CPU = "sys/devices/system/cpu"
"""The folder of the processor's settings and topology, below the root."""

# Names in the firmware of virtual machines, for processors without x86's "hypervisor" flag.
_GUEST_FIRMWARE = re.compile(
    r"QEMU|KVM|VMware|VirtualBox|innotek|Xen|Bochs|Parallels|Virtual Machine|Google Compute|Amazon EC2|OpenStack"
)

_UNLIMITED = 1 << 60
"""A larger limit, in bytes, means no limit: control groups of version 1 then report a number just below 2^63."""


@dataclass(frozen=True)
class Quota:
    """A CPU quota.

    Attributes:
        cores: the granted CPU time, in cores.
        periods: the number of periods in which the quota was in force; None if the kernel does not count them.
        stopped: the number of periods in which the quota stopped a thread.
    """

    cores: float
    periods: int | None
    stopped: int | None


class KernelFiles:
    """The files of the Linux kernel below `root`. A missing, empty or garbled file gives None or an empty result."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, path: str) -> str | None:
        try:
            return (self.root / path).read_text(encoding="utf-8").strip("\n\0 ")
        except (OSError, ValueError):
            return None

    def number(self, path: str) -> int | None:
        return _integer(self.text(path))

    def cores(self, path: str) -> frozenset[int] | None:
        """A list of cores such as ``0-3,8``, which may be empty."""
        text = self.text(path)
        return None if text is None else _core_list(text)

    def table(self, path: str) -> dict[str, int]:
        """Lines of a name and a number, ``name: 12 kB`` or ``name 12``. Numbers in kB are converted to bytes."""
        found = {}
        for line in (self.text(path) or "").splitlines():
            match = re.fullmatch(r"(\S+?):?\s+(\d+)( kB)?\s*", line)
            if match:
                found[match[1]] = int(match[2]) * (1024 if match[3] else 1)
        return found

    def folders(self, pattern: str) -> Iterator[str]:
        try:
            found = sorted(self.root.glob(pattern))
        except OSError:
            return
        for folder in found:
            yield str(folder.relative_to(self.root))

    def line(self, path: str, name: str) -> str | None:
        """The value on the first line ``name : value``."""
        match = re.search(rf"^{re.escape(name)}[ \t]*[:=][ \t]*(.*)$", self.text(path) or "", re.MULTILINE)
        return match[1].strip() or None if match else None

    def os_name(self) -> str | None:
        name = self.line("etc/os-release", "PRETTY_NAME")
        return name.strip("\"'") if name else None

    def cpu(self) -> str | None:
        name = self.line("proc/cpuinfo", "model name")
        maker, part = (self.line("proc/cpuinfo", f"CPU {key}") for key in ("implementer", "part"))
        return name or (f"ARM implementer {maker}, part {part}" if maker and part else None)

    def online(self) -> frozenset[int]:
        listed = self.cores(f"{CPU}/online")
        counted = re.findall(r"^processor\s*:\s*(\d+)", self.text("proc/cpuinfo") or "", re.MULTILINE)
        return listed or frozenset(int(number) for number in counted)

    def allowed(self) -> frozenset[int] | None:
        listed = self.line("proc/self/status", "Cpus_allowed_list")
        return None if listed is None else _core_list(listed)

    def groups(self) -> frozenset[frozenset[int]] | None:
        found = {self.cores(f"{folder}/topology/thread_siblings_list") for folder in self.folders(f"{CPU}/cpu[0-9]*")}
        return frozenset(group for group in found if group) or None

    def efficiency(self) -> frozenset[int]:
        """The slow cores: those that Intel's kernel driver lists, or else those of less than 75 % of the largest
        capacity. Cores of one kind may differ by a few percent, if some may clock higher."""
        named = self.cores("sys/devices/cpu_atom/cpus")
        if named:
            return named
        capacity = {}
        for folder in self.folders(f"{CPU}/cpu[0-9]*"):
            value, core = self.number(f"{folder}/cpu_capacity"), _integer(folder.rpartition("cpu")[2])
            if value is not None and core is not None:
                capacity[core] = value
        most = max(capacity.values(), default=0)
        return frozenset(core for core, value in capacity.items() if value < 0.75 * most)

    def caches(self, core: int) -> dict[str, int]:
        found = {}
        for folder in self.folders(f"{CPU}/cpu{core}/cache/index[0-9]*"):
            level, kind = self.number(f"{folder}/level"), self.text(f"{folder}/type")
            size = re.fullmatch(r"(\d+)([KM])", self.text(f"{folder}/size") or "")
            if level is not None and size is not None and kind in ("Data", "Unified"):
                name = f"L{level}d" if kind == "Data" else f"L{level}"
                found[name] = int(size[1]) << {"K": 10, "M": 20}[size[2]]
        return found

    def load(self) -> float | None:
        match = re.match(r"\d+\.\d+", self.text("proc/loadavg") or "")
        return float(match[0]) if match else None

    def stolen(self) -> float | None:
        """The stolen share of the CPU time that this machine wanted. Idle time does not count."""
        match = re.match(r"cpu +((?:\d+ ){8})", (self.text("proc/stat") or "").partition("\n")[0] + " ")
        if match is None:
            return None
        user, nice, system, _idle, _waiting, irq, softirq, stolen = (int(part) for part in match[1].split())
        wanted = user + nice + system + irq + softirq + stolen
        return stolen / wanted if wanted else None

    def control_groups(self, controller: str) -> Iterator[str]:
        """The folders of this process's control groups, from the innermost outwards, of both versions. Inside a
        container, the process's own path is often not mounted. The mount's root, which is the last folder, is then the
        container's group."""
        for line in (self.text("proc/self/cgroup") or "").splitlines():
            parts = line.split(":", 2)
            if len(parts) < 3:
                continue
            controllers, path = parts[1].split(","), parts[2]
            if parts[1] == "":
                mounts = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
            elif controller in controllers:
                mounts = (f"sys/fs/cgroup/{parts[1]}", f"sys/fs/cgroup/{controller}")
            else:
                continue
            steps = [step for step in path.split("/") if step]
            for mount in mounts:
                for depth in range(0 if ".." in steps else len(steps), -1, -1):
                    yield "/".join([mount, *steps[:depth]])

    def quota(self) -> Quota | None:
        """The tightest quota of this process's control groups."""
        found = []
        for folder in self.control_groups("cpu"):
            granted, period = _pair(self.text(f"{folder}/cpu.max"))
            if granted is None:
                granted = self.number(f"{folder}/cpu.cfs_quota_us")
                period = self.number(f"{folder}/cpu.cfs_period_us")
            if granted is not None and granted > 0 and period:
                counts = self.table(f"{folder}/cpu.stat")
                found.append(Quota(granted / period, counts.get("nr_periods"), counts.get("nr_throttled")))
        return min(found, key=lambda quota: quota.cores, default=None)

    def memory_limit(self) -> int | None:
        limits = (
            self.number(f"{folder}/{name}")
            for folder in self.control_groups("memory")
            for name in ("memory.max", "memory.limit_in_bytes")
        )
        return min((limit for limit in limits if limit is not None and limit < _UNLIMITED), default=None)

    def governors(self, usable: frozenset[int] | None) -> dict[str, int] | None:
        names = [
            self.text(f"{folder}/cpufreq/scaling_governor")
            for folder in self.folders(f"{CPU}/cpu[0-9]*")
            if not usable or _integer(folder.rpartition("cpu")[2]) in usable
        ]
        return dict(Counter(name for name in names if name)) or None

    def turbo(self) -> tuple[bool | None, str | None]:
        """Whether turbo is allowed, and the file of this setting. In Intel's file, 1 means that turbo is off."""
        switches = (("intel_pstate/no_turbo", 0), ("cpufreq/boost", 1), ("cpufreq/policy0/boost", 1))
        for switch, on in switches:
            value = self.number(f"{CPU}/{switch}")
            if value in (0, 1):
                return value == on, switch
        return None, None

    def hot(self) -> int | None:
        counts = [
            self.number(f"{folder}/thermal_throttle/core_throttle_count") for folder in self.folders(f"{CPU}/cpu[0-9]*")
        ]
        known = [count for count in counts if count is not None]
        return sum(known) if known else None

    def huge_pages(self) -> str | None:
        chosen = re.search(r"\[(\w+)\]", self.text("sys/kernel/mm/transparent_hugepage/enabled") or "")
        return chosen[1] if chosen else None

    def virtualization(self) -> tuple[bool | None, str | None]:
        """Whether this is a virtual machine, and its hypervisor."""
        firmware = " ".join(
            name for key in ("sys_vendor", "product_name") if (name := self.text(f"sys/class/dmi/id/{key}"))
        )
        xen = self.text("sys/hypervisor/type")
        flags = self.line("proc/cpuinfo", "flags")
        if flags is not None:
            virtual: bool | None = "hypervisor" in flags.split()
        elif xen or firmware:
            # Amazon's bare-metal machines have the same firmware name, with this suffix.
            guest = _GUEST_FIRMWARE.search(firmware) and not firmware.endswith(".metal")
            virtual = bool(xen or guest)
        else:
            virtual = None
        return virtual, (firmware or xen or None) if virtual else None

    def container(self, environ: Mapping[str, str]) -> str | None:
        if environ.get("KUBERNETES_SERVICE_HOST"):
            return "kubernetes"
        if self.text(".dockerenv") is not None:
            return "docker"
        if self.text("run/.containerenv") is not None:
            return "podman"
        return self.text("run/systemd/container") or None

    def on_battery(self) -> bool | None:
        """Whether a battery is discharging; None without a battery."""
        states = [
            self.text(f"{folder}/status")
            for folder in self.folders("sys/class/power_supply/*")
            if self.text(f"{folder}/type") == "Battery" and self.text(f"{folder}/scope") != "Device"
        ]
        return "Discharging" in states if states else None


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,20}", text) else None


def _pair(text: str | None) -> tuple[int | None, int | None]:
    parts = (text or "").split()
    return (_integer(parts[0]), _integer(parts[1])) if len(parts) == 2 else (None, None)


def _core_list(text: str) -> frozenset[int] | None:
    """``0-3,8`` -> 0, 1, 2, 3, 8; None if the text is no such list."""
    if not text:
        return frozenset()
    if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*", text):
        return None
    cores: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)
