"""Small asv suites, drawn by hypothesis: the text of their modules, by file name."""

from hypothesis import strategies as st

VALUES = (
    *("1", "1", "-2", "0.5", "float('nan')", "None", "True", "'a'", "'a'", "b'b'", "''", "'x at 0xff'", "'naïve'"),
    *("'a|b'", "'x\\ny'", "'it\\'s'", "'(['", "'ß' * 3000", "(1, 2)", "(3,)", "{'b': 1, 'a': 2}", "len", "int"),
    *(
        "lambda x: x",
        "functools.partial(int, 1)",
        "Thing()",
        "Thing().method",
        "(Thing.method, 'at 0xf')",
        "{'b', 'a'}",
    ),
    *("frozenset('ab')", "object()", "Colour.RED", "numpy.float64(0.5)", "numpy.ones(2)", "numpy.float32"),
)
"""Values of parameters as source."""

HEADER = """
import abc, asyncio, contextlib, enum, functools
import numpy
from asv_runner.benchmarks.mark import *
number, repeat, rounds, warmup_time, sample_time = 1, 1, 1, 0, 0


class Thing:
    def method(self): pass
    def __eq__(self, other): return type(other) is Thing
    __hash__ = object.__hash__


class Colour(enum.Enum):
    RED = 1


def shown(*values):
    return [f"{type(value).__name__} {str(value).partition(' at 0x')[0][:20]}" for value in values]


def forgetful(function):
    def track_wrapped(*values): return function(*values)
    return track_wrapped
"""
"""The beginning of each module."""

values = st.sampled_from(VALUES)
lists = st.lists(values, min_size=1, max_size=3).map(", ".join)


@st.composite
def parameters(draw):
    """The source of `params`, and the number of parameters."""
    kind = draw(st.sampled_from(["none", "none", "flat", "flat", "product", "product", "odd"]))
    if kind == "none":
        return "", 0
    if kind == "flat":
        return f"params = ['f', {draw(lists)}]", 1
    if kind == "product":
        several = draw(st.lists(lists, min_size=1, max_size=2))
        return f"params = ({', '.join(f'[{one}]' for one in several)},)", len(several)
    odd = ("{'a', 'b'}", "(n for n in 'ab')", "[[]]", "[[1], []]", "3", "[[1], {2, 3}]", "range(2)", "'ab'", "[{1}, 2]")
    text = draw(st.sampled_from(odd))
    return f"params = {text}", 2 if text in ("[[1], []]", "[[1], {2, 3}]") else 1


SETUPS = (
    *("pass", "pass", "pass", "raise NotImplementedError('not here')", "raise ValueError('no')", "self.x = 1"),
    *("if values and values[-1] == 1: raise NotImplementedError", "yield", "return asyncio.sleep(0)"),
)
"""What a setup does."""

CACHES = (
    *("", "", "", "return [type(self).__name__]", "return [type(self).__name__]", "return None", "return 0"),
    *("raise ValueError('no data')", "return lambda: 0", "yield 1"),
)
"""What a setup_cache does; "" for none."""

DEFINITIONS = ("def", "def", "def", "def", "def", "async def", "@contextlib.contextmanager\n    def")
"""How a method is defined that asv calls before or after a benchmark."""

DECORATORS = (
    *("", "", "", "@skip_benchmark", "@timeout_at(3)", "@benchmark(pretty_name='The thing')", "@forgetful"),
    *("@skip_for_params([(1,), ('a', 1)])", "@skip_for_params([(1,), (numpy.ones(2),)])"),
)
"""Decorators of a benchmark."""

BODIES = (
    *("return shown(*values)", "return shown(*values)", "return shown(*values)", "yield 1", "raise KeyError('x')"),
    *("raise SkipNotImplemented('later')", "return len(values)"),
)
"""What a benchmark does."""

NAMES = ("track_a", "track_b", "track_β", "track_", "time_a", "TrackThing", "mem_a", "helper", "peakmem_a")
"""Names of functions and methods."""

RENAMED = ("cases.track_a", "a-b.track_a", "track_b-1", "pretty.name", "x.track_a b", "One.track_a")
"""Values of `benchmark_name`."""


@st.composite
def functions(draw, name, owned):
    """A function or a method, as lines."""
    head = f"{draw(st.sampled_from(['', '', '', '', 'async ']))}def {name}({'self, ' if owned else ''}*values):"
    decorator = draw(st.sampled_from(DECORATORS))
    lines = [*([decorator] if decorator else []), head, f"    {draw(st.sampled_from(BODIES))}"]
    if draw(st.integers(0, 9)) == 0:
        lines.append(f"{name}.benchmark_name = {draw(st.sampled_from(RENAMED))!r}")
    return lines


@st.composite
def classes(draw, name):
    """A class with what benchmark classes have, perhaps with subclasses, as lines."""
    base = draw(st.sampled_from(["", "", "", "(abc.ABC)"]))
    body = []
    constructor = draw(st.sampled_from(["", "", "", "", "def __init__(self, at): pass", "def __init__(self): 1 / 0"]))
    text, _ = draw(parameters())
    body += [line for line in (constructor, text) if line]
    defined = st.sampled_from(DEFINITIONS)
    body += [f"{draw(defined)} setup(self, *values):", f"    {draw(st.sampled_from(SETUPS))}"]
    if draw(st.integers(0, 4)) == 0:
        body += [f"{draw(defined)} teardown(self, *values):", f"    {draw(st.sampled_from(SETUPS))}"]
    if cache := draw(st.sampled_from(CACHES)):
        body += [f"{draw(defined)} setup_cache(self):", f"    {cache}"]
    if base and draw(st.booleans()):
        body += ["@abc.abstractmethod", "def missing(self): pass"]
    for method in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        body += draw(functions(method, owned=True))
    lines = [f"class {name}{base}:", *(f"    {line}" for line in body)]
    for child in draw(st.lists(st.sampled_from(["First", "_Hidden", "Last"]), max_size=2, unique=True)):
        own, _ = draw(parameters())
        lines += [f"class {child}{name}({name}):", f"    {own or 'pass'}", "    def missing(self): pass"]
    return lines


@st.composite
def modules(draw):
    """The text of a module."""
    lines = [HEADER]
    for name in draw(st.lists(st.sampled_from(["One", "_Base", "Twö"]), max_size=2, unique=True)):
        lines += draw(classes(name))
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        lines += draw(functions(name, owned=False))
        text, _ = draw(parameters())
        lines += [f"{name}.{text}"] if text else []
    ending = draw(st.sampled_from([*[""] * 9, "import no_such_module", "raise SystemExit(0)", "Again = One", "1 / 0"]))
    return "\n".join([*lines, ending, ""])


def module(*lines):
    """A suite of one module."""
    return {"cases": "\n".join([HEADER, *lines, ""])}


suites = st.dictionaries(
    st.sampled_from(["cases", "other", "group-by", "_private", "deep/__init__", "deep/module", "größe"]),
    modules(),
    min_size=1,
    max_size=3,
)
"""Suites: the text of modules by file name without ``.py``."""
