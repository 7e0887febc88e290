"""Machines built out of files. What a real kernel writes is abridged to what is read."""

import pytest

from bench_core.doctor import machine
from bench_core.doctor.machine import Machine, Software

SOFTWARE = Software("CPython 3.12.1", {"torch": "2.13.0"})
CPU = "sys/devices/system/cpu"


def built(root, files):
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root


def read(root, files=None, environ=None, asked=None):
    return machine.read(
        built(root, files or {}), environ=environ or {}, python=lambda: asked or Machine(), packages=lambda: SOFTWARE
    )


def cores(count, siblings=lambda core: str(core)):
    """The topology of `count` hardware threads."""
    listed = {f"{CPU}/cpu{core}/topology/thread_siblings_list": siblings(core) + "\n" for core in range(count)}
    return {
        **listed,
        f"{CPU}/online": f"0-{count - 1}\n",
        "proc/self/status": f"Name:\tpython\nCpus_allowed:\tff\nCpus_allowed_list:\t0-{count - 1}\n",
    }


def frequency(count, governor, driver):
    return {f"{CPU}/cpu{core}/cpufreq/scaling_governor": f"{governor}\n" for core in range(count)} | {
        f"{CPU}/cpu0/cpufreq/scaling_driver": f"{driver}\n"
    }


LAPTOP = {
    **cores(8, siblings=lambda core: f"{core % 4},{core % 4 + 4}"),
    **frequency(8, "powersave", "intel_pstate"),
    "proc/sys/kernel/ostype": "Linux\n",
    "proc/sys/kernel/osrelease": "6.8.0-45-generic\n",
    "proc/sys/kernel/randomize_va_space": "2\n",
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz\nflags\t\t: fpu sse avx2\n",
    "proc/loadavg": "0.42 0.35 0.30 1/900 4242\n",
    "proc/meminfo": "MemTotal:  16000000 kB\nMemAvailable:  9000000 kB\nSwapTotal: 2000 kB\nSwapFree: 500 kB\n",
    "proc/stat": "cpu  100 0 50 9000 5 0 0 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n",
    "proc/self/cgroup": "0::/user.slice/session.scope\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/memory.max": "max\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n',
    f"{CPU}/isolated": "\n",
    f"{CPU}/smt/control": "on\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "7\n",
    f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "5\n",
    f"{CPU}/cpu0/cache/index0/level": "1\n",
    f"{CPU}/cpu0/cache/index0/type": "Data\n",
    f"{CPU}/cpu0/cache/index0/size": "32K\n",
    f"{CPU}/cpu0/cache/index1/level": "1\n",
    f"{CPU}/cpu0/cache/index1/type": "Instruction\n",
    f"{CPU}/cpu0/cache/index1/size": "32K\n",
    f"{CPU}/cpu0/cache/index3/level": "3\n",
    f"{CPU}/cpu0/cache/index3/type": "Unified\n",
    f"{CPU}/cpu0/cache/index3/size": "8M\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/class/dmi/id/product_name": "20KH\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
}


def test_every_fact_of_a_laptop_is_read(tmp_path):
    assert read(tmp_path, LAPTOP, environ={"OMP_NUM_THREADS": "4", "HOME": "/home/me"}) == Machine(
        system="Linux",
        os="Ubuntu 24.04 LTS",
        kernel="6.8.0-45-generic",
        cpu="Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz",
        logical=8,
        groups=frozenset(frozenset({core, core + 4}) for core in range(4)),
        physical=4,
        usable=frozenset(range(8)),
        efficiency=frozenset(),
        isolated=frozenset(),
        caches={"L1d": 32 << 10, "L3": 8 << 20},
        memory_total=16_000_000 << 10,
        memory_available=9_000_000 << 10,
        memory_limit=None,
        swap_used=1500 << 10,
        load=0.42,
        quota=None,
        governors={"powersave": 8},
        driver="intel_pstate",
        turbo=True,
        turbo_switch="intel_pstate/no_turbo",
        smt_switch="on",
        hot=12,
        huge_pages="always",
        randomized=2,
        virtual=False,
        hypervisor=None,
        container=None,
        stolen=0.0,
        on_battery=True,
        variables={"OMP_NUM_THREADS": "4"},
        software=SOFTWARE,
    )


def test_a_virtual_machine_is_known_by_the_processor_and_named_by_the_firmware(tmp_path):
    here = read(
        tmp_path,
        {
            **cores(2),
            "proc/cpuinfo": "processor : 0\nflags : fpu hypervisor avx2\n",
            "sys/class/dmi/id/sys_vendor": "QEMU\n",
            "sys/class/dmi/id/product_name": "Standard PC\n",
            "proc/stat": "cpu  60 0 30 9000 5 0 0 10 0 0\n",
        },
    )
    assert (here.virtual, here.hypervisor, here.governors) == (True, "QEMU Standard PC", None)
    assert here.stolen == pytest.approx(0.1)  # 10 of 60 + 30 + 10: the 9000 idle ones do not dilute it


@pytest.mark.parametrize(
    ("vendor", "product", "virtual"),
    [("Amazon EC2", "m6g.large", True), ("Amazon EC2", "m6g.metal", False), ("GIGABYTE", "R152-P30", False)],
)
def test_a_virtual_machine_without_the_flag_is_recognized_by_its_firmware(tmp_path, vendor, product, virtual):
    here = read(tmp_path, {"sys/class/dmi/id/sys_vendor": vendor, "sys/class/dmi/id/product_name": product})
    assert here.virtual is virtual


def test_a_machine_that_says_nothing_is_not_called_a_real_one(tmp_path):
    assert read(tmp_path).virtual is None


def test_the_quota_of_a_container_is_read_where_its_own_path_is_not_mounted(tmp_path):
    here = read(
        tmp_path,
        {
            ".dockerenv": "",
            "proc/self/cgroup": "0::/system.slice/docker-1234.scope\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 200\nnr_throttled 30\n",
            "sys/fs/cgroup/memory.max": "1073741824\n",
        },
    )
    assert (here.quota, here.quota_periods, here.quota_stopped) == (1.5, 200, 30)
    assert (here.memory_limit, here.container) == (1 << 30, "docker")


def test_the_tightest_quota_of_the_groups_around_the_process_counts(tmp_path):
    here = read(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/inner/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/outer/cpu.max": "50000 100000\n",
        },
    )
    assert here.quota == 0.5


def test_control_groups_of_version_1_are_read_too(tmp_path):
    group = "sys/fs/cgroup/cpu,cpuacct/job"
    here = read(
        tmp_path,
        {
            "proc/self/cgroup": "5:memory:/job\n3:cpu,cpuacct:/job\n",
            f"{group}/cpu.cfs_quota_us": "200000\n",
            f"{group}/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert (here.quota, here.memory_limit) == (2.0, None)
    (tmp_path / group / "cpu.cfs_quota_us").write_text("-1\n")
    assert read(tmp_path).quota is None


def test_a_group_outside_the_namespace_does_not_lead_out_of_the_mount(tmp_path):
    here = read(
        tmp_path,
        {
            "proc/self/cgroup": "0::/../../other\n",
            "sys/fs/cgroup/cgroup.procs": "",
            "sys/other/cpu.max": "50000 100000\n",
        },
    )
    assert here.quota is None


def test_only_the_governors_of_usable_cores_count(tmp_path):
    files = {**cores(4), **frequency(4, "performance", "acpi-cpufreq")}
    files[f"{CPU}/cpu3/cpufreq/scaling_governor"] = "powersave"
    files["proc/self/status"] = "Cpus_allowed_list:\t0,2\n"
    here = read(tmp_path, files)
    assert (here.usable, here.governors) == (frozenset({0, 2}), {"performance": 2})


@pytest.mark.parametrize(
    ("switch", "value", "turbo"),
    [
        ("intel_pstate/no_turbo", "1", False),
        ("intel_pstate/no_turbo", "0", True),
        ("cpufreq/boost", "1", True),
        ("cpufreq/boost", "0", False),
        ("cpufreq/policy0/boost", "1", True),
    ],
)
def test_each_switch_of_turbo_is_understood(tmp_path, switch, value, turbo):
    here = read(tmp_path, {f"{CPU}/{switch}": value})
    assert (here.turbo, here.turbo_switch) == (turbo, switch)


def test_slow_cores_are_distinguished_from_fast_ones(tmp_path):
    assert read(tmp_path / "intel", {"sys/devices/cpu_atom/cpus": "8-15\n"}).efficiency == frozenset(range(8, 16))
    capacities = {0: 1024, 1: 980, 2: 446, 3: 446}  # 980: a fast core that clocks a little lower
    arm = {f"{CPU}/cpu{core}/cpu_capacity": str(value) for core, value in capacities.items()}
    assert read(tmp_path / "arm", arm).efficiency == {2, 3}


def test_a_mouse_with_an_empty_battery_is_not_the_machine(tmp_path):
    mouse = "sys/class/power_supply/hid-mouse"
    here = read(tmp_path, {f"{mouse}/type": "Battery", f"{mouse}/scope": "Device", f"{mouse}/status": "Discharging"})
    assert here.on_battery is None


def test_kubernetes_is_known_by_its_variables(tmp_path):
    here = read(tmp_path, {".dockerenv": ""}, environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert here.container == "kubernetes"


def test_without_any_files_python_is_asked(tmp_path):
    asked = Machine(
        system="Darwin",
        os="Darwin 23.1.0",
        cpu="arm",
        logical=10,
        physical=10,
        memory_total=1 << 34,
        memory_available=1 << 33,
        swap_used=5,
        load=1.5,
        on_battery=True,
    )
    here = read(tmp_path, asked=asked)
    assert here == Machine(
        system="Darwin",
        os="Darwin 23.1.0",
        cpu="arm",
        logical=10,
        physical=10,
        memory_total=1 << 34,
        memory_available=1 << 33,
        swap_used=5,
        load=1.5,
        on_battery=True,
        software=SOFTWARE,
    )


def test_what_a_file_says_goes_before_what_python_says_even_when_it_is_nothing(tmp_path):
    here = read(
        tmp_path,
        {"proc/loadavg": "0.00 0 0 1/1 1\n", "proc/meminfo": "SwapTotal: 8 kB\nSwapFree: 8 kB\n"},
        asked=Machine(load=9.0, swap_used=9),
    )
    assert (here.load, here.swap_used) == (0.0, 0)


CONTAINER = {
    **LAPTOP,
    "proc/self/cgroup": "0::/job\n",
    "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/job/cpu.stat": "nr_periods 5\n",
    "sys/fs/cgroup/job/memory.max": "5000\n",
    "run/systemd/container": "lxc\n",
}


@pytest.mark.parametrize(
    "garbage", [b"", b"\n", b"\xff\xfe\x00", b"no such thing", b"-", b"99999999999999999999999", b"1-"]
)
def test_garbled_files_are_unknown_and_never_an_error(tmp_path, garbage):
    built(tmp_path, CONTAINER)
    for path in CONTAINER:
        text = (tmp_path / path).read_bytes()
        (tmp_path / path).write_bytes(garbage)
        read(tmp_path)
        (tmp_path / path).write_bytes(text)
    for path in CONTAINER:
        (tmp_path / path).write_bytes(garbage)
    here = read(tmp_path)
    assert (here.load, here.quota, here.memory_limit, here.turbo, here.groups) == (None,) * 5


def test_a_folder_where_a_file_should_be_is_unknown(tmp_path):
    (tmp_path / "proc/loadavg").mkdir(parents=True)
    assert read(tmp_path).load is None


def test_a_torch_that_does_not_import_is_named_by_its_error_alone(monkeypatch):
    def broken():
        raise OSError("/home/me/lib/libtorch.so: cannot open shared object file")

    monkeypatch.setattr(machine, "_torch_build", broken)
    software = machine.ask_packages()
    assert (software.torch, software.torch_error) == (None, "OSError")


def test_this_machine_can_be_read():
    here = machine.read()
    assert here.logical
    assert here.memory_total
    assert here.software.versions["torch"]
    assert here.software.torch.threads >= 1
    assert here.software.torch.capability
