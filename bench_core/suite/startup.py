"""Ways to start a model up: to get one with the values of a checkpoint, or an initialized one.

A way is a list of stages, and a stage is Python code, which is what runs and what is shown as code to copy. It works on
a few names: `build` makes the model, `checkpoint` is a file, `device` is where the model shall be; then there are
`model`, `state` (what was read) and `ties` (the names of tied parameters).
"""

from __future__ import annotations

import atexit
import functools
import inspect
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any, Literal

import safetensors.torch
import torch
from torch import nn

from bench_core import clock
from bench_core.errors import BenchCoreError, shortened
from bench_core.suite import startup_code
from bench_core.suite.checkpoints import touched
from bench_core.suite.layouts import LAYOUTS
from bench_core.suite.target import Checkpoint

Build = Callable[[], nn.Module]

Format = Literal["", "torch", "safetensors"]


@dataclass(frozen=True)
class Step:
    """A stage of a way.

    Attributes:
        name: as in `bench_core.records.model.Stage`.
        code: what it does.
        passes: how often it must read or write the whole state of the model, at the least.
        touch: whether to read one element of every page afterwards, since the code leaves them in a mapped file, and a
            way that reads nothing would win.
    """

    name: str
    code: str
    passes: int = 0
    touch: bool = False


@dataclass(frozen=True)
class StartUp:
    """A way to start a model up.

    Attributes:
        job: ``load`` or ``initialize``.
        title: what it does, in words.
        steps: its stages in order.
        format: which kind of checkpoint it reads.
        copies: how many times it holds the whole state at once, at most.
        needs: what a person has to know or do, a sentence each.
    """

    job: Literal["load", "initialize"]
    name: str
    title: str
    steps: tuple[Step, ...]
    format: Format = ""
    copies: int = 1
    needs: tuple[str, ...] = ()

    def steps_for(self, device: str, file: Checkpoint | None = None) -> tuple[Step, ...]:
        """The stages for a model on this device. On the CPU, nothing is moved.

        Args:
            file: the checkpoint that a user gave, whose tensors need not be at its top; None for one of ours.
        """
        steps = (step for step in self.steps if step.name != "move" or device != "cpu")
        return tuple(_reading(step, file) for step in steps)

    def code(self, opening: str, device: str, file: Checkpoint | None = None) -> str:
        """Code to copy, which runs as it is.

        Args:
            opening: code that defines `build`.
            file: as in `steps_for`.
        """
        steps = [step.code for step in self.steps_for(device, file)]
        helpers = _helpers([opening, *steps])
        given = []
        if self.format:
            given.append(f"checkpoint = {json.dumps(str(file.path) if file else EXAMPLES[self.format])}")
        if any(re.search(r"\bdevice\b(?!=)", step) for step in steps):
            given.append(f'device = "{device}"')
        parts = [_imports([opening, *steps, *helpers]), *helpers, "\n".join([opening, *given]), "\n".join(steps)]
        return "\n\n".join(part.strip("\n") for part in parts) + "\n"


EXAMPLES: Mapping[Format, str] = {"torch": "model.pt", "safetensors": "model.safetensors"}
"""Names of a checkpoint of each format, for code to copy."""


def _helpers(steps: list[str]) -> list[str]:
    """The source of what these stages use of `startup_code`, and of what that uses."""
    found: dict[str, str] = {}
    waiting = list(steps)
    while waiting:
        text = waiting.pop()
        for name in HELPERS:
            if name not in found and re.search(rf"\b{name}\(", text):
                found[name] = inspect.getsource(getattr(startup_code, name))
                waiting.append(found[name])
    return [found[name] for name in HELPERS if name in found]


IMPORTS: Mapping[str, str] = {
    "from __future__ import annotations": r"^def |^class ",
    "import json": r"\bjson\.loads\(",
    "import re": r"\bre\.compile\(",
    "import weakref": r"\bweakref\.",
    "from collections.abc import Callable": r"\bCallable\[",
    "from collections.abc import Mapping": r"\bMapping\[",
    "from pathlib import Path": r"\bPath\(",
    "from typing import Any": r"\bAny\b",
    "import safetensors.torch": r"\bsafetensors\.torch\.",
    "import torch": r"(?<!\.)\btorch\.",
    "from torch.overrides import TorchFunctionMode": r"\bTorchFunctionMode\b",
    "from torch.utils._pytree import tree_leaves": r"\btree_leaves\(",
    "from torch.utils._pytree import tree_map": r"\btree_map\(",
}
"""The imports that code needs, in their order, by a pattern of what needs them."""


def _imports(parts: list[str]) -> str:
    return "\n".join(line for line, use in IMPORTS.items() if any(re.search(use, part, re.MULTILINE) for part in parts))


def _reading(step: Step, file: Checkpoint | None) -> Step:
    """The stage for a checkpoint that a user gave."""
    if file is not None and file.files:
        return replace(step, code=step.code.replace("safetensors.torch.load_file(", "load_files("))
    if file is None or "torch.load(" not in step.code:
        return step
    code = step.code.replace("weights_only=True", f"weights_only={not file.trust}")
    code += f"[{file.key!r}]" if file.key else ""
    code += ".state_dict()" if file.module else ""
    return replace(step, code=f"{code}\nstate = tensors_in(state)" if file.mixed else code)


HELPERS = (
    "SkipDraws",
    "LastDraws",
    "tied_names",
    "tie",
    "load_files",
    "tensors_in",
    "fill_in",
    "complete",
    "reinitialize",
    "materialize",
)

EAGER = Step("construct", "model = build()", passes=1)
SKIP = Step("construct", "with SkipDraws():\n    model = build()")
META = Step("construct", 'with torch.device("meta"):\n    model = build()\nties = tied_names(model)')
EMPTY = Step("construct", f"{META.code}\nmodel.to_empty(device=device)\ntie(model, ties)")
ON_DEVICE = Step("construct", "with torch.device(device):\n    model = build()", passes=1)
LAST = Step("construct", "with LastDraws():\n    model = build()", passes=1)

READ = Step("read", 'state = torch.load(checkpoint, map_location="cpu", weights_only=True)', passes=2)
READ_TO = Step("read", "state = torch.load(checkpoint, map_location=device, weights_only=True)", passes=2)
MAP_TO = Step("read", "state = torch.load(checkpoint, map_location=device, weights_only=True, mmap=True)")
SAFE = Step("read", "state = safetensors.torch.load_file(checkpoint)\nfill_in(state, tied_names(model))")
SAFE_TO = Step("read", "state = safetensors.torch.load_file(checkpoint, device=device)\nfill_in(state, ties)")

COPY = Step("load", "model.load_state_dict(state)", passes=2)
ASSIGN = Step("load", "model.load_state_dict(state, assign=True)")
ASSIGN_MAPPED = replace(ASSIGN, passes=1, touch=True)

NOTE_TIES = "\nties = tied_names(model)"
TIE = Step("finish", "tie(model, ties)")
COMPLETE = Step("finish", "complete(model, build)")
TIE_AND_COMPLETE = Step("finish", f"{TIE.code}\n{COMPLETE.code}")
REINITIALIZE = Step("initialize", "reinitialize(model)", passes=1)
MOVE = Step("move", "model = model.to(device)", passes=1)

SKIP_NOTED = replace(SKIP, code=SKIP.code + NOTE_TIES)

STRICT = (
    "Every parameter must get its values from the checkpoint, as a strict load makes sure. The random generator is in "
    "another state afterwards."
)
MAPPED = (
    "The parameters are pages of the file, which must not change while the model is in use. The first write to a page "
    "copies it."
)
FROM_META = (
    "Building on meta unties parameters and leaves buffers with persistent=False without values, and a strict load "
    "does not report it (huggingface/transformers#30703). The code mends both."
)
META_IMPORTS = "Drawing on meta for the first time in a process imports about 800 modules of torch and sympy."

_ALL = (
    StartUp("load", "eager_copy", "construct, torch.load, copy", (EAGER, READ, COPY, MOVE), "torch", 2),
    StartUp(
        "load",
        "eager_safetensors_copy",
        "construct, map safetensors, copy",
        (EAGER, SAFE, COPY, MOVE),
        "safetensors",
        2,
    ),
    StartUp(
        "load",
        "meta_to_empty_copy",
        "construct on meta, to_empty, torch.load, copy (what skip_init does)",
        (EMPTY, READ, COPY, COMPLETE, MOVE),
        "torch",
        2,
        (FROM_META, META_IMPORTS),
    ),
    StartUp(
        "load",
        "skip_draws_copy",
        "construct without drawing, torch.load, copy",
        (SKIP, READ, COPY, MOVE),
        "torch",
        2,
        (STRICT,),
    ),
    StartUp(
        "load",
        "skip_draws_assign_mmap",
        "construct without drawing, torch.load(mmap=True), assign",
        (SKIP_NOTED, MAP_TO, ASSIGN_MAPPED, TIE, MOVE),
        "torch",
        needs=(STRICT, MAPPED),
    ),
    StartUp(
        "load",
        "skip_draws_assign_safetensors",
        "construct without drawing, map safetensors, assign",
        (SKIP_NOTED, SAFE_TO, ASSIGN_MAPPED, TIE, MOVE),
        "safetensors",
        needs=(STRICT, MAPPED),
    ),
    StartUp(
        "load",
        "meta_assign",
        "construct on meta, torch.load, assign",
        (META, READ_TO, ASSIGN, TIE_AND_COMPLETE, MOVE),
        "torch",
        needs=(FROM_META, META_IMPORTS),
    ),
    StartUp(
        "load",
        "meta_assign_mmap",
        "construct on meta, torch.load(mmap=True), assign",
        (META, MAP_TO, ASSIGN_MAPPED, TIE_AND_COMPLETE, MOVE),
        "torch",
        needs=(FROM_META, MAPPED, META_IMPORTS),
    ),
    StartUp(
        "load",
        "meta_assign_safetensors",
        "construct on meta, map safetensors, assign",
        (META, SAFE_TO, ASSIGN_MAPPED, TIE_AND_COMPLETE, MOVE),
        "safetensors",
        needs=(FROM_META, MAPPED, META_IMPORTS),
    ),
    StartUp("initialize", "eager", "construct", (EAGER, MOVE)),
    StartUp("initialize", "torch_device", "construct on the device", (ON_DEVICE,)),
    StartUp(
        "initialize",
        "last_draws",
        "construct, and draw once what is drawn several times",
        (LAST, MOVE),
    ),
    StartUp(
        "initialize",
        "meta_to_empty",
        "construct on meta, to_empty, initialize with the modules' own methods",
        (EMPTY, REINITIALIZE, COMPLETE, MOVE),
        needs=(FROM_META, META_IMPORTS),
    ),
)

WAYS: Mapping[str, StartUp] = {way.name: way for way in _ALL}
"""All ways by name. The first one of each job is the plain one, which the others are compared with."""

PLAIN: Mapping[str, StartUp] = {way.job: way for way in reversed(_ALL)}
"""The plain way of each job."""


def save(model: nn.Module, format: Format, path: Path) -> None:
    """Write a checkpoint. In the format of safetensors, only one name of a shared tensor is kept."""
    state = model.state_dict()
    if format == "torch":
        torch.save(state, path)
    elif others := sorted(name for name, each in state.items() if not isinstance(each, torch.Tensor)):
        raise BenchCoreError(f"safetensors holds tensors alone, and the state dict holds {shortened(others)}")
    else:
        safetensors.torch.save_model(model, str(path))


@torch.no_grad()
def change(model: nn.Module) -> None:
    """Give every parameter and persistent buffer other values, so that those of the constructor do not pass for those
    of a checkpoint."""
    changed: set[int] = set()
    for tensor in model.state_dict().values():
        if isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided and tensor.data_ptr() not in changed:
            changed.add(tensor.data_ptr())
            if tensor.dtype is torch.bool:
                tensor.logical_not_()
            elif tensor.is_floating_point() and tensor.element_size() == 1:  # torch cannot add to it
                tensor.view(torch.uint8).bitwise_xor_(1)
            else:
                tensor.add_(1)


@functools.cache
def checkpoints_of(name: str) -> Path:
    """A folder with a checkpoint of a layout in each format, made once in a process, and removed when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="bench-core-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    model = LAYOUTS[name].build()
    change(model)
    for format, path in EXAMPLES.items():
        save(model, format, folder / path)
    return folder


@dataclass(frozen=True)
class Gone:
    """A model that went one of the ways.

    Attributes:
        seconds: of each stage.
    """

    model: nn.Module
    seconds: tuple[float, ...]


def go(
    way: StartUp,
    build: Build,
    device: str,
    checkpoint: Path | None,
    timer: clock.Clock = clock.host,
    file: Checkpoint | None = None,
) -> Gone:
    """Run the stages of a way.

    Args:
        checkpoint: the file that it reads; None for a way that reads none.
        timer: waits for the device, if there is one.
        file: as in `StartUp.steps_for`.
    """
    names: dict[str, Any] = {
        "torch": torch,
        "safetensors": safetensors,
        "build": build,
        "device": device,
        "checkpoint": str(checkpoint),
        **{name: getattr(startup_code, name) for name in HELPERS},
    }
    steps = way.steps_for(device, file)
    compiled: list[CodeType] = [compile(step.code, f"<{way.name}: {step.name}>", "exec") for step in steps]
    seconds: list[float] = []
    for step, code in zip(steps, compiled, strict=True):
        began = timer()
        exec(code, names)
        if step.touch:
            touched(names["model"])
        seconds.append(timer() - began)
    return Gone(names["model"], tuple(seconds))


def why_not(way: StartUp, device: str, file: Checkpoint | None = None) -> str:
    """Why a model cannot go this way; "" if it can."""
    if way.name == "torch_device" and device == "cpu":
        return "the device is the CPU, on which it is the plain way"
    if way.job == "initialize" and file is not None:
        return "a checkpoint does not say how its model is initialized"
    if file is not None and file.format == "torch (legacy)" and any(step.code == MAP_TO.code for step in way.steps):
        return "the file has torch's format of before version 1.6, which cannot be mapped"
    return ""
