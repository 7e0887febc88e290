"""The tasks of `bench-core model`, each done in a process of its own. This imports torch, and the user's code."""

from __future__ import annotations

import ast
import gc
import importlib
import platform
import shutil
import statistics
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import torch
from torch import nn

from bench_core import clock
from bench_core.errors import BenchCoreError, named
from bench_core.model.memory import Growth
from bench_core.model.messages import (
    Access,
    Accessed,
    Answer,
    Check,
    CheckedWay,
    CheckedWays,
    Describe,
    Described,
    FindImports,
    FoundImports,
    FoundLimits,
    Import,
    Imported,
    Limits,
    Planned,
    PlannedStage,
    Save,
    Saved,
    Setting,
    Shard,
    Sharded,
    Task,
    Went,
)
from bench_core.records.model import ModelLayout
from bench_core.suite import lazy, rank_times, startup, startup_check, surprises
from bench_core.suite.base import available_bytes, clock_for
from bench_core.suite.parts import LARGEST_PART, Part, largest_part, part, part_for_ranks, size
from bench_core.suite.ranks import why_not
from bench_core.suite.target import Checkpoint, Target, describe, load, lost_ties, seed
from bench_core.suite.target.loading import floating
from bench_core.timing.idioms import measure_idioms

COPIES = 3
"""A check holds the model, the expected one, and what was read. A model of which less fits is measured by a part."""

SHARE = 0.9
"""The share of the free memory that is used."""

OTHER_SEED = 1
"""What a model is built from to see which of its values are drawn."""


@dataclass(frozen=True)
class Subject:
    """What is measured: the model of the target, or a part of it.

    Attributes:
        build: makes it.
        otherwise: makes it from another seed.
        whole_seconds: how long the whole model took to build on meta, in a process that had not used meta before; None
            if `build` makes the whole model.
        file: the checkpoint that was given as the target; None for another target, and for a part.
        ties: groups of names that must share one parameter.
    """

    build: Callable[[], nn.Module]
    otherwise: Callable[[], nn.Module]
    whole_seconds: float | None = None
    file: Checkpoint | None = None
    ties: tuple[tuple[str, ...], ...] = ()

    def checkpoint(self, format: startup.Format, folder: Path) -> Path:
        if self.file is not None and given_format(self.file) == format:
            return self.file.path
        return folder / startup.EXAMPLES[format]


def given_format(file: Checkpoint) -> str:
    return "safetensors" if file.format == "safetensors" else "torch"


def preload(setting: Setting) -> float:
    """Import the target and the modules of the setting. Returns the seconds that these modules took.

    Raises:
        BenchCoreError: if the target cannot be imported. A module that cannot be imported is left to the builder.
    """
    load(setting.spec)
    began = clock.host()
    for name in setting.imports:
        with suppress(Exception, SystemExit):
            importlib.import_module(name)
    return clock.host() - began


def perform(setting: Setting, task: Task) -> Answer:
    """Do a task.

    Raises:
        BenchCoreError: if the user's request cannot be met.
    """
    lazy.quiet()
    seed()  # its first use imports numpy's generators
    torch.set_num_threads(setting.threads)
    if isinstance(task, Describe):
        return described(setting, task.ranks)
    if isinstance(task, Limits):
        return limits(task.bytes, setting.spec.device)
    if isinstance(task, Shard):
        times = rank_times.measure_ranks(
            setting.spec, task.ranks, bytes=task.bytes, seconds=task.seconds, block=task.block
        )
        return Sharded(times)
    if isinstance(task, FindImports):
        return FoundImports(imports(setting))
    seconds = preload(setting)
    if isinstance(task, Import):
        return Imported(seconds, threading.active_count() - 1, torch.accelerator.is_available() and _started())
    subject = subject_of(setting)
    folder = Path(setting.folder)
    if isinstance(task, Save):
        return save(subject, task.format, folder)  # type: ignore[arg-type]
    if isinstance(task, Check):
        return CheckedWays(tuple(checked(subject, task.ways, setting.spec.device, folder)))
    if isinstance(task, Access):
        return accessed(setting, subject, task.budget)
    return go(subject, setting, startup.WAYS[task.way], folder)


def subject_of(setting: Setting) -> Subject:
    target = load(setting.spec)
    if not setting.block:
        return Subject(target.build, replace(target, seed=OTHER_SEED).build, file=target.file, ties=setting.spec.ties)
    began = clock.host()
    with torch.device("meta"):
        model = target.build()
    seconds = clock.host() - began
    return Subject(part(model, setting.block), part(model, setting.block, OTHER_SEED), seconds)


class Sought:
    """A finder that finds nothing, and notes what is looked for: modules in the order in which their imports begin.
    `sys.modules` has the order in which they end, in which modules that import each other cannot be imported."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        self.names.setdefault(name)


def imports(setting: Setting) -> tuple[str, ...]:
    """The modules that building the model imports in this process, in their order. A model that does not fit is built
    on meta, and what torch itself imports for that is no part of them."""
    target = load(setting.spec)
    if target.kind != "callable":  # layouts and checkpoints import nothing
        return ()
    if setting.block:
        torch.empty(1, device="meta").normal_()
    sought = Sought()
    sys.meta_path.insert(0, sought)
    with torch.device("meta") if setting.block else nullcontext():
        target.build()
    return tuple(name for name in sought.names if name in sys.modules)


# ------------------------------------------------------------------------------------------------------------ describe


def described(setting: Setting, ranks: int = 0) -> Described:
    """Build the model, on meta if it does not fit, and describe it.

    Raises:
        BenchCoreError: if so many ranks are not allowed.
    """
    reason = why_not(ranks, setting.spec.device) if ranks else None
    if reason:
        raise BenchCoreError(f"{reason}.")
    target = load(setting.spec)
    available = available_bytes("cpu")
    layout = _on_meta(target)
    part_name, part_bytes = "", 0
    notes: tuple[str, ...] = ()
    sharded, sharded_bytes = "", 0
    if layout is not None and size(layout) > LARGEST_PART:
        with torch.device("meta"):
            sharded, sharded_bytes = part_for_ranks(target.build())
    if layout is not None and COPIES * size(layout) > SHARE * available:
        with torch.device("meta"):
            part_name, part_bytes = largest_part(target.build(), int(SHARE * available / COPIES))
    else:
        model = target.ready()
        layout, notes = describe(model), surprises.notes(model)
    return Described(
        layout=layout,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "safetensors": safetensors.__version__,
        },
        ways=tuple(planned(way, target, layout) for way in startup.WAYS.values()),
        given=given_format(target.file) if target.file else "",
        available=available,
        disk=shutil.disk_usage(setting.folder).free,
        block=part_name,
        block_bytes=part_bytes,
        notes=notes,
        sharded=sharded,
        sharded_bytes=sharded_bytes,
    )


def _started() -> bool:
    """Whether this process uses an accelerator, which a fork breaks."""
    accelerator = torch.accelerator.current_accelerator()
    ask = getattr(torch.get_device_module(accelerator), "is_initialized", None)
    return True if ask is None else bool(ask())


def _on_meta(target: Target) -> ModelLayout | None:
    """What the target consists of, without memory; None if it cannot be built on meta."""
    try:
        with torch.device("meta"):
            return describe(target.build())
    except Exception:  # noqa: BLE001 - then it is built with memory, and that error is reported
        return None


def planned(way: startup.StartUp, target: Target, layout: ModelLayout) -> Planned:
    device = target.spec.device
    given = target.file if target.file and given_format(target.file) == way.format else None
    steps = way.steps_for(device, given)
    return Planned(
        job=way.job,
        name=way.name,
        title=way.title,
        stages=tuple(PlannedStage(step.name, step.passes * size(layout)) for step in steps),
        format=way.format,
        copies=way.copies,
        needs=tuple(need for need in way.needs if need != startup.FROM_META or layout.ties or layout.non_persistent),
        code=way.code(opening(target), device, given),
        why_not=startup.why_not(way, device, target.file),
        whole_construct=way.steps[0] == startup.META,
    )


def opening(target: Target) -> str:
    """Code that defines `build`, which makes the model."""
    spec = target.spec
    if target.kind == "layout":
        lines = ["from bench_core.suite.layouts import LAYOUTS", "", f'build = LAYOUTS["{spec.target}"].build']
    elif target.kind == "callable":
        module, _, name = spec.target.partition(":")
        first, *rest = name.split(".")
        # Under the name `build`, since its own may be one that the code uses.
        renamed = "" if rest or first == "build" else " as build"
        lines = [f"from {module} import {first}{renamed}"]
        lines += ["", f"build = {name}"] if rest else []
    else:
        return "from my_package import build  # what makes the model of this checkpoint"
    if spec.input and any(nn.parameter.is_lazy(each) for each in target.construct().parameters()):
        shape = ", ".join(spec.input.split("x"))
        is_shape = shape.replace(", ", "").isdigit()
        if names := [] if is_shape else _names_in(spec.input, target):
            lines.insert(0, f"from {module} import {', '.join(names)}")
        example = f"torch.randn({shape})" if is_shape else spec.input
        lines += ["lazy = build", "", "", "def build():", f"    return materialize(lazy(), {example})"]
    if spec.dtype:
        lines += ["unconverted = build", "", "", "def build():", f"    return unconverted(){converting(spec.dtype)}"]
    return "\n".join(lines)


def _names_in(expression: str, target: Target) -> list[str]:
    """The names of the builder's module that an expression uses, apart from torch, which the code imports."""
    used = {each.id for each in ast.walk(ast.parse(expression.strip(), mode="eval")) if isinstance(each, ast.Name)}
    return sorted(name for name in used & target.namespace.keys() if name not in ("torch", "__builtins__"))


def converting(dtype: str) -> str:
    """Code that converts a model as `Target.convert` does. ``to`` also converts complex parameters, which lose their
    imaginary parts, so it is only used where there is nothing else."""
    names = {torch.float16: "half", torch.bfloat16: "bfloat16", torch.float32: "float", torch.float64: "double"}
    method = names.get(floating(dtype))
    return f".{method}()" if method else f".to({floating(dtype)})"


# ---------------------------------------------------------------------------------------------------- checks and times


def save(subject: Subject, format: startup.Format, folder: Path) -> Saved:
    """Write a checkpoint of the subject. That of a given file keeps its values."""
    model = subject.build()
    if subject.file is not None:
        model.load_state_dict(subject.file.state())
    else:
        startup.change(model)
    path = folder / startup.EXAMPLES[format]
    startup.save(model, format, path)
    return Saved(path.stat().st_size)


def checked(subject: Subject, ways: tuple[str, ...], device: str, folder: Path) -> Iterator[CheckedWay]:
    """What is wrong with the models of these ways, which all have one job."""
    job = startup.WAYS[ways[0]].job
    expected = run(startup.PLAIN[job], subject, device, folder).model
    for name in ways:
        gc.collect()
        yield _checked(startup.WAYS[name], subject, expected, device, folder)


def _checked(way: startup.StartUp, subject: Subject, expected: nn.Module, device: str, folder: Path) -> CheckedWay:
    try:
        with lazy.poisoned_memory():
            found = run(way, subject, device, folder).model
    except Exception as error:  # noqa: BLE001 - a way may fail in the user's code
        return CheckedWay(way.name, why_not=named(error))
    if way.job == "load":
        plain = startup.PLAIN[way.job]
        result = startup_check.loaded(found, expected, lambda: run(plain, subject, device, folder).model)
    else:
        result = startup_check.initialized(found, expected, lambda: subject.otherwise().to(device))
    lost = lost_ties(found, subject.ties)
    return CheckedWay(way.name, "; ".join(each for each in (lost, result.wrong) if each), result.others)


def run(way: startup.StartUp, subject: Subject, device: str, folder: Path) -> startup.Gone:
    path = subject.checkpoint(way.format, folder) if way.format else None
    given = subject.file if subject.file is not None and path == subject.file.path else None
    return startup.go(way, subject.build, device, path, clock_for(torch.device(device).type), given)


def go(subject: Subject, setting: Setting, way: startup.StartUp, folder: Path) -> Went:
    """Go a way, and time its stages."""
    device = setting.spec.device
    if device != "cpu":
        torch.empty(1, device=device)  # the first use of an accelerator in a process starts it
        clock_for(torch.device(device).type)()
    growth = Growth()
    gone = run(way, subject, device, folder)
    peak, seconds = growth.bytes(), gone.seconds
    if subject.whole_seconds is not None and way.steps[0] == startup.META:
        seconds = (subject.whole_seconds, *seconds[1:])
    return Went(seconds, peak)


def accessed(setting: Setting, subject: Subject, budget: float) -> Accessed:
    began = clock.host()
    target = Part(subject.build, setting.spec.device) if setting.block else load(setting.spec)
    found = measure_idioms(target, budget=budget)
    return Accessed(found, max(0.0, clock.host() - began - budget))


REPETITIONS = 5


def limits(size: int, device: str) -> FoundLimits:
    """How fast memory is written and copied, by the median of a few repetitions in memory that has been touched."""
    timer = clock_for(torch.device(device).type)
    one = torch.ones(size, dtype=torch.uint8, device=device)
    other = torch.ones(size, dtype=torch.uint8, device=device)

    def seconds(act: Callable[[], object]) -> float:
        act()  # the first call of a process starts torch's threads
        times = []
        for _ in range(REPETITIONS):
            began = timer()
            act()
            times.append(timer() - began)
        return statistics.median(times)

    return FoundLimits(size / seconds(lambda: one.fill_(2)), 2 * size / seconds(lambda: other.copy_(one)))
